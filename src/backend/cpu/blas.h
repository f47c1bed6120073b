/* blas.h: one float product by whichever library the build found; blas_none.c stands in. */
#ifndef FKV_BACKEND_CPU_BLAS_H
#define FKV_BACKEND_CPU_BLAS_H

#include <stdbool.h>
#include <stddef.h>

/* The library's one-time set-up: no threads of its own beside our team. */
void fkv_blas_init(void);
/* y[m][ldy] = x[m][ldx] w[n][k]^T on the calling thread. false, with nothing done, when there is no library. */
bool fkv_blas_product(int m, int n, int k, const float *x, size_t ldx, const float *w, float *y, size_t ldy);

#endif
