/* scales.h: what a stored block says of its scales, for simd/types. */
#ifndef FKV_SIMD_TYPES_SCALES_H
#define FKV_SIMD_TYPES_SCALES_H

#include "bytes16.h" /* of the processor's family: the build says where */

/* Of w = d scale q + offset minimum. Of blocks of 32: both are d and offset alone. And what else is best made of a
   block as a whole: of IQ3, the numbers of its points and its signs. */
struct block_scales {
    float d, offset;
    int8_t scale[16], minimum[16]; /* per 32 values, or per 16 */
    uint16_t point[64];            /* IQ3_S */
    uint32_t signs[8];             /* IQ3_XXS */
};

INLINE void store_eight(int8_t to[8], uint64_t bytes) { memcpy(to, &bytes, 8); }

/* Of bytes below 128: each minus n. */
INLINE uint64_t each_minus(uint64_t bytes, uint8_t n)
{
    const uint64_t top = 0x8080808080808080;
    return ((bytes | top) - 0x0101010101010101 * n) ^ top;
}

/* 32 nibbles: the low ones of 16 bytes, then the high ones. */
INLINE struct bytes32 split_nibbles(const uint8_t *qs)
{
    const bytes16 v = bytes_load(qs);
    return (struct bytes32){bytes_and(v, bytes_set(15)), bytes_shift_right(v, 4)};
}

#endif
