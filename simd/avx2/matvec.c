/* Decode: y[n] = W[n][k] v, W as the file has it, one row at a time.

   Quantised rows: integer dots with v8 per block (vpmaddubsw, two products per int16: 2 x 63 x 127 fits), widened by vpmaddwd, then
   one FMA by the product of the two scales. These products are made for up to 64 blocks ahead, 8 at a time, and lie in memory,
   where broadcasting them costs no instruction. A zero point z enters as -z sum(v), a minimum likewise, 8 blocks at a time too.
   8-bit weights are signed: |w| times v with w's sign (|-128| is 128 as an unsigned byte; 2 x 128 x 127 fits).
   Rows are read front to back and not past their end. */
#include "simd/avx2/activations.h"
#include "simd/avx2/weights.h"

enum { AHEAD = 4096, RUN = 64 }; /* bytes of prefetch; blocks whose scales are made at once */

INLINE __m256i dot_u8(__m256i w, __m256i x) { return _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)); }
INLINE __m256i dot_s8(__m256i w, __m256i x) { return dot_u8(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)); }
INLINE __m256i load_v(const struct v8 *v, int block) { return _mm256_loadu_si256((const __m256i *)(v->q + 32 * block)); }

INLINE __m256 add_scaled(__m256i dot, const float *scale, __m256 sum) { return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_broadcast_ss(scale), sum); }

INLINE __m256 sum_4(const __m256 s[4]) { return _mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3])); }

INLINE void prefetch_block(const uint8_t *block, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64) _mm_prefetch((const char *)block + AHEAD + at, _MM_HINT_T0);
}

/* ---- blocks of 32: d first, then (Q4_1) m ----------------------------------------------------------------------------- */

enum kind { SIGNED, ZERO_8, ZERO_16, MINIMUM };

/* scales[n] = d scale(v); the terms of zero points or minima are added to `offset`. */
INLINE __m256 scales_32(enum kind kind, const uint8_t *block, size_t bytes, const struct v8 *v, int first, int n, float *scales, __m256 offset)
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

INLINE __m256 add_block(enum kind kind, __m256i w, __m256i x, const float *scale, __m256 sum)
{
    return add_scaled(kind == SIGNED ? dot_s8(w, x) : dot_u8(w, x), scale, sum);
}

INLINE float dot_32(enum kind kind, const uint8_t *row, int blocks, const struct v8 *v, size_t bytes, __m256i (*values)(const uint8_t *))
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
            for (int j = 0; j < 4; j++) sum[j] = add_block(kind, values(block + (size_t)j * bytes), load_v(v, first + i + j), scales + i + j, sum[j]);
        }
        for (; i < n; i++, block += bytes) sum[0] = add_block(kind, values(block), load_v(v, first + i), scales + i, sum[0]);
    }
    return horizontal_sum(_mm256_add_ps(sum_4(sum), offset));
}

#define MATVEC_32(format, kind) \
    void fkv_matvec_##format##_avx2(const void *w, size_t w_stride, int n, int k, const void *packed, float *y) \
    { \
        const struct v8 v = v8_view(packed, k); \
        for (int i = 0; i < n; i++) \
            y[i] = dot_32(kind, (const uint8_t *)w + (size_t)i * w_stride, k / 32, &v, sizeof(struct fkv_block_##format), values_##format); \
    }
MATVEC_32(q8_0, SIGNED)
MATVEC_32(q4_0, ZERO_8)
MATVEC_32(q4_1, MINIMUM)
MATVEC_32(q5_0, ZERO_16)

/* ---- blocks of 256 ----------------------------------------------------------------------------------------------------- */

INLINE float dot_k(const uint8_t *row, int blocks, const struct v8 *v, size_t bytes, __m256i (*values)(const uint8_t *, int))
{
    float scales[RUN];
    __m256 sum[4], minima = _mm256_setzero_ps();
    for (int i = 0; i < 4; i++) sum[i] = minima;
    for (int first = 0; first < blocks; first += RUN / 8) {
        const int n = blocks - first < RUN / 8 ? blocks - first : RUN / 8;
        const uint8_t *block = row + (size_t)first * bytes;
        for (int i = 0; i < n; i++) {
            __m256 scale, minimum;
            scales_q4_k(block + (size_t)i * bytes, &scale, &minimum);
            _mm256_storeu_ps(scales + 8 * i, _mm256_mul_ps(scale, _mm256_loadu_ps(v->scale + 8 * (first + i))));
            minima = _mm256_fmadd_ps(minimum, _mm256_loadu_ps(v->scaled_sum + 8 * (first + i)), minima);
        }
        for (int i = 0; i < n; i++, block += bytes) {
            prefetch_block(block, bytes);
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) sum[j % 4] = add_scaled(dot_u8(values(block, j), load_v(v, 8 * (first + i) + j)), scales + 8 * i + j, sum[j % 4]);
        }
    }
    return horizontal_sum(_mm256_sub_ps(sum_4(sum), minima));
}

#define MATVEC_K(format) \
    void fkv_matvec_##format##_avx2(const void *w, size_t w_stride, int n, int k, const void *packed, float *y) \
    { \
        const struct v8 v = v8_view(packed, k); \
        for (int i = 0; i < n; i++) y[i] = dot_k((const uint8_t *)w + (size_t)i * w_stride, k / 256, &v, sizeof(struct fkv_block_##format), values_##format); \
    }
MATVEC_K(q4_k)
MATVEC_K(q5_k)

/* Block j of a Q6_K block. The 16 integer scales multiply as vpmaddwd widens: those of even blocks of 16 lie in the low half. */
INLINE __m256i dot_q6(const uint8_t *block, int j, __m256i x, __m256i scales)
{
    const __m256i pick = _mm256_set1_epi16((int16_t)(2 * j | (2 * j + 1) << 8));
    return _mm256_madd_epi16(_mm256_maddubs_epi16(values_q6_k(block, j), x), _mm256_shuffle_epi8(scales, pick));
}

INLINE float dot_q6_k(const uint8_t *row, int blocks, const struct v8 *v)
{
    const __m128i even_then_odd = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    const size_t bytes = sizeof(struct fkv_block_q6_k);
    float scales[RUN];
    __m256 sum[4], zero = _mm256_setzero_ps();
    for (int i = 0; i < 4; i++) sum[i] = zero;
    for (int first = 0; first < blocks; first += RUN / 8) {
        const int n = blocks - first < RUN / 8 ? blocks - first : RUN / 8;
        const uint8_t *block = row + (size_t)first * bytes;
        for (int i = 0; i < n; i++) {
            __m256 scale[2];
            scales_q6_k(block + (size_t)i * bytes, scale);
            zero = _mm256_fmadd_ps(scale[0], _mm256_loadu_ps(v->sum_16 + 16 * (first + i)), zero);
            zero = _mm256_fmadd_ps(scale[1], _mm256_loadu_ps(v->sum_16 + 16 * (first + i) + 8), zero);
            const __m256 d = _mm256_set1_ps(load_f16(block + (size_t)i * bytes + 208));
            _mm256_storeu_ps(scales + 8 * i, _mm256_mul_ps(d, _mm256_loadu_ps(v->scale + 8 * (first + i))));
        }
        for (int i = 0; i < n; i++, block += bytes) {
            const __m256i sc = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 192)), even_then_odd));
            prefetch_block(block, bytes);
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) sum[j % 4] = add_scaled(dot_q6(block, j, load_v(v, 8 * (first + i) + j), sc), scales + 8 * i + j, sum[j % 4]);
        }
    }
    return horizontal_sum(_mm256_fnmadd_ps(_mm256_set1_ps(32.0f), zero, sum_4(sum)));
}

void fkv_matvec_q6_k_avx2(const void *w, size_t w_stride, int n, int k, const void *packed, float *y)
{
    const struct v8 v = v8_view(packed, k);
    for (int i = 0; i < n; i++) y[i] = dot_q6_k((const uint8_t *)w + (size_t)i * w_stride, k / 256, &v);
}

/* ---- floats: four sums of 8 lanes, k divides by 32 ----------------------------------------------------------------------- */

INLINE float dot_float(const char *row, int k, const float *v, size_t value_bytes, __m256 (*load)(const void *))
{
    __m256 sum[4];
    for (int i = 0; i < 4; i++) sum[i] = _mm256_setzero_ps();
    for (int j = 0; j < k; j += 32) {
        _mm_prefetch(row + (size_t)j * value_bytes + AHEAD, _MM_HINT_T0);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            sum[i] = _mm256_fmadd_ps(load(row + (size_t)(j + 8 * i) * value_bytes), _mm256_loadu_ps(v + j + 8 * i), sum[i]);
    }
    return horizontal_sum(sum_4(sum));
}

#define MATVEC_FLOAT(format, value_bytes) \
    void fkv_matvec_##format##_avx2(const void *w, size_t w_stride, int n, int k, const void *v, float *y) \
    { \
        for (int i = 0; i < n; i++) y[i] = dot_float((const char *)w + (size_t)i * w_stride, k, v, value_bytes, load_8_##format); \
    }
MATVEC_FLOAT(f16, 2)
MATVEC_FLOAT(bf16, 2)
MATVEC_FLOAT(f32, 4)
