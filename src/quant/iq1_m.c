/* IQ1_M: 256 values in 16 sub-blocks of 16: d (2 s + 1) times two points of eight values moved by 1/8 up or down, s
   of three bits; a point's number is a byte of qs and three bits of qh, the fourth is the move's sign. A word of
   scales has four s, and in its top four bits a part of d. */
#include "quant/dequantize.h"

void fkv_dequantize_iq1_m(const void *src, float *dst, size_t k)
{
    const struct fkv_block_iq1_m *b = src;
    for (size_t i = 0; i < k; i += 256, b++) {
        fkv_f16 half = 0;
        for (int j = 0; j < 4; j++) half = (fkv_f16)(half | b->scales[j] >> 12 << 4 * j);
        const float d = fkv_f32_from_f16(half);
        for (int j = 0; j < 32; j++) {
            const int high = b->qh[j / 2] >> 4 * (j % 2), s = b->scales[j / 8] >> 3 * (j / 2 % 4) & 7;
            const float scale = d * (float)(2 * s + 1), delta = high & 8 ? -0.125f : 0.125f;
            fkv_put_ternary(fkv_grid_iq1[b->qs[j] | (high & 7) << 8], scale, delta, dst + i + 8 * j);
        }
    }
}
