/* MXFP4: 32 values 2^(e - 128) values[q], q of four bits; byte j holds values j and j + 16. */
#include "quant/dequantize.h"

void fkv_dequantize_mxfp4(const void *src, float *dst, size_t k)
{
    const struct fkv_block_mxfp4 *b = src;
    for (size_t i = 0; i < k; i += 32, b++) {
        const float d = fkv_f32_from_e8m0_half(b->e);
        for (int j = 0; j < 16; j++) {
            dst[i + j] = d * (float)fkv_mxfp4_values[b->qs[j] & 15];
            dst[i + j + 16] = d * (float)fkv_mxfp4_values[b->qs[j] >> 4];
        }
    }
}
