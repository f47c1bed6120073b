#include "simd/avx2/avx2.h"

/* kv_pack is inherited: it is far below one part in a hundred of a prefill. */
void fkv_fill_avx2(struct fkv_kernels *k)
{
#define USE(name) k->name = fkv_##name##_avx2
    USE(x8_bytes);
    USE(x8_pack);
    USE(x16_bytes);
    USE(x16_pack);
    USE(v8_bytes);
    USE(v8_pack);
    USE(panel_q8_0);
    USE(panel_q4_0);
    USE(panel_q4_1);
    USE(panel_q5_0);
    USE(panel_q4_k);
    USE(panel_q5_k);
    USE(panel_q6_k);
    USE(panel_f16);
    USE(panel_bf16);
    USE(panel_f32);
    USE(matvec_q8_0);
    USE(matvec_q4_0);
    USE(matvec_q4_1);
    USE(matvec_q5_0);
    USE(matvec_q4_k);
    USE(matvec_q5_k);
    USE(matvec_q6_k);
    USE(matvec_f16);
    USE(matvec_bf16);
    USE(matvec_f32);
    USE(attend);
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
#define UNPACKED(NAME, name, values, bits, scales, has_offset) \
    USE(panel_##name);                                         \
    USE(matvec_##name);
#include "simd/unpacked.def"
#undef USE
    k->panel_rows = AVX2_PANEL_ROWS;
    k->kv_elem = FKV_ELEM_F16;
    k->batch_invariant = true;
}
