/* problem.h: a matrix product Y[m][n] = X[m][k] W[n][k]^T to check: stored weights, hostile or not, X, and what fp64
   says. */
#ifndef FKV_TESTS_KERNELS_PROBLEM_H
#define FKV_TESTS_KERNELS_PROBLEM_H

#include "support.h"

/* How the level may round X. */
enum rounding { ROUNDS_TO_8_BITS, ROUNDS_TO_BF16, ROUNDS_NOT };

struct format {
    const char *name;
    uint32_t type;           /* enum fkv_type */
    int granule;             /* k is a multiple of it */
    int half_at[2];          /* bytes of the block where half-float scales lie, -1: none */
    int quants_at, n_quants; /* bytes of the block that hold quants */
    bool requantised;        /* a level may round the weights once more, to 8 bits per 32 */
    enum rounding rounding;
    double rms_limit; /* relative RMS on smooth random input */
};

extern const struct format format_q8_0, format_q4_0, format_q4_1, format_q5_0, format_q4_k, format_q5_k, format_q6_k,
    format_f16, format_bf16, format_f32;
#define UNPACKED(NAME, name, values, bits, scales, has_offset) extern const struct format format_##name;
#include "simd/unpacked.def"

enum w_kind { W_RANDOM, W_ZERO, W_ZERO_SCALE, W_LARGE, W_SUBNORMAL, W_ANY_BYTES, N_W_KINDS };
enum x_kind { X_NORMAL, X_OUTLIERS, X_ZERO, X_EQUAL, X_HUGE, X_DENORMAL, X_MIXED, X_ONE_HOT, N_X_KINDS };

struct problem {
    const struct format *f;
    int n, m, k;
    uint8_t *w; /* guarded: the last row ends at an unreadable page */
    size_t w_stride;
    float *x; /* [m][ldx], guarded */
    size_t ldx;
    float *w_values; /* [n][k] */
    float *range;    /* [n][k / 32] the largest magnitude that the scales of the 32 values can express */
};

void problem_make(struct problem *p, const struct format *f, int n, int m, int k, enum w_kind w_kind,
                  enum x_kind x_kind);
/* Frees what is not guarded. */
void problem_free(struct problem *p);
/* Compares y[m][ldy] with fp64, within what rounding may do; adds the errors to *sum if that is not NULL. */
void problem_check(const struct problem *p, const float *y, size_t ldy, struct error_sum *sum);

#endif
