#include "simd/avx512/avx512.h"
#include "simd/avx512/products.h"
#include "simd/level.h"

void fkv_fill_avx512(struct fkv_kernels *k)
{
    k->x16_bytes = fkv_x16_bytes_avx512;
    k->x16_pack = fkv_x16_pack_avx512;
    k->panel_f32 = fkv_panel_f32_avx512;
    k->panel_f16 = fkv_panel_f16_avx512;
    k->panel_bf16 = fkv_panel_bf16_avx512;
    k->matvec_f32 = fkv_matvec_f32_avx512;
    k->matvec_f16 = fkv_matvec_f16_avx512;
    k->matvec_bf16 = fkv_matvec_bf16_avx512;

    k->panel_rows = FKV_PANEL_ROWS;

    k->attend = fkv_attend_avx512;
    k->kv_pack = fkv_kv_pack_avx512;

    k->window_logits = fkv_window_logits_avx512;
    k->window_sums = fkv_window_sums_avx512;
    k->pool_max = fkv_pool_max_avx512;
    k->pool_avg = fkv_pool_avg_avx512;
    k->top_k = fkv_top_k_avx512;

    k->rms_norm = fkv_rms_norm_avx512;
    k->rope_half = fkv_rope_half_avx512;
    k->rope_pair = fkv_rope_pair_avx512;
    k->swiglu = fkv_swiglu_avx512;
    k->add = fkv_add_avx512;
}
