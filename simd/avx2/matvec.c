/* Decode: y[n] = W[n][k] v, W as the file has it, one row at a time.

   Quantised rows: integer dots with v8 per block (vpmaddubsw, two products per int16: 2 x 63 x 127 fits), widened by vpmaddwd, then
   one FMA by the product of the two scales. A zero point z enters as -z sum(q of v), spread over the 8 lanes; a minimum as a term
   of its own. 8-bit weights are signed: |w| times v with w's sign (|-128| is 128 as an unsigned byte; 2 x 128 x 127 fits).
   Rows are read front to back and not past their end. */
#include "simd/avx2/activations.h"
#include "simd/avx2/weights.h"

enum { AHEAD = 4096 }; /* bytes of prefetch */

INLINE __m256i dot_u8(__m256i w, __m256i x) { return _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)); }
INLINE __m256i dot_s8(__m256i w, __m256i x) { return dot_u8(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)); }
INLINE __m256i load_v(const struct v8 *v, int block) { return _mm256_loadu_si256((const __m256i *)(v->q + 32 * block)); }

/* ---- blocks of 32 ---------------------------------------------------------------------------------------------------- */

enum kind { SIGNED, ZERO_8, ZERO_16, MINIMUM };

INLINE __m256 add_block(enum kind kind, const uint8_t *block, __m256i w, const struct v8 *v, int b, __m256 sum)
{
    __m256i p = kind == SIGNED ? dot_s8(w, load_v(v, b)) : dot_u8(w, load_v(v, b));
    if (kind == ZERO_8) p = _mm256_add_epi32(p, _mm256_set1_epi32(v->minus_sum[b]));
    if (kind == ZERO_16) p = _mm256_add_epi32(p, _mm256_slli_epi32(_mm256_set1_epi32(v->minus_sum[b]), 1));
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(p), _mm256_set1_ps(load_f16(block) * v->scale[b]), sum);
}

INLINE float dot_32(enum kind kind, const uint8_t *row, int blocks, const struct v8 *v, size_t bytes, __m256i (*values)(const uint8_t *))
{
    __m256 even = _mm256_setzero_ps(), odd = even;
    float minimum_even = 0, minimum_odd = 0;
    int b = 0;
    for (; b + 2 <= blocks; b += 2) {
        const uint8_t *block = row + (size_t)b * bytes, *next = block + bytes;
        _mm_prefetch((const char *)block + AHEAD, _MM_HINT_T0);
        even = add_block(kind, block, values(block), v, b, even);
        odd = add_block(kind, next, values(next), v, b + 1, odd);
        if (kind == MINIMUM) {
            minimum_even += load_f16(block + 2) * v->scaled_sum[b];
            minimum_odd += load_f16(next + 2) * v->scaled_sum[b + 1];
        }
    }
    if (b < blocks) {
        const uint8_t *block = row + (size_t)b * bytes;
        even = add_block(kind, block, values(block), v, b, even);
        if (kind == MINIMUM) minimum_even += load_f16(block + 2) * v->scaled_sum[b];
    }
    return horizontal_sum(_mm256_add_ps(even, odd)) + (minimum_even + minimum_odd);
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
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()}, minima = sum[0];
    for (int i = 0; i < blocks; i++) {
        const uint8_t *block = row + (size_t)i * bytes;
        for (size_t at = 0; at < bytes; at += 64) _mm_prefetch((const char *)block + AHEAD + at, _MM_HINT_T0);
        __m256 scale, minimum;
        float both[8];
        scales_q4_k(block, &scale, &minimum);
        _mm256_storeu_ps(both, _mm256_mul_ps(scale, _mm256_loadu_ps(v->scale + 8 * i)));
        minima = _mm256_fmadd_ps(minimum, _mm256_loadu_ps(v->scaled_sum + 8 * i), minima);
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++)
            sum[j & 1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot_u8(values(block, j), load_v(v, 8 * i + j))), _mm256_set1_ps(both[j]), sum[j & 1]);
    }
    return horizontal_sum(_mm256_sub_ps(_mm256_add_ps(sum[0], sum[1]), minima));
}

#define MATVEC_K(format) \
    void fkv_matvec_##format##_avx2(const void *w, size_t w_stride, int n, int k, const void *packed, float *y) \
    { \
        const struct v8 v = v8_view(packed, k); \
        for (int i = 0; i < n; i++) y[i] = dot_k((const uint8_t *)w + (size_t)i * w_stride, k / 256, &v, sizeof(struct fkv_block_##format), values_##format); \
    }
MATVEC_K(q4_k)
MATVEC_K(q5_k)

/* The 16 integer scales multiply as vpmaddwd widens: the first 16 values lie in the low half of a vector, the others in the high. */
INLINE float dot_q6_k(const uint8_t *row, int blocks, const struct v8 *v)
{
    const __m128i even_then_odd = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()}, zero = sum[0];
    for (int i = 0; i < blocks; i++) {
        const uint8_t *block = row + (size_t)i * sizeof(struct fkv_block_q6_k);
        for (size_t at = 0; at < 256; at += 64) _mm_prefetch((const char *)block + AHEAD + at, _MM_HINT_T0);
        __m256 scale[2];
        float d[8];
        scales_q6_k(block, scale);
        zero = _mm256_fmadd_ps(scale[0], _mm256_loadu_ps(v->sum_16 + 16 * i), zero);
        zero = _mm256_fmadd_ps(scale[1], _mm256_loadu_ps(v->sum_16 + 16 * i + 8), zero);
        _mm256_storeu_ps(d, _mm256_mul_ps(_mm256_set1_ps(load_f16(block + 208)), _mm256_loadu_ps(v->scale + 8 * i)));
        const __m256i sc = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 192)), even_then_odd));
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            const __m256i pick = _mm256_set1_epi16((int16_t)(2 * j | (2 * j + 1) << 8));
            const __m256i p = _mm256_madd_epi16(_mm256_maddubs_epi16(values_q6_k(block, j), load_v(v, 8 * i + j)), _mm256_shuffle_epi8(sc, pick));
            sum[j & 1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(p), _mm256_set1_ps(d[j]), sum[j & 1]);
        }
    }
    return horizontal_sum(_mm256_fnmadd_ps(_mm256_set1_ps(32.0f), zero, _mm256_add_ps(sum[0], sum[1])));
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
    return horizontal_sum(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
}

INLINE __m256 load_8_f32(const void *p) { return _mm256_loadu_ps(p); }

#define MATVEC_FLOAT(format, value_bytes) \
    void fkv_matvec_##format##_avx2(const void *w, size_t w_stride, int n, int k, const void *v, float *y) \
    { \
        for (int i = 0; i < n; i++) y[i] = dot_float((const char *)w + (size_t)i * w_stride, k, v, value_bytes, load_8_##format); \
    }
MATVEC_FLOAT(f16, 2)
MATVEC_FLOAT(bf16, 2)
MATVEC_FLOAT(f32, 4)
