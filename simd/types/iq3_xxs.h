/* iq3_xxs.h: IQ3_XXS unpacked: w = d (0.5 + s) / 2 q = d / 4 (1 + 2 s) q. */
#ifndef FKV_SIMD_TYPES_IQ3_XXS_H
#define FKV_SIMD_TYPES_IQ3_XXS_H

#include "simd/grids.h"
#include "simd/types/scales.h"

/* Four times seven signs; the eighth makes the number of ones even. */
INLINE uint32_t all_signs(uint32_t word)
{
    const uint32_t seven = (word & 0x7f) | (word << 1 & 0x7f00) | (word << 2 & 0x7f0000) | (word << 3 & 0x7f000000);
    uint32_t odd = seven ^ seven >> 4; /* what comes from the next byte stays above its lowest bit */
    odd ^= odd >> 2;
    odd ^= odd >> 1;
    return seven | (odd & 0x01010101) << 7;
}

INLINE void scales_iq3_xxs(const uint8_t *block, struct block_scales *s)
{
    const struct fkv_block_iq3_xxs *b = (const struct fkv_block_iq3_xxs *)block;
    s->d = 0.25f * half_at(&b->d);
    for (int j = 0; j < 8; j++) s->signs[j] = all_signs(b->signs_scale[j]);
    for (int j = 0; j < 8; j++) s->scale[j] = (int8_t)(1 + 2 * (b->signs_scale[j] >> 28));
    __asm__("" : "+m"(s->signs)); /* to be loaded one by one: to take them out of vectors costs more */
}

INLINE bytes16 points_iq3_xxs(const uint8_t *qs, uint16_t signs)
{
    const bytes16 v = bytes_from_words(fkv_grid_iq3_xxs[qs[0]], fkv_grid_iq3_xxs[qs[1]], fkv_grid_iq3_xxs[qs[2]],
                                       fkv_grid_iq3_xxs[qs[3]]);
    return bytes_negate(v, bytes_where(signs));
}

INLINE struct bytes32 values_iq3_xxs(const uint8_t *block, const struct block_scales *s, int j)
{
    const struct fkv_block_iq3_xxs *b = (const struct fkv_block_iq3_xxs *)block;
    return (struct bytes32){points_iq3_xxs(b->qs + 8 * j, (uint16_t)s->signs[j]),
                            points_iq3_xxs(b->qs + 8 * j + 4, (uint16_t)(s->signs[j] >> 16))};
}

#endif
