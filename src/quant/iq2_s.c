/* IQ2_S: 256 values in 16 sub-blocks of 16: d (0.5 + s) / 4 times the magnitudes of two points of eight values, s of
   four bits, a bit per sign; a point's number is a byte of qs and two bits of qh. */
#include "quant/dequantize.h"

void fkv_dequantize_iq2_s(const void *src, float *dst, size_t k)
{
    const struct fkv_block_iq2_s *b = src;
    for (size_t i = 0; i < k; i += 256, b++) {
        const float d = fkv_f32_from_f16(b->d);
        for (int j = 0; j < 32; j++) {
            const int high = b->qh[j / 4] >> 2 * (j % 4) & 3;
            const float scale = d * (0.5f + (float)(b->scales[j / 4] >> 4 * (j / 2 % 2) & 15)) * 0.25f;
            fkv_put_eight(fkv_grid_iq2_s[b->qs[j] | high << 8], scale, b->signs[j], dst + i + 8 * j);
        }
    }
}
