/* Q2_K: 256 values in 16 sub-blocks of 16: d s q - dmin m, q of two bits, s and m the low and high four bits of the
   sub-block's byte. */
#include "quant/dequantize.h"

void fkv_dequantize_q2_k(const void *src, float *dst, size_t k)
{
    const struct fkv_block_q2_k *b = src;
    for (size_t i = 0; i < k; i += 256, b++) {
        const float d = fkv_f32_from_f16(b->d), dmin = fkv_f32_from_f16(b->dmin);
        for (int j = 0; j < 256; j++) {
            const int half = j / 128, quarter = j % 128 / 32; /* a byte holds one value of each quarter of its half */
            const int q = b->qs[32 * half + j % 32] >> 2 * quarter & 3;
            const float scale = d * (float)(b->scales[j / 16] & 15), min = dmin * (float)(b->scales[j / 16] >> 4);
            dst[i + j] = scale * (float)q - min;
        }
    }
}
