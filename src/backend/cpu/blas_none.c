#include "backend/cpu/blas.h"

const char fkv_blas_file[] = "", fkv_blas_name[] = "", fkv_blas_threads_name[] = "";

bool fkv_blas_call(void *product, int m, int n, int k, const float *x, size_t ldx, const float *w, float *y, size_t ldy)
{
    (void)product, (void)m, (void)n, (void)k, (void)x, (void)ldx, (void)w, (void)y, (void)ldy;
    return false;
}
