/* iq4_nl.h: IQ4_NL unpacked. */
#ifndef FKV_SIMD_TYPES_IQ4_NL_H
#define FKV_SIMD_TYPES_IQ4_NL_H

#include "simd/grids.h"
#include "simd/types/scales.h"

INLINE struct bytes32 look_up_nibbles(const int8_t table[16], const uint8_t *qs)
{
    const bytes16 v = bytes_load(qs);
    return (struct bytes32){bytes_look_up(table, bytes_and(v, bytes_set(15))),
                            bytes_look_up(table, bytes_shift_right(v, 4))};
}

INLINE void scales_iq4_nl(const uint8_t *block, struct block_scales *s) { s->d = half_at(block); }

INLINE struct bytes32 values_iq4_nl(const uint8_t *block, const struct block_scales *s, int j)
{
    (void)s, (void)j;
    return look_up_nibbles(fkv_iq4_values, ((const struct fkv_block_iq4_nl *)block)->qs);
}

#endif
