#include <cblas.h>
#include <string.h>

#include "backend/cpu/blas.h"

const char fkv_blas_file[] = "libopenblas.so.0", fkv_blas_name[] = "cblas_sgemm",
           fkv_blas_threads_name[] = "openblas_set_num_threads"; /* what the flavour without OpenMP goes by */

bool fkv_blas_call(void *product, int m, int n, int k, const float *x, size_t ldx, const float *w, float *y, size_t ldy)
{
    __typeof__(&cblas_sgemm) sgemm;
    memcpy(&sgemm, &product, sizeof sgemm);
    sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1.0f, x, (int)ldx, w, k, 0.0f, y, (int)ldy);
    return true;
}
