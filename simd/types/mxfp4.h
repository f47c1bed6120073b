/* mxfp4.h: MXFP4 unpacked, values doubled. */
#ifndef FKV_SIMD_TYPES_MXFP4_H
#define FKV_SIMD_TYPES_MXFP4_H

#include "simd/types/iq4_nl.h"

INLINE void scales_mxfp4(const uint8_t *block, struct block_scales *s) { s->d = fkv_f32_from_e8m0_half(block[0]); }

INLINE struct bytes32 values_mxfp4(const uint8_t *block, const struct block_scales *s, int j)
{
    (void)s, (void)j;
    return look_up_nibbles(fkv_mxfp4_values, ((const struct fkv_block_mxfp4 *)block)->qs);
}

#endif
