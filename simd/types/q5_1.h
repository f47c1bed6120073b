/* q5_1.h: Q5_1 unpacked, its values from -16 to 15: w = d q + m + 16 d. */
#ifndef FKV_SIMD_TYPES_Q5_1_H
#define FKV_SIMD_TYPES_Q5_1_H

#include "simd/types/scales.h"

INLINE void scales_q5_1(const uint8_t *block, struct block_scales *s)
{
    s->d = half_at(block);
    s->offset = half_at(block + 2) + 16 * s->d;
}

/* A nibble whose fifth bit is clear is q - 16: all upper bits set. */
INLINE struct bytes32 values_q5_1(const uint8_t *block, const struct block_scales *s, int j)
{
    const struct fkv_block_q5_1 *b = (const struct fkv_block_q5_1 *)block;
    uint32_t fifth;
    (void)s, (void)j;
    memcpy(&fifth, b->qh, sizeof fifth);
    const struct bytes32 v = split_nibbles(b->qs);
    const bytes16 upper = bytes_set(-16);
    return (struct bytes32){bytes_or(v.low, bytes_and(bytes_where((uint16_t)~fifth), upper)),
                            bytes_or(v.high, bytes_and(bytes_where((uint16_t)(~fifth >> 16)), upper))};
}

#endif
