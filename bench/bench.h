/* bench.h: the kernel bench. Each slot of kernels.def has a function here that makes the jobs timed for it (a slot
   without one does not link); bench_job times a job beside probes of what the machine can do at that moment, and prints
   a line. */
#ifndef FKV_BENCH_BENCH_H
#define FKV_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/team.h"
#include "simd/simd.h"
#include "tests/kernels/error_sum.h"

/* How large the problems are. */
struct bench_sizes {
    int k;               /* length of a row of weights and of activations: divides by 256 */
    int n;               /* weight rows that caches hold, for panels of many rows */
    int m[6];            /* rows of the panels, 0 ends; up to BENCH_FEW_ROWS they go with weights that no cache holds */
    size_t stream_bytes; /* what no cache holds */
    int checked_m, checked_n; /* rows and columns of a product whose error is computed */
    int prompt, cached;       /* entries of prefill's and of decode's attention; cached divides by 256 */
    int scored;               /* entries scored, pooled, selected, packed */
};
enum { BENCH_FEW_ROWS = 8 };

struct bench {
    const struct fkv_kernels *level;
    const struct bench_sizes *sizes;
    int repetitions;
    double seconds;        /* of one repetition, about */
    struct fkv_team *team; /* runs the jobs that have a state for each of its threads, and those alone; NULL: none */
};
int bench_threads(const struct bench *b);

/* ---- jobs ------------------------------------------------------------------------------------ */

/* What a job's arithmetic is measured against. */
enum peak_kind { PEAK_NONE, PEAK_INT8, PEAK_HALF, PEAK_F32 };

/* Relative RMS against fp64, and that of a llama.cpp-like scheme for the same numbers; negative: none. */
struct bench_errors {
    double smooth, outliers;
    double peer_smooth, peer_outliers;
};
#define BENCH_NO_ERRORS ((struct bench_errors){-1, -1, -1, -1})

struct job {
    const char *slot;
    char shape[40];
    void (*run)(void *state);
    void *state;         /* of one thread */
    void *const *states; /* or of each of bench_threads(), which run it at once; the operations and bytes are of all */
    double operations;   /* multiply and add count as 2; 0: not counted */
    enum peak_kind peak;
    double bytes;     /* read and written */
    bool from_memory; /* bytes come from where no cache holds them: memory's speed is the limit */
    struct bench_errors errors;
};

void bench_job(const struct bench *b, const struct job *job);

typedef void bench_fn(const struct bench *b);
#define KERNEL(result, name, args) bench_fn bench_##name;
#include "simd/kernels.def"
#undef KERNEL

/* ---- measure.c ------------------------------------------------------------------------------- */

struct measured {
    double seconds;          /* of one run of the job */
    const char *instruction; /* of the peak, or NULL */
    double peak, read;       /* operations and bytes per second, 0: not probed */
};
struct measured bench_measure(const struct bench *b, const struct job *job);
/* Calls `print` for every probe that ran: median, least and most of its speeds. */
void bench_peaks_of_run(void (*print)(const char *what, const char *unit, double median, double least, double most,
                                      int n));

/* Operations per second of the fastest multiply-and-add instruction that a level may use: the last row of a kind for
   the level or those below it. A row table by processor family, peak_<cpu>.c; ends with a row whose isa is NULL. */
struct peak {
    const char *isa;
    enum peak_kind kind;
    const char *instruction;
    double operations; /* of one call of run */
    void (*run)(void);
};
extern const struct peak bench_peaks[];

/* ---- data.c ---------------------------------------------------------------------------------- */

/* Zeroed, aligned to a page; ends the program when there is no memory. */
void *bench_alloc(size_t bytes);
float bench_random_uniform(void); /* 0 < x < 1 */
float bench_random_normal(void);
float *bench_normal_floats(size_t n);
/* x[m][k]: normal; with outliers one channel in 200 is 20 to 60 times as large. */
float *bench_activations(int m, int k, bool outliers);
/* n rows of k normal numbers, quantised as `type`; rows past the first 256 repeat them. */
uint8_t *bench_weights(uint32_t type, size_t n, int k);

/* ---- errors ---------------------------------------------------------------------------------- */

/* product_errors.c: how far y[m][n] as `multiply` computes it is from fp64 of dequantised weights times floats. */
typedef void multiply_fn(const struct bench *b, const void *kernel, const uint8_t *w, size_t w_stride, int n, int k,
                         const float *x, int m, float *y);
struct bench_errors bench_product_errors(const struct bench *b, uint32_t type, multiply_fn *multiply,
                                         const void *kernel);

#endif
