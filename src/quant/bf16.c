/* BF16: the upper half of IEEE single precision; the conversion is exact. */
#include "quant/dequantize.h"

void fkv_dequantize_bf16(const void *src, float *dst, size_t k)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < k; i++) {
        fkv_bf16 h;
        memcpy(&h, p + 2 * i, 2);
        dst[i] = fkv_f32_from_bf16(h);
    }
}
