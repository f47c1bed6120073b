/* IQ4_NL: 32 values d values[q], q of four bits; byte j holds values j and j + 16. */
#include "quant/dequantize.h"

void fkv_dequantize_iq4_nl(const void *src, float *dst, size_t k)
{
    const struct fkv_block_iq4_nl *b = src;
    for (size_t i = 0; i < k; i += 32, b++) {
        const float d = fkv_f32_from_f16(b->d);
        for (int j = 0; j < 16; j++) {
            dst[i + j] = d * (float)fkv_iq4_values[b->qs[j] & 15];
            dst[i + j + 16] = d * (float)fkv_iq4_values[b->qs[j] >> 4];
        }
    }
}
