/* iq4_xs.h: IQ4_XS unpacked. */
#ifndef FKV_SIMD_TYPES_IQ4_XS_H
#define FKV_SIMD_TYPES_IQ4_XS_H

#include "simd/types/iq4_nl.h"

/* Six bits less 32: four in the nibbles, two in pairs of bits. */
INLINE void scales_iq4_xs(const uint8_t *block, struct block_scales *s)
{
    const struct fkv_block_iq4_xs *b = (const struct fkv_block_iq4_xs *)block;
    uint32_t low;
    memcpy(&low, b->scales_l, sizeof low);
    s->d = half_at(&b->d);
    store_eight(s->scale,
                each_minus(spread_bits(low, 0x0f0f0f0f0f0f0f0f) | spread_bits(b->scales_h, 0x3030303030303030), 32));
}

INLINE struct bytes32 values_iq4_xs(const uint8_t *block, const struct block_scales *s, int j)
{
    (void)s;
    return look_up_nibbles(fkv_iq4_values, ((const struct fkv_block_iq4_xs *)block)->qs + 16 * j);
}

#endif
