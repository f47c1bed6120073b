/* bytes16.h: vectors of 16 bytes, for the unpacking of simd/types. x86-64 with AVX2 and BMI2; simd/neon/bytes16.h has
   the same functions. */
#ifndef FKV_SIMD_AVX2_BYTES16_H
#define FKV_SIMD_AVX2_BYTES16_H

#include <immintrin.h>

#include "simd/inline.h"
#include "simd/simd.h"

typedef __m128i bytes16;

/* 32 values: the first 16, the others. */
struct bytes32 {
    bytes16 low, high;
};

INLINE bytes16 bytes_load(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
INLINE bytes16 bytes_set(int v) { return _mm_set1_epi8((char)v); }
INLINE bytes16 bytes_from_words(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    return _mm_setr_epi32((int)a, (int)b, (int)c, (int)d);
}
INLINE bytes16 bytes_and(bytes16 a, bytes16 b) { return _mm_and_si128(a, b); }
INLINE bytes16 bytes_or(bytes16 a, bytes16 b) { return _mm_or_si128(a, b); }
/* The first, or the last, 8 bytes of each as the low and high halves of words. */
INLINE bytes16 words_of_first(bytes16 low, bytes16 high) { return _mm_unpacklo_epi8(low, high); }
INLINE bytes16 words_of_last(bytes16 low, bytes16 high) { return _mm_unpackhi_epi8(low, high); }
INLINE bytes16 bytes_sub(bytes16 a, bytes16 b) { return _mm_sub_epi8(a, b); }
/* n: 0 .. 7, a constant once inlined. */
INLINE bytes16 bytes_shift_right(bytes16 v, int n)
{
    return _mm_and_si128(_mm_srli_epi16(v, n), _mm_set1_epi8((char)(255 >> n)));
}
/* Every index below 16. */
INLINE bytes16 bytes_look_up(const int8_t table[16], bytes16 index)
{
    return _mm_shuffle_epi8(bytes_load(table), index);
}
/* All bits of byte i set where bit i is. */
INLINE bytes16 bytes_where(uint16_t bits)
{
    const __m128i byte_of_bit = _mm_set_epi64x(0x0101010101010101, 0),
                  bit = _mm_set1_epi64x((int64_t)0x8040201008040201);
    return _mm_cmpeq_epi8(_mm_and_si128(_mm_shuffle_epi8(_mm_set1_epi16((short)bits), byte_of_bit), bit), bit);
}
/* -v where `where` has all bits set. */
INLINE bytes16 bytes_negate(bytes16 v, bytes16 where) { return _mm_sub_epi8(_mm_xor_si128(v, where), where); }

/* The lowest bits of `bits` to where mask has ones, in their order. */
INLINE uint64_t spread_bits(uint64_t bits, uint64_t mask) { return _pdep_u64(bits, mask); }

INLINE float half_at(const void *p)
{
    fkv_f16 h;
    memcpy(&h, p, sizeof h);
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

#endif
