/* Q8_0: 32 values d q, q a signed byte. */
#include "quant/dequantize.h"

void fkv_dequantize_q8_0(const void *src, float *dst, size_t k)
{
    const struct fkv_block_q8_0 *b = src;
    for (size_t i = 0; i < k; i += 32, b++) {
        const float d = fkv_f32_from_f16(b->d);
        for (int j = 0; j < 32; j++) dst[i + j] = d * (float)b->qs[j];
    }
}
