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

/* The 16 values of a four-bit code in IQ4_NL and IQ4_XS. */
extern const int8_t fkv_iq4_values[16];

#endif
