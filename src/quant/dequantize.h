/* dequantize.h: the reference dequantisers, one file each, and the pieces that two of them share. Internal to
   src/quant.

   Each multiplies in the order in which the format is defined (scale by sub-scale, then by the value, then the minimum
   taken away), so that the results equal ggml's bit for bit. Blocks are packed structures of simd/blocks.h: src needs
   no alignment. */
#ifndef FKV_QUANT_DEQUANTIZE_H
#define FKV_QUANT_DEQUANTIZE_H

#include <stddef.h>
#include <stdint.h>

#include "simd/blocks.h"
#include "simd/grids.h"

/* k values (a multiple of the block's elements) from the blocks at src to dst[k]. */
#define QUANT_TYPE(NAME, name, elements, bytes) void fkv_dequantize_##name(const void *src, float *dst, size_t k);
#include "quant/quant_types.def"
#undef QUANT_TYPE

/* Scale and minimum of sub-block j of 8, six bits each, packed into the 12 bytes that Q4_K and Q5_K have in common. */
static inline void fkv_k_scale_min(const uint8_t *scales, int j, uint8_t *scale, uint8_t *min)
{
    if (j < 4) {
        *scale = scales[j] & 63;
        *min = scales[j + 4] & 63;
    } else {
        *scale = (uint8_t)((scales[j + 4] & 15) | scales[j - 4] >> 6 << 4);
        *min = (uint8_t)(scales[j + 4] >> 4 | scales[j] >> 6 << 4);
    }
}

/* Four values of a point of IQ3: scale times magnitude, negative where the bit of `signs` is set. */
static inline void fkv_put_four(uint32_t point, float scale, uint8_t signs, float *dst)
{
    for (int i = 0; i < 4; i++) {
        const float v = scale * (float)(point >> 8 * i & 255);
        dst[i] = signs >> i & 1 ? -v : v;
    }
}

/* Eight of a point of IQ2. */
static inline void fkv_put_eight(uint16_t point, float scale, uint8_t signs, float *dst)
{
    static const float magnitude[4] = {8, 25, 43, 0};
    for (int i = 0; i < 8; i++) {
        const float v = scale * magnitude[point >> 2 * i & 3];
        dst[i] = signs >> i & 1 ? -v : v;
    }
}

/* Eight of a point of IQ1: -1, 0 or 1, all moved by delta. */
static inline void fkv_put_ternary(uint16_t point, float scale, float delta, float *dst)
{
    for (int i = 0; i < 8; i++) dst[i] = scale * ((float)((point >> 2 * i & 3) - 1) + delta);
}

#endif
