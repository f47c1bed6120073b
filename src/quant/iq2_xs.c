/* IQ2_XS: 256 values in 16 sub-blocks of 16: d (0.5 + s) / 4 times the magnitudes of two points of eight values, s
   of four bits; a point's number is nine bits of a word of qs, the others are seven of its signs. */
#include "quant/dequantize.h"

void fkv_dequantize_iq2_xs(const void *src, float *dst, size_t k)
{
    const struct fkv_block_iq2_xs *b = src;
    for (size_t i = 0; i < k; i += 256, b++) {
        const float d = fkv_f32_from_f16(b->d);
        for (int j = 0; j < 32; j++) {
            const uint16_t q = b->qs[j];
            const float scale = d * (0.5f + (float)(b->scales[j / 4] >> 4 * (j / 2 % 2) & 15)) * 0.25f;
            fkv_put_eight(fkv_grid_iq2_xs[q & 511], scale, fkv_eight_signs(q >> 9), dst + i + 8 * j);
        }
    }
}
