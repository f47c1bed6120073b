/* attention.h: a problem of attention over cache tiles to check, and what fp64 says of it. */
#ifndef FKV_TESTS_KERNELS_ATTENTION_H
#define FKV_TESTS_KERNELS_ATTENTION_H

#include "tiles.h"

struct attention {
    int d, n_rows, n; /* n entries */
    int k_type, v_type;
    bool alone; /* false when made */
    float *q;   /* [n_rows][ldq] */
    size_t ldq;
    int32_t *n_keys, *first_keys; /* [n_rows]; first_keys may be NULL */
    struct tiles k, v;
    float scale;
};

struct result {
    float *out, *max, *sum;
    size_t ldo;
};

enum keys { KEYS_CAUSAL, KEYS_ALL, KEYS_MIXED };

/* Random; without first_keys. */
void attention_make(struct attention *t, int k_type, int v_type, int d, int n_rows, int n, enum keys keys,
                    float spread);
/* Frees what is not guarded. */
void attention_free(struct attention *t);
/* Rows row0 .. row0 + n_rows - 1 over entries first .. last - 1. */
struct result run_attend(const struct fkv_kernels *level, const struct attention *t, int row0, int n_rows, int first,
                         int last);

/* What one row should give in fp64: logits in units of log 2. */
struct wanted_row {
    double max, log_sum;                               /* log2 of the sum of 2^logit */
    double logit_error;                                /* the most a logit may be off, by the magnitudes */
    double out[FKV_MAX_HEAD], magnitude[FKV_MAX_HEAD]; /* softmax(q K) V and softmax(q K) |V|, or of the largest |V| */
};

/* What a level multiplies caches of 16 and 8 bits by; by int16, rows that are alone multiply those of 16 bits by
   fp32. */
enum attend_arithmetic { ATTENDS_BY_F32, ATTENDS_BY_INT16, ATTENDS_BY_BF16 };
enum attend_arithmetic attend_arithmetic(const struct fkv_kernels *level);

/* Error of one product in q . k or p v, relative to it or to the entry's largest value in place of its own: bf16
   rounds both factors by up to 2^-8; int16 an entry by up to 2^-14 of its largest, and q and p by a unit of the row;
   fp32 neither. Floats in the cache take fp32. */
struct rounding {
    double relative;
    bool of_largest;
};
struct rounding rounding_of(const struct fkv_kernels *level, const struct attention *t);
void fp64_row(const struct attention *t, int row, int first, int last, struct rounding by, struct wanted_row *w);
void check_row(const struct attention *t, const struct wanted_row *w, struct rounding by, const float *out, double max,
               double sum, struct error_sum *e);
/* All rows. */
void check_result(const struct fkv_kernels *level, const struct attention *t, int first, int last,
                  const struct result *r, struct error_sum *e);
void assert_same_results(const struct result *a, int row0, const struct result *b, int n_rows, int d, const char *what);

/* Of check_attend. */
void check_attend_windows(const struct fkv_kernels *level, struct error_sum *e);

#endif
