#include "simd/avx512bf16/avx512bf16.h"

void fkv_fill_avx512bf16(struct fkv_kernels *k)
{
#define USE(name) k->name = fkv_##name##_avx512bf16
    USE(x16_bytes);
    USE(x16_pack);
    USE(panel_f16);
    USE(panel_bf16);
    USE(attend);
#undef USE
    k->kv_elem = FKV_ELEM_BF16;
}
