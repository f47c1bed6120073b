#include <dnnl.h>
#include <string.h>

#include "backend/cpu/blas.h"

#define TEXT(x) #x
#define FILE_OF(version) "libdnnl.so." TEXT(version)
const char fkv_blas_file[] = FILE_OF(DNNL_VERSION_MAJOR), fkv_blas_name[] = "dnnl_sgemm", fkv_blas_threads_name[] = "";

bool fkv_blas_call(void *product, int m, int n, int k, const float *x, size_t ldx, const float *w, float *y, size_t ldy)
{
    __typeof__(&dnnl_sgemm) sgemm;
    memcpy(&sgemm, &product, sizeof sgemm);
    return sgemm('N', 'T', m, n, k, 1.0f, x, (dnnl_dim_t)ldx, w, k, 0.0f, y, (dnnl_dim_t)ldy) == dnnl_success;
}
