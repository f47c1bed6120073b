/* IQ3_XXS: 256 values in 8 sub-blocks of 32: d (0.5 + s) / 2 times the magnitudes of 8 points of four values, s of
   four bits; seven signs of eight values are stored. */
#include "quant/dequantize.h"

void fkv_dequantize_iq3_xxs(const void *src, float *dst, size_t k)
{
    const struct fkv_block_iq3_xxs *b = src;
    for (size_t i = 0; i < k; i += 256, b++) {
        const float d = fkv_f32_from_f16(b->d);
        for (int j = 0; j < 64; j++) {
            const uint32_t word = b->signs_scale[j / 8];
            const uint8_t signs = fkv_eight_signs(word >> 7 * (j % 8 / 2) & 127);
            const float scale = d * (0.5f + (float)(word >> 28)) * 0.5f;
            fkv_put_four(fkv_grid_iq3_xxs[b->qs[j]], scale, (uint8_t)(signs >> 4 * (j % 2)), dst + i + 4 * j);
        }
    }
}
