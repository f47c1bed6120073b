/* Q6_K: 256 values in 16 sub-blocks of 16: d s (q - 32), s a signed byte, q of six bits: four in ql, two in qh. */
#include "quant/dequantize.h"

void fkv_dequantize_q6_k(const void *src, float *dst, size_t k)
{
    const struct fkv_block_q6_k *b = src;
    for (size_t i = 0; i < k; i += 256, b++) {
        const float d = fkv_f32_from_f16(b->d);
        for (int j = 0; j < 256; j++) {
            const int half = j / 128, quarter = j % 128 / 32, l = j % 32;
            const int low = b->ql[64 * half + 32 * (quarter % 2) + l] >> 4 * (quarter / 2) & 15;
            const int high = b->qh[32 * half + l] >> 2 * quarter & 3;
            const float scale = d * (float)b->scales[j / 16];
            dst[i + j] = scale * (float)((low | high << 4) - 32);
        }
    }
}
