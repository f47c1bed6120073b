#include "simd/avx512/avx512.h"

void fkv_fill_avx512(struct fkv_kernels *k)
{
#define USE(name) k->name = fkv_##name##_avx512
    USE(x16_bytes);
    USE(x16_pack);
    USE(panel_f32);
    USE(panel_f16);
    USE(panel_bf16);
    USE(matvec_f32);
    USE(matvec_f16);
    USE(matvec_bf16);
    USE(attend);
    USE(kv_pack);
    USE(window_logits);
    USE(window_sums);
    USE(pool_max);
    USE(pool_avg);
    USE(top_k);
    USE(rms_norm);
    USE(rope_half);
    USE(rope_pair);
    USE(swiglu);
    USE(geglu);
    USE(add);
#undef USE
    k->panel_rows = FKV_PANEL_ROWS; /* not AVX2's: the panels of this level and of those above take 32 weight rows */
}
