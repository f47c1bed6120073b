/* F16: IEEE half precision; the conversion is exact. */
#include "quant/dequantize.h"

void fkv_dequantize_f16(const void *src, float *dst, size_t k)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < k; i++) {
        fkv_f16 h;
        memcpy(&h, p + 2 * i, 2);
        dst[i] = fkv_f32_from_f16(h);
    }
}
