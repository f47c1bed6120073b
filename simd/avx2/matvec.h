/* matvec.h: decode with weights in blocks of 32, as the file has them, a row and a vector at a time.

   Integer dots with v8 per block, then one FMA by the product of the two scales. These products are made for up to 64
   blocks ahead, 8 at a time, and lie in memory, where broadcasting them costs no instruction. A zero point z enters as
   -z sum(v), a minimum likewise, 8 blocks at a time too. 8-bit weights are signed: |w| times v with w's sign (|-128| is
   128 as an unsigned byte). Rows are read front to back and not past their end. */
#ifndef FKV_SIMD_AVX2_MATVEC_H
#define FKV_SIMD_AVX2_MATVEC_H

#include "simd/avx2/v8.h"
#include "simd/avx2/weights.h"

/* A level's own: 8 sums of 4 products of unsigned by signed bytes. */
typedef __m256i dot_fn(__m256i w, __m256i x);

enum { AHEAD = 4096, RUN = 64 }; /* bytes of prefetch; blocks whose scales are made at once */

INLINE __m256i dot_s8(dot_fn *dot_u8, __m256i w, __m256i x)
{
    return dot_u8(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}
INLINE __m256i load_v(const struct v8 *v, int block)
{
    return _mm256_loadu_si256((const __m256i *)(v->q + 32 * block));
}

INLINE __m256 add_scaled(__m256i dot, const float *scale, __m256 sum)
{
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_broadcast_ss(scale), sum);
}

INLINE __m256 sum_4(const __m256 s[4]) { return _mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3])); }

INLINE void prefetch_block(const uint8_t *block, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64) _mm_prefetch((const char *)block + AHEAD + at, _MM_HINT_T0);
}

/* ---- blocks of 32: d first, then (Q4_1) m ---------------------------------------------------- */

enum kind { SIGNED, ZERO_8, ZERO_16, MINIMUM };

/* scales[n] = d scale(v); the terms of zero points or minima are added to `offset`. */
INLINE __m256 scales_32(enum kind kind, const uint8_t *block, size_t bytes, const struct v8 *v, int first, int n,
                        float *scales, __m256 offset)
{
    for (int i = 0; i < n; i += 8, block += 8 * bytes) {
        const __m256 d = gather_8_f16(block, bytes, n - i), sums = _mm256_loadu_ps(v->scaled_sum + first + i);
        _mm256_storeu_ps(scales + i, _mm256_mul_ps(d, _mm256_loadu_ps(v->scale + first + i)));
        if (kind == ZERO_8) offset = _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(-8)), sums, offset);
        if (kind == ZERO_16) offset = _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(-16)), sums, offset);
        if (kind == MINIMUM) offset = _mm256_fmadd_ps(gather_8_f16(block + 2, bytes, n - i), sums, offset);
    }
    return offset;
}

INLINE __m256 add_block(dot_fn *dot_u8, enum kind kind, __m256i w, __m256i x, const float *scale, __m256 sum)
{
    return add_scaled(kind == SIGNED ? dot_s8(dot_u8, w, x) : dot_u8(w, x), scale, sum);
}

INLINE float dot_32(dot_fn *dot_u8, enum kind kind, const uint8_t *row, int blocks, const struct v8 *v, size_t bytes,
                    __m256i (*values)(const uint8_t *))
{
    float scales[RUN];
    __m256 sum[4], offset = _mm256_setzero_ps();
    for (int i = 0; i < 4; i++) sum[i] = offset;
    for (int first = 0; first < blocks; first += RUN) {
        const int n = blocks - first < RUN ? blocks - first : RUN;
        const uint8_t *block = row + (size_t)first * bytes;
        offset = scales_32(kind, block, bytes, v, first, n, scales, offset);
        int i = 0;
        for (; i + 4 <= n; i += 4, block += 4 * bytes) {
            prefetch_block(block, 4 * bytes);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++)
                sum[j] = add_block(dot_u8, kind, values(block + (size_t)j * bytes), load_v(v, first + i + j),
                                   scales + i + j, sum[j]);
        }
        for (; i < n; i++, block += bytes)
            sum[0] = add_block(dot_u8, kind, values(block), load_v(v, first + i), scales + i, sum[0]);
    }
    return horizontal_sum(_mm256_add_ps(sum_4(sum), offset));
}

#define MATVEC_32(level, dot, format, kind)                                                                      \
    static void few_##format(const struct fkv_matvec *p)                                                         \
    {                                                                                                            \
        for (int j = 0; j < p->m; j++) {                                                                         \
            const struct v8 v = v8_view(fkv_matvec_vector(p, j), p->k);                                          \
            float *y = fkv_matvec_result(p, j);                                                                  \
            for (int i = 0; i < p->n; i++)                                                                       \
                y[i] = dot_32(dot, kind, fkv_matvec_row(p, i), p->k / 32, &v, sizeof(struct fkv_block_##format), \
                              values_##format);                                                                  \
        }                                                                                                        \
    }                                                                                                            \
    void fkv_matvec_##format##_##level(const struct fkv_matvec *p) { fkv_matvec_by_few(p, few_##format); }

/* fkv_matvec_<format>_<level>() for types in blocks of 32. */
#define MATVECS_32(level, dot)           \
    MATVEC_32(level, dot, q8_0, SIGNED)  \
    MATVEC_32(level, dot, q4_0, ZERO_8)  \
    MATVEC_32(level, dot, q4_1, MINIMUM) \
    MATVEC_32(level, dot, q5_0, ZERO_16)

#endif
