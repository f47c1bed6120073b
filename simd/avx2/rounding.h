/* rounding.h: floats to whole numbers, q = round(x / scale), scale = largest magnitude of the block / 127 (or 32767).

   The largest magnitude is found on the bits as integers, where a NaN is larger than all numbers: it becomes the scale
   and so reaches the result. Blocks below 2^-100 become zero: the reciprocal of their scale would overflow. */
#ifndef FKV_SIMD_AVX2_ROUNDING_H
#define FKV_SIMD_AVX2_ROUNDING_H

#include "simd/avx2/avx2.h"

INLINE __m256i magnitude_bits(__m256 x)
{
    return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
}

INLINE void load_32(const float *x, __m256 v[4])
{
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) v[i] = _mm256_loadu_ps(x + 8 * i);
}

/* The largest magnitude in each half's four lanes, as bits. */
INLINE __m128i largest_of_32(const __m256 v[4])
{
    const __m256i m = _mm256_max_epi32(_mm256_max_epi32(magnitude_bits(v[0]), magnitude_bits(v[1])),
                                       _mm256_max_epi32(magnitude_bits(v[2]), magnitude_bits(v[3])));
    return _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
}

/* scale = largest / range and its reciprocal, or both zero. */
INLINE void scale_of(__m128 largest, float range, __m128 *scale, __m128 *inverse)
{
    const __m128 tiny = _mm_cmplt_ps(largest, _mm_set1_ps(0x1p-100f));
    *scale = _mm_andnot_ps(tiny, _mm_mul_ps(largest, _mm_set1_ps(1.0f / range)));
    *inverse = _mm_andnot_ps(tiny, _mm_div_ps(_mm_set1_ps(range), largest));
}

INLINE void round_32(const __m256 v[4], float inverse, __m256i out[4])
{
    const __m256 by = _mm256_set1_ps(inverse);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) out[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], by));
}

/* 2 x 8 int32 to 16 int16, 4 x 8 to 32 int8, in order. */
INLINE __m256i narrow_to_16(__m256i a, __m256i b) { return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8); }
INLINE __m256i narrow_to_8(const __m256i v[4])
{
    const __m256i mixed = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    return _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* 32 values: x = scale q. */
struct rounded {
    __m256i bytes;
    float scale;
    int32_t sum[2]; /* of the first and of the second 16 q */
};

INLINE struct rounded round_to_8(const float *x)
{
    __m256 v[4];
    __m256i wide[4];
    __m128 scale, inverse;
    load_32(x, v);
    __m128i top = largest_of_32(v);
    top = _mm_max_epi32(top, _mm_shuffle_epi32(top, 0x4e));
    scale_of(_mm_castsi128_ps(_mm_max_epi32(top, _mm_shuffle_epi32(top, 0xb1))), 127.0f, &scale, &inverse);
    round_32(v, _mm_cvtss_f32(inverse), wide);
    const __m256i bytes = narrow_to_8(wide);
    const __m256i pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes), _mm256_set1_epi16(1));
    const __m256i fours = _mm256_add_epi32(pairs, _mm256_shuffle_epi32(pairs, 0x4e)),
                  sixteens = _mm256_add_epi32(fours, _mm256_shuffle_epi32(fours, 0xb1));
    return (struct rounded){bytes,
                            _mm_cvtss_f32(scale),
                            {_mm256_cvtsi256_si32(sixteens), _mm256_extract_epi32(sixteens, 4)}};
}

#endif
