/* IQ2_XXS: 256 values in 8 sub-blocks of 32: d (0.5 + s) / 4 times the magnitudes of four points of eight values, s
   of four bits; seven signs of eight values are stored. */
#include "quant/dequantize.h"

void fkv_dequantize_iq2_xxs(const void *src, float *dst, size_t k)
{
    const struct fkv_block_iq2_xxs *b = src;
    for (size_t i = 0; i < k; i += 256, b++) {
        const float d = fkv_f32_from_f16(b->d);
        for (int j = 0; j < 32; j++) {
            const uint32_t word = b->part[j / 4].signs_scale;
            const float scale = d * (0.5f + (float)(word >> 28)) * 0.25f;
            fkv_put_eight(fkv_grid_iq2_xxs[b->part[j / 4].qs[j % 4]], scale, fkv_eight_signs(word >> 7 * (j % 4) & 127),
                          dst + i + 8 * j);
        }
    }
}
