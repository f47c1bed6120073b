/* blas.h: one float product by whichever library the build found (blas_openblas.c, blas_onednn.c; blas_none.c stands
   in). It is loaded when a model wants it and where it can be: OpenBLAS, for one, waits for ever while it loads when it
   gets no memory, and then nothing here should. */
#ifndef FKV_BACKEND_CPU_BLAS_H
#define FKV_BACKEND_CPU_BLAS_H

#include <stdbool.h>
#include <stddef.h>

struct fkv_blas {
    void *library, *product;
    void (*one_thread)(int); /* OpenMP's omp_set_num_threads(), when the library brings it; holds for the caller only */
};

/* Loads the library. false when it is not there or has no room; then there is nothing to close. */
bool fkv_blas_open(struct fkv_blas *blas);
/* y[m][ldy] = x[m][ldx] w[n][k]^T on the calling thread. false, with nothing done, when the library is not open. */
bool fkv_blas_product(const struct fkv_blas *blas, int m, int n, int k, const float *x, size_t ldx, const float *w,
                      float *y, size_t ldy);
void fkv_blas_close(struct fkv_blas *blas);

/* ---- what a library's file gives ------------------------------------------------------------- */

/* File name of the library, "" when there is none; name of the product in it; name of a function that takes the number
   of threads for the whole process, or "". */
extern const char fkv_blas_file[], fkv_blas_name[], fkv_blas_threads_name[];
/* Calls the product. */
bool fkv_blas_call(void *product, int m, int n, int k, const float *x, size_t ldx, const float *w, float *y,
                   size_t ldy);

#endif
