/* IQ3_S: 256 values in 8 sub-blocks of 32: d (1 + 2 s) times the magnitudes of 8 points of four values, s of four
   bits, a bit per sign; a point's number is a byte of qs and a bit of qh. */
#include "quant/dequantize.h"

void fkv_dequantize_iq3_s(const void *src, float *dst, size_t k)
{
    const struct fkv_block_iq3_s *b = src;
    for (size_t i = 0; i < k; i += 256, b++) {
        const float d = fkv_f32_from_f16(b->d);
        for (int j = 0; j < 64; j++) {
            const int part = j / 8, high = b->qh[part] >> j % 8 & 1;
            const float scale = d * (float)(1 + 2 * (b->scales[part / 2] >> 4 * (part % 2) & 15));
            fkv_put_four(fkv_grid_iq3_s[b->qs[j] | high << 8], scale, (uint8_t)(b->signs[j / 2] >> 4 * (j % 2)),
                         dst + i + 4 * j);
        }
    }
}
