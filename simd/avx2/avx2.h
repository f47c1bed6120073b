/* avx2.h: what the files of the AVX2 level share: the kernels' prototypes and small vector helpers.

   The level needs AVX2, FMA, F16C and BMI2 and has 16 registers of 8 floats. Nothing here may use more. */
#ifndef FKV_SIMD_AVX2_H
#define FKV_SIMD_AVX2_H

#include <immintrin.h>

#include "simd/inline.h"
#include "simd/level.h"

#define KERNEL(result, name, args) result fkv_##name##_avx2 args;
#include "simd/kernels.def"
#undef KERNEL

enum { AVX2_PANEL_ROWS = 128 }; /* panel_rows of the level and of AVX-VNNI */

INLINE float horizontal_sum(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

INLINE float horizontal_max(__m256 v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

INLINE float load_f16(const void *p)
{
    fkv_f16 h;
    memcpy(&h, p, sizeof h);
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

INLINE __m256 load_8_f32(const void *p) { return _mm256_loadu_ps(p); }
INLINE __m256 load_8_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128(p)); }

/* The half at p, p + stride, ...: `count` of them, then zeros. */
INLINE __m256 gather_8_f16(const uint8_t *p, size_t stride, int count)
{
    int16_t h[8] = {0};
    if (count >= 8)
        for (int i = 0; i < 8; i++) memcpy(&h[i], p + (size_t)i * stride, sizeof h[i]);
    else
        for (int i = 0; i < count; i++) memcpy(&h[i], p + (size_t)i * stride, sizeof h[i]);
    return _mm256_cvtph_ps(_mm_setr_epi16(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]));
}

INLINE __m256 load_8_bf16(const void *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}

/* All bits set in the first `count` of 8 lanes. */
INLINE __m256i first_lanes(int count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The first `count` of 8 floats, then zeros. vmaskmovps would do, but its stores take tens of cycles on AMD, and
   emulators read behind its mask. */
INLINE __m256 load_first(const void *p, int count)
{
    if (count >= 8) return _mm256_loadu_ps(p);
    float lanes[8] = {0};
    memcpy(lanes, p, (size_t)count * 4);
    return _mm256_loadu_ps(lanes);
}

INLINE void store_first(void *p, int count, __m256 v)
{
    if (count >= 8) {
        _mm256_storeu_ps(p, v);
        return;
    }
    float lanes[8];
    _mm256_storeu_ps(lanes, v);
    memcpy(p, lanes, (size_t)count * 4);
}

/* In both halves by themselves, v[i] lane j becomes v[j] lane i. */
INLINE void transpose_halves(__m256i v[4])
{
    const __m256i a = _mm256_unpacklo_epi32(v[0], v[1]), b = _mm256_unpacklo_epi32(v[2], v[3]);
    const __m256i c = _mm256_unpackhi_epi32(v[0], v[1]), d = _mm256_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm256_unpacklo_epi64(a, b);
    v[1] = _mm256_unpackhi_epi64(a, b);
    v[2] = _mm256_unpacklo_epi64(c, d);
    v[3] = _mm256_unpackhi_epi64(c, d);
}

/* v[i] lane j becomes v[j] lane i. */
INLINE void transpose_8x8(__m256i v[8])
{
    __m256i a[8], b[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        b[4 * i] = _mm256_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm256_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm256_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm256_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
        v[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
    }
}

INLINE void transpose_8x8_f32(__m256 v[8])
{
    __m256i t[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) t[i] = _mm256_castps_si256(v[i]);
    transpose_8x8(t);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) v[i] = _mm256_castsi256_ps(t[i]);
}

/* Adding 1.5 2^23 rounds to the nearest integer and leaves it in the low bits; shifted by 23 it is the exponent to
   add. */
INLINE __m256 scale_by_exponent(__m256 p, __m256 rounded_with_magic)
{
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(rounded_with_magic), 23)));
}

/* 2^x for -126 <= x <= 127, relative error 1e-7; a NaN stays one. *holds: all bits set but for x < -126, where the
   exponent wraps round and what is returned means nothing. */
INLINE __m256 exp2_8_where(__m256 x, __m256 *holds)
{
    const __m256 magic = _mm256_set1_ps(12582912.0f);
    *holds = _mm256_cmp_ps(x, _mm256_set1_ps(-126.0f), _CMP_NLT_UQ);
    const __m256 t = _mm256_add_ps(x, magic), f = _mm256_sub_ps(x, _mm256_sub_ps(t, magic));
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(0.00132764715f), f, _mm256_set1_ps(0.00967554133f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.0555071327f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.240221197f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.693146967f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1.00000007f));
    return scale_by_exponent(p, t);
}

/* The same, and zero below -126. */
INLINE __m256 exp2_8(__m256 x)
{
    __m256 holds;
    const __m256 e = exp2_8_where(x, &holds);
    return _mm256_and_ps(e, holds);
}

/* e^x, relative error 2e-7; zero below -87, e^88 above 88; a NaN stays one (the order of min's operands). x - n log 2
   is exact thanks to log 2 in two parts; the polynomial is that of Cephes' expf. */
INLINE __m256 exp_8(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(12582912.0f), keep = _mm256_cmp_ps(x, _mm256_set1_ps(-87.0f), _CMP_NLT_UQ);
    x = _mm256_min_ps(_mm256_set1_ps(88.0f), x);
    const __m256 t = _mm256_fmadd_ps(x, _mm256_set1_ps(1.44269504f), magic), n = _mm256_sub_ps(t, magic);
    const __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f),
                                      _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x));
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(1.9875691500e-4f), r, _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1.0f)));
    return _mm256_and_ps(scale_by_exponent(p, t), keep);
}

#endif
