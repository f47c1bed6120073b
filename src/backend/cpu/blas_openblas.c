#include "backend/cpu/blas.h"

#include <cblas.h>

/* The OpenMP flavour stays on one thread inside a parallel region by itself; the pthread flavour has to be told. */
void fkv_blas_init(void) { openblas_set_num_threads(1); }

bool fkv_blas_product(int m, int n, int k, const float *x, size_t ldx, const float *w, float *y, size_t ldy)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1.0f, x, (int)ldx, w, k, 0.0f, y, (int)ldy);
    return true;
}
