#include "simd/i8mm/i8mm.h"

void fkv_fill_i8mm(struct fkv_kernels *k)
{
#define USE(name) k->name = fkv_##name##_i8mm
    USE(panel_q8_0);
    USE(panel_q4_0);
    USE(panel_q4_1);
    USE(panel_q5_0);
    USE(panel_q4_k);
    USE(panel_q5_k);
    USE(panel_q6_k);
    USE(x16_bytes);
    USE(x16_pack);
    USE(panel_f16);
    USE(panel_bf16);
    USE(attend);
#define UNPACKED(NAME, name, values, bits, scales, has_offset) USE(panel_##name);
#include "simd/unpacked.def"
#undef USE
    k->kv_elem = FKV_ELEM_BF16;
}
