/* matvec_unpacked.h: decode with the types of unpacked.def, a row and a vector at a time, for all levels of x86-64:
   they differ in how they pack the vector.

   32 weights become a vector of signed bytes; |w| times v with w's sign gives exact dots, which enter by one FMA
   with the product of all scales, made for eight 32s at a time. Scales of 16 values are whole numbers and multiply as
   vpmaddwd widens, minima times the sums of v likewise. */
#ifndef FKV_SIMD_AVX2_MATVEC_UNPACKED_H
#define FKV_SIMD_AVX2_MATVEC_UNPACKED_H

#include "simd/level.h"
#include "simd/types/all.h"

/* A level's own: 8 sums of 4 products of unsigned by signed bytes. */
typedef __m256i dot_bytes_fn(__m256i w, __m256i x);

/* A packed vector: v = scale q; arrays end at a multiple of eight 32s, in zeros. */
struct plain_vector {
    const int8_t *q;
    const float *scale, *sum; /* sum: scale times the sum of the 32 q */
};

enum { UNPACKED_AHEAD = 4096 }; /* bytes of prefetch */

INLINE __m256i join_bytes(struct bytes32 v) { return _mm256_set_m128i(v.high, v.low); }

INLINE __m256i load_32_bytes(const int8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }

INLINE float sum_of_lanes(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

INLINE void fetch_ahead(const uint8_t *block, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64) _mm_prefetch((const char *)block + UNPACKED_AHEAD + at, _MM_HINT_T0);
}

INLINE __m256 add_dot(dot_bytes_fn *dot, __m256i w, __m256i x, const float *scale, __m256 sum)
{
    const __m256i products = dot(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), _mm256_broadcast_ss(scale), sum);
}

/* ---- blocks of 32 ---------------------------------------------------------------------------- */

/* Of a block that may not be there. */
INLINE float d_of(scales_fn *scales, const uint8_t *block, bool exists, bool offset)
{
    struct block_scales s;
    if (!exists) return 0;
    scales(block, &s);
    return offset ? s.offset : s.d;
}

INLINE __m256 d_of_eight(scales_fn *scales, const uint8_t *block, size_t bytes, int n, bool offset)
{
#define OF(i) d_of(scales, block + (size_t)(i)*bytes, (i) < n, offset)
    return _mm256_setr_ps(OF(0), OF(1), OF(2), OF(3), OF(4), OF(5), OF(6), OF(7));
#undef OF
}

/* n blocks, at most eight; once inlined for eight there is no loop. */
INLINE __m256 add_blocks(dot_bytes_fn *dot, scales_fn *scales, unpack_fn *values, size_t bytes, bool has_offset,
                         const uint8_t *block, int n, const struct plain_vector *v, int first, __m256 sum,
                         __m256 *offsets)
{
    float by[8];
    const __m256 d = d_of_eight(scales, block, bytes, n, false);
    _mm256_storeu_ps(by, _mm256_mul_ps(d, _mm256_loadu_ps(v->scale + first)));
    if (has_offset)
        *offsets = _mm256_fmadd_ps(d_of_eight(scales, block, bytes, n, true), _mm256_loadu_ps(v->sum + first),
                                   *offsets);
    __m256 other = _mm256_setzero_ps();
#pragma GCC unroll 8
    for (int i = 0; i < n; i++) {
        const __m256i w = join_bytes(values(block + (size_t)i * bytes, NULL, 0)),
                      x = load_32_bytes(v->q + 32 * (first + i));
        if (i % 2)
            other = add_dot(dot, w, x, by + i, other);
        else
            sum = add_dot(dot, w, x, by + i, sum);
    }
    return _mm256_add_ps(sum, other);
}

INLINE float dot_row_32(dot_bytes_fn *dot, scales_fn *scales, unpack_fn *values, size_t bytes, bool has_offset,
                        const uint8_t *row, int blocks, const struct plain_vector *v)
{
    __m256 sum = _mm256_setzero_ps(), offsets = sum;
    int first = 0;
    for (; first + 8 <= blocks; first += 8, row += 8 * bytes) {
        fetch_ahead(row, 8 * bytes);
        sum = add_blocks(dot, scales, values, bytes, has_offset, row, 8, v, first, sum, &offsets);
    }
    if (first < blocks)
        sum = add_blocks(dot, scales, values, bytes, has_offset, row, blocks - first, v, first, sum, &offsets);
    return sum_of_lanes(_mm256_add_ps(sum, offsets));
}

/* ---- blocks of 256 --------------------------------------------------------------------------- */

INLINE __m256 add_unpacked(dot_bytes_fn *dot, unpack_fn *values, const uint8_t *block, const struct block_scales *s,
                           const int8_t *q, const float *v_scale, __m256 sum)
{
    float by[8];
    const __m256 scale = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)s->scale)));
    _mm256_storeu_ps(by, _mm256_mul_ps(_mm256_mul_ps(scale, _mm256_set1_ps(s->d)), _mm256_loadu_ps(v_scale)));
    __m256 other = _mm256_setzero_ps();
#pragma GCC unroll 4
    for (int j = 0; j < 8; j += 2) {
        sum = add_dot(dot, join_bytes(values(block, s, j)), load_32_bytes(q + 32 * j), by + j, sum);
        other = add_dot(dot, join_bytes(values(block, s, j + 1)), load_32_bytes(q + 32 * j + 32), by + j + 1, other);
    }
    return _mm256_add_ps(sum, other);
}

/* The words of two scales, of 16 values each. */
INLINE __m256i two_scales(const int16_t scale[2])
{
    return _mm256_set_m128i(_mm_set1_epi16(scale[1]), _mm_set1_epi16(scale[0]));
}

/* Scales per 16. */
INLINE __m256 add_unpacked_16(unpack_fn *values, bool has_offset, const uint8_t *block, const struct block_scales *s,
                              const int8_t *q, const float *v_scale, __m256 sum)
{
    float by[8], by_minimum[8];
    int16_t scale[16], minimum[16];
    const __m256 vs = _mm256_loadu_ps(v_scale);
    _mm256_storeu_ps(by, _mm256_mul_ps(_mm256_set1_ps(s->d), vs));
    _mm256_storeu_si256((__m256i *)scale, _mm256_cvtepi8_epi16(bytes_load(s->scale)));
    if (has_offset) {
        _mm256_storeu_ps(by_minimum, _mm256_mul_ps(_mm256_set1_ps(s->offset), vs));
        _mm256_storeu_si256((__m256i *)minimum, _mm256_cvtepi8_epi16(bytes_load(s->minimum)));
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        const __m256i w = join_bytes(values(block, s, j)), x = load_32_bytes(q + 32 * j);
        const __m256i pairs = has_offset ? _mm256_maddubs_epi16(w, x)
                                         : _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, two_scales(scale + 2 * j))),
                              _mm256_broadcast_ss(by + j), sum);
        if (!has_offset) continue;
        const __m256i sums = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), x),
                                               two_scales(minimum + 2 * j));
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), _mm256_broadcast_ss(by_minimum + j), sum);
    }
    return sum;
}

INLINE float dot_row_256(dot_bytes_fn *dot, scales_fn *scales, unpack_fn *values, size_t bytes, int n_scales,
                         bool has_offset, const uint8_t *row, int blocks, const struct plain_vector *v)
{
    __m256 sum = _mm256_setzero_ps();
    for (int i = 0; i < blocks; i++, row += bytes) {
        struct block_scales s;
        fetch_ahead(row, bytes);
        scales(row, &s);
        sum = n_scales == 1 ? add_unpacked(dot, values, row, &s, v->q + 256 * i, v->scale + 8 * i, sum)
                            : add_unpacked_16(values, has_offset, row, &s, v->q + 256 * i, v->scale + 8 * i, sum);
    }
    return sum_of_lanes(sum);
}

/* fkv_matvec_<name>_<level>(). view: struct plain_vector of a packed vector and k. */
#define MATVEC_UNPACKED(level, view, dot, name, values, scales, has_offset)                                       \
    static void few_##name(const struct fkv_matvec *p)                                                            \
    {                                                                                                             \
        const size_t bytes = sizeof(struct fkv_block_##name);                                                     \
        for (int j = 0; j < p->m; j++) {                                                                          \
            const struct plain_vector v = view(fkv_matvec_vector(p, j), p->k);                                    \
            float *y = fkv_matvec_result(p, j);                                                                   \
            for (int i = 0; i < p->n; i++)                                                                        \
                y[i] = (values) == 32 ? dot_row_32(dot, scales_##name, values_##name, bytes, has_offset,          \
                                                   fkv_matvec_row(p, i), p->k / 32, &v)                           \
                                      : dot_row_256(dot, scales_##name, values_##name, bytes, scales, has_offset, \
                                                    fkv_matvec_row(p, i), p->k / 256, &v);                        \
        }                                                                                                         \
    }                                                                                                             \
    void fkv_matvec_##name##_##level(const struct fkv_matvec *p) { fkv_matvec_by_few(p, few_##name); }

#endif
