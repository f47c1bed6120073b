/* Q4_K: 256 values in 8 sub-blocks of 32: d s q - dmin m, q of four bits; 32 bytes hold two sub-blocks, the first in
   the low halves. */
#include "quant/dequantize.h"

void fkv_dequantize_q4_k(const void *src, float *dst, size_t k)
{
    const struct fkv_block_q4_k *b = src;
    for (size_t i = 0; i < k; i += 256, b++) {
        const float d = fkv_f32_from_f16(b->d), dmin = fkv_f32_from_f16(b->dmin);
        for (int j = 0; j < 8; j++) {
            uint8_t s, m;
            fkv_k_scale_min(b->scales, j, &s, &m);
            const float scale = d * (float)s, min = dmin * (float)m;
            for (int l = 0; l < 32; l++) {
                const int q = b->qs[32 * (j / 2) + l] >> 4 * (j % 2) & 15;
                dst[i + 32 * j + l] = scale * (float)q - min;
            }
        }
    }
}
