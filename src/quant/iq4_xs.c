/* IQ4_XS: 256 values in 8 sub-blocks of 32, laid out as in IQ4_NL: d (s - 32) values[q], s of six bits: four in
   scales_l, two in scales_h. */
#include "quant/dequantize.h"

void fkv_dequantize_iq4_xs(const void *src, float *dst, size_t k)
{
    const struct fkv_block_iq4_xs *b = src;
    for (size_t i = 0; i < k; i += 256, b++) {
        const float d = fkv_f32_from_f16(b->d);
        for (int j = 0; j < 8; j++) {
            const int low = b->scales_l[j / 2] >> 4 * (j % 2) & 15, high = b->scales_h >> 2 * j & 3;
            const float scale = d * (float)((low | high << 4) - 32);
            for (int l = 0; l < 16; l++) {
                dst[i + 32 * j + l] = scale * (float)fkv_iq4_values[b->qs[16 * j + l] & 15];
                dst[i + 32 * j + l + 16] = scale * (float)fkv_iq4_values[b->qs[16 * j + l] >> 4];
            }
        }
    }
}
