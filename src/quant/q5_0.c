/* Q5_0: 32 values d (q - 16), q of five bits: four as in Q4_0, the fifth of value i is bit i of qh. */
#include "quant/dequantize.h"

void fkv_dequantize_q5_0(const void *src, float *dst, size_t k)
{
    const struct fkv_block_q5_0 *b = src;
    for (size_t i = 0; i < k; i += 32, b++) {
        const float d = fkv_f32_from_f16(b->d);
        const uint32_t qh = b->qh[0] | b->qh[1] << 8 | b->qh[2] << 16 | (uint32_t)b->qh[3] << 24;
        for (int j = 0; j < 16; j++) {
            const int low = (b->qs[j] & 15) | (int)(qh >> j & 1) << 4;
            const int high = b->qs[j] >> 4 | (int)(qh >> (j + 16) & 1) << 4;
            dst[i + j] = d * (float)(low - 16);
            dst[i + j + 16] = d * (float)(high - 16);
        }
    }
}
