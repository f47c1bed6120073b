/* Q3_K: 256 values in 16 sub-blocks of 16: d (s - 32) (q - 4), q of three bits: two as in Q2_K, the third of value j is
   bit j / 32 of hmask[j % 32]. */
#include "quant/dequantize.h"

/* Six bits: the low four in bytes 0 to 7 (two scales each), the high two in bytes 8 to 11 (four scales each). */
static int sub_scale(const uint8_t *scales, int j)
{
    const int low = scales[j % 8] >> 4 * (j / 8) & 15, high = scales[8 + j % 4] >> 2 * (j / 4) & 3;
    return (low | high << 4) - 32;
}

void fkv_dequantize_q3_k(const void *src, float *dst, size_t k)
{
    const struct fkv_block_q3_k *b = src;
    for (size_t i = 0; i < k; i += 256, b++) {
        const float d = fkv_f32_from_f16(b->d);
        for (int j = 0; j < 256; j++) {
            const int half = j / 128, quarter = j % 128 / 32;
            const int low = b->qs[32 * half + j % 32] >> 2 * quarter & 3;
            const int high = b->hmask[j % 32] >> j / 32 & 1;
            const float scale = d * (float)sub_scale(b->scales, j / 16);
            dst[i + j] = scale * (float)((low | high << 2) - 4);
        }
    }
}
