/* q2_k.h: Q2_K unpacked: w = d s q - dmin m. */
#ifndef FKV_SIMD_TYPES_Q2_K_H
#define FKV_SIMD_TYPES_Q2_K_H

#include "simd/types/scales.h"

INLINE void scales_q2_k(const uint8_t *block, struct block_scales *s)
{
    const struct fkv_block_q2_k *b = (const struct fkv_block_q2_k *)block;
    uint64_t both[2];
    memcpy(both, b->scales, sizeof both);
    s->d = half_at(&b->d);
    s->offset = -half_at(&b->dmin);
    for (int i = 0; i < 2; i++) {
        store_eight(s->scale + 8 * i, both[i] & 0x0f0f0f0f0f0f0f0f);
        store_eight(s->minimum + 8 * i, both[i] >> 4 & 0x0f0f0f0f0f0f0f0f);
    }
}

/* Two bits of each of 32 bytes: a byte has one value of each quarter of its half of the block. */
INLINE struct bytes32 pairs_of_bits(const uint8_t *qs, int j)
{
    const uint8_t *at = qs + 32 * (j / 4);
    const bytes16 three = bytes_set(3);
    return (struct bytes32){bytes_and(bytes_shift_right(bytes_load(at), 2 * (j % 4)), three),
                            bytes_and(bytes_shift_right(bytes_load(at + 16), 2 * (j % 4)), three)};
}

INLINE struct bytes32 values_q2_k(const uint8_t *block, const struct block_scales *s, int j)
{
    (void)s;
    return pairs_of_bits(((const struct fkv_block_q2_k *)block)->qs, j);
}

#endif
