/* q3_k.h: Q3_K unpacked: w = d (s - 32) q, q from -4 to 3. */
#ifndef FKV_SIMD_TYPES_Q3_K_H
#define FKV_SIMD_TYPES_Q3_K_H

#include "simd/types/q2_k.h"

/* Six bits: the low four in eight bytes, two scales each, the upper two in four bytes, four scales each. */
INLINE void scales_q3_k(const uint8_t *block, struct block_scales *s)
{
    const struct fkv_block_q3_k *b = (const struct fkv_block_q3_k *)block;
    uint64_t low;
    uint32_t high;
    memcpy(&low, b->scales, sizeof low);
    memcpy(&high, b->scales + 8, sizeof high);
    s->d = half_at(&b->d);
    for (int i = 0; i < 2; i++) {
        const uint64_t two = (high >> 4 * i & 0x03030303) | (uint64_t)(high >> (4 * i + 2) & 0x03030303) << 32;
        store_eight(s->scale + 8 * i, each_minus((low >> 4 * i & 0x0f0f0f0f0f0f0f0f) | two << 4, 32));
    }
}

/* Where the bit of hmask is clear, q - 4: all upper bits set. */
INLINE struct bytes32 values_q3_k(const uint8_t *block, const struct block_scales *s, int j)
{
    (void)s;
    const struct fkv_block_q3_k *b = (const struct fkv_block_q3_k *)block;
    const struct bytes32 low = pairs_of_bits(b->qs, j);
    const bytes16 one = bytes_set(1), upper = bytes_set(-4);
    const bytes16 first = bytes_and(bytes_shift_right(bytes_load(b->hmask), j), one),
                  second = bytes_and(bytes_shift_right(bytes_load(b->hmask + 16), j), one);
    return (struct bytes32){bytes_or(low.low, bytes_and(bytes_sub(first, one), upper)),
                            bytes_or(low.high, bytes_and(bytes_sub(second, one), upper))};
}

#endif
