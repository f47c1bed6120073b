#include "simd/avx512bf16/avx512bf16.h"
#include "simd/level.h"

void fkv_fill_avx512bf16(struct fkv_kernels *k)
{
    k->attend = fkv_attend_avx512bf16;
    k->kv_elem = FKV_ELEM_BF16;
}
