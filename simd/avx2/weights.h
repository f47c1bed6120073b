/* weights.h: the values of a stored block as 32 bytes of one vector in the order of k, before zero point and scale.

   Unpacking for prefill and the dot products of decode both start here. Every load stays inside its block. Formats:
   blocks.h. */
#ifndef FKV_SIMD_AVX2_WEIGHTS_H
#define FKV_SIMD_AVX2_WEIGHTS_H

#include "simd/avx2/avx2.h"

/* 32 nibbles: the low ones of 16 bytes, then the high ones. */
INLINE __m256i nibbles(const uint8_t *qs)
{
    const __m256i twice = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)qs));
    return _mm256_and_si256(_mm256_srlv_epi32(twice, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4)), _mm256_set1_epi8(15));
}

INLINE __m256i values_q8_0(const uint8_t *block)
{
    return _mm256_loadu_si256((const __m256i *)(block + 2));
} /* signed */
INLINE __m256i values_q4_0(const uint8_t *block) { return nibbles(block + 2); } /* zero point 8 */
INLINE __m256i values_q4_1(const uint8_t *block) { return nibbles(block + 4); }

INLINE __m256i values_q5_0(const uint8_t *block) /* zero point 16 */
{
    int32_t high;
    memcpy(&high, block + 2, 4);
    const __m256i byte_of_value = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit_of_value = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    const __m256i bits = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(high), byte_of_value), bit_of_value);
    const __m256i fifth = _mm256_and_si256(_mm256_cmpeq_epi8(bits, bit_of_value), _mm256_set1_epi8(16));
    return _mm256_or_si256(nibbles(block + 6), fifth);
}

/* Block j of the eight (j is a constant once unrolled). */
INLINE __m256i values_q4_k(const uint8_t *block, int j)
{
    const __m256i v = _mm256_loadu_si256((const __m256i *)(block + 16 + 32 * (j / 2)));
    return _mm256_and_si256(j & 1 ? _mm256_srli_epi16(v, 4) : v, _mm256_set1_epi8(15));
}

INLINE __m256i values_q5_k(const uint8_t *block, int j)
{
    const __m256i high = _mm256_srli_epi16(_mm256_loadu_si256((const __m256i *)(block + 16)), j);
    const __m256i fifth = _mm256_slli_epi16(_mm256_and_si256(high, _mm256_set1_epi8(1)), 4);
    return _mm256_or_si256(values_q4_k(block + 32, j), fifth);
}

INLINE __m256i values_q6_k(const uint8_t *block, int j) /* zero point 32 */
{
    const int half = j / 4, part = j % 4;
    const __m256i low = _mm256_loadu_si256((const __m256i *)(block + 64 * half + 32 * (part & 1)));
    const __m256i high = _mm256_loadu_si256((const __m256i *)(block + 128 + 32 * half));
    const __m256i four = _mm256_and_si256(part < 2 ? low : _mm256_srli_epi16(low, 4), _mm256_set1_epi8(15));
    const __m256i two = _mm256_and_si256(_mm256_srli_epi16(high, 2 * part), _mm256_set1_epi8(3));
    return _mm256_or_si256(four, _mm256_slli_epi16(two, 4));
}

/* The head of a Q4_K or Q5_K block: scale[j] = d sc_j and minimum[j] = dmin m_j of w = scale q - minimum. */
INLINE void scales_q4_k(const uint8_t *block, __m256 *scale, __m256 *minimum)
{
    uint32_t s[3];
    memcpy(s, block + 4, sizeof s);
    const uint32_t sc4 = (s[2] & 0x0f0f0f0fu) | (s[0] >> 2 & 0x30303030u),
                   m4 = (s[2] >> 4 & 0x0f0f0f0fu) | (s[1] >> 2 & 0x30303030u);
    const __m128i sc = _mm_set_epi32(0, 0, (int)sc4, (int)(s[0] & 0x3f3f3f3fu));
    const __m128i m = _mm_set_epi32(0, 0, (int)m4, (int)(s[1] & 0x3f3f3f3fu));
    *scale = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(sc)), _mm256_set1_ps(load_f16(block)));
    *minimum = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(m)), _mm256_set1_ps(load_f16(block + 2)));
}

/* The 16 scales d sc of a Q6_K block, one per 16 values. */
INLINE void scales_q6_k(const uint8_t *block, __m256 scale[2])
{
    const __m128i sc = _mm_loadu_si128((const __m128i *)(block + 192));
    const __m256 d = _mm256_set1_ps(load_f16(block + 208));
    scale[0] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(sc)), d);
    scale[1] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(sc, 8))), d);
}

#endif
