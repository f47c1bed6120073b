/* bytes16.h: vectors of 16 bytes, for the unpacking of simd/types. NEON; simd/avx2/bytes16.h has the same functions. */
#ifndef FKV_SIMD_NEON_BYTES16_H
#define FKV_SIMD_NEON_BYTES16_H

#include <arm_neon.h>

#include "simd/inline.h"
#include "simd/simd.h"

typedef int8x16_t bytes16;

/* 32 values: the first 16, the others. */
struct bytes32 {
    bytes16 low, high;
};

INLINE bytes16 bytes_load(const void *p) { return vld1q_s8(p); }
INLINE bytes16 bytes_set(int v) { return vdupq_n_s8((int8_t)v); }
INLINE bytes16 bytes_from_words(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    const uint32_t words[4] = {a, b, c, d};
    return vreinterpretq_s8_u32(vld1q_u32(words));
}
INLINE bytes16 bytes_and(bytes16 a, bytes16 b) { return vandq_s8(a, b); }
INLINE bytes16 bytes_or(bytes16 a, bytes16 b) { return vorrq_s8(a, b); }
/* The first, or the last, 8 bytes of each as the low and high halves of words. */
INLINE bytes16 words_of_first(bytes16 low, bytes16 high) { return vzip1q_s8(low, high); }
INLINE bytes16 words_of_last(bytes16 low, bytes16 high) { return vzip2q_s8(low, high); }
INLINE bytes16 bytes_sub(bytes16 a, bytes16 b) { return vsubq_s8(a, b); }
/* n: 0 .. 7. */
INLINE bytes16 bytes_shift_right(bytes16 v, int n)
{
    return vreinterpretq_s8_u8(vshlq_u8(vreinterpretq_u8_s8(v), vdupq_n_s8((int8_t)-n)));
}
/* Every index below 16. */
INLINE bytes16 bytes_look_up(const int8_t table[16], bytes16 index)
{
    return vqtbl1q_s8(vld1q_s8(table), vreinterpretq_u8_s8(index));
}
/* All bits of byte i set where bit i is. */
INLINE bytes16 bytes_where(uint16_t bits)
{
    const uint8x16_t bytes = vcombine_u8(vdup_n_u8((uint8_t)bits), vdup_n_u8((uint8_t)(bits >> 8)));
    return vreinterpretq_s8_u8(vtstq_u8(bytes, vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201))));
}
/* -v where `where` has all bits set. */
INLINE bytes16 bytes_negate(bytes16 v, bytes16 where) { return vsubq_s8(veorq_s8(v, where), where); }

/* The lowest bits of `bits` to where mask has ones, in their order. Masks are constants: the loop unrolls. */
INLINE uint64_t spread_bits(uint64_t bits, uint64_t mask)
{
    uint64_t out = 0;
    for (int byte = 0; byte < 8; byte++) {
        const uint64_t here = mask >> 8 * byte & 255;
        const int n = __builtin_popcountll(here);
        if (n == 0) continue;
        out |= (bits & ((1u << n) - 1)) << (8 * byte + __builtin_ctzll(here));
        bits >>= n;
    }
    return out;
}

INLINE float half_at(const void *p)
{
    __fp16 h;
    memcpy(&h, p, sizeof h);
    return h;
}

#endif
