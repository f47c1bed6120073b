#include "simd/avx512bf16/avx512bf16.h"
#include "simd/avx512bf16/products.h"
#include "simd/level.h"

void fkv_fill_avx512bf16(struct fkv_kernels *k)
{
    k->x16_bytes = fkv_x16_bytes_avx512bf16;
    k->x16_pack = fkv_x16_pack_avx512bf16;
    k->panel_f16 = fkv_panel_f16_avx512bf16;
    k->panel_bf16 = fkv_panel_bf16_avx512bf16;

    k->attend = fkv_attend_avx512bf16;
    k->kv_elem = FKV_ELEM_BF16;
}
