#include "simd/amx/amx.h"

void fkv_fill_amx(struct fkv_kernels *k)
{
#define USE(name) k->name = fkv_##name##_amx
    USE(x8_bytes);
    USE(x8_pack);
    USE(panel_q8_0);
    USE(panel_q4_0);
    USE(panel_q4_1);
    USE(panel_q5_0);
    USE(panel_q4_k);
    USE(panel_q5_k);
    USE(panel_q6_k);
    USE(panel_f16);
    USE(panel_bf16);
    USE(attend);
#define UNPACKED(NAME, name, values, bits, scales, has_offset) USE(panel_##name);
#include "simd/unpacked.def"
#undef USE
    k->x16_bytes = k->x8_bytes; /* one packed X for all types */
    k->x16_pack = k->x8_pack;
    k->x8_is_bf16 = true;
    k->panel_rows = FKV_MOST_PANEL_ROWS;
    k->attend_rows = FKV_ATTEND_ROWS;
}
