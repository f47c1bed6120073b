/* iq3_s.h: IQ3_S unpacked. */
#ifndef FKV_SIMD_TYPES_IQ3_S_H
#define FKV_SIMD_TYPES_IQ3_S_H

#include "simd/grids.h"
#include "simd/types/scales.h"

/* A point's number: a byte, and its ninth bit. */
INLINE void scales_iq3_s(const uint8_t *block, struct block_scales *s)
{
    const struct fkv_block_iq3_s *b = (const struct fkv_block_iq3_s *)block;
    uint32_t nibbles;
    memcpy(&nibbles, b->scales, sizeof nibbles);
    s->d = half_at(&b->d);
    store_eight(s->scale, 2 * spread_bits(nibbles, 0x0f0f0f0f0f0f0f0f) + 0x0101010101010101);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        uint16_t ninth;
        memcpy(&ninth, b->qh + 2 * i, sizeof ninth);
        const bytes16 low = bytes_load(b->qs + 16 * i), high = bytes_and(bytes_where(ninth), bytes_set(1)),
                      first = words_of_first(low, high), last = words_of_last(low, high);
        memcpy(s->point + 16 * i, &first, sizeof first);
        memcpy(s->point + 16 * i + 8, &last, sizeof last);
    }
    __asm__("" : "+m"(s->point)); /* to be loaded one by one: to take them out of vectors costs more */
}

INLINE bytes16 points_iq3_s(const uint16_t *point, const uint8_t *signs)
{
    uint16_t bits;
    memcpy(&bits, signs, sizeof bits);
    const bytes16 v = bytes_from_words(fkv_grid_iq3_s[point[0]], fkv_grid_iq3_s[point[1]], fkv_grid_iq3_s[point[2]],
                                       fkv_grid_iq3_s[point[3]]);
    return bytes_negate(v, bytes_where(bits));
}

INLINE struct bytes32 values_iq3_s(const uint8_t *block, const struct block_scales *s, int j)
{
    const struct fkv_block_iq3_s *b = (const struct fkv_block_iq3_s *)block;
    return (struct bytes32){points_iq3_s(s->point + 8 * j, b->signs + 4 * j),
                            points_iq3_s(s->point + 8 * j + 4, b->signs + 4 * j + 2)};
}

#endif
