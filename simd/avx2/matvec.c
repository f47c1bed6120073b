/* Decode: y[n] = W[n][k] v. The dot product of bytes, and the types whose products know no better one: Q6_K and
   floats. */
#include "simd/avx2/matvec.h"

/* Two products per int16: 2 x 63 x 127 fits, and 2 x 128 x 127 of signed weights. */
INLINE __m256i dot_u8(__m256i w, __m256i x)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
}
MATVECS(avx2, dot_u8)

/* Block j of a Q6_K block. The 16 integer scales multiply as vpmaddwd widens: those of even blocks of 16 lie in the low
   half. */
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
            const __m256i sc = _mm256_cvtepi8_epi16(
                _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 192)), even_then_odd));
            prefetch_block(block, bytes);
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++)
                sum[j % 4] = add_scaled(dot_q6(block, j, load_v(v, 8 * (first + i) + j), sc), scales + 8 * i + j,
                                        sum[j % 4]);
        }
    }
    return horizontal_sum(_mm256_fnmadd_ps(_mm256_set1_ps(32.0f), zero, sum_4(sum)));
}

void fkv_matvec_q6_k_avx2(const void *w, size_t w_stride, int n, int k, const void *packed, float *y)
{
    const struct v8 v = v8_view(packed, k);
    for (int i = 0; i < n; i++) y[i] = dot_q6_k((const uint8_t *)w + (size_t)i * w_stride, k / 256, &v);
}

/* ---- floats: four sums of 8 lanes, k divides by 32 ------------------------------------------- */

INLINE float dot_float(const char *row, int k, const float *v, size_t value_bytes, __m256 (*load)(const void *))
{
    __m256 sum[4];
    for (int i = 0; i < 4; i++) sum[i] = _mm256_setzero_ps();
    for (int j = 0; j < k; j += 32) {
        _mm_prefetch(row + (size_t)j * value_bytes + AHEAD, _MM_HINT_T0);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            sum[i] = _mm256_fmadd_ps(load(row + (size_t)(j + 8 * i) * value_bytes), _mm256_loadu_ps(v + j + 8 * i),
                                     sum[i]);
    }
    return horizontal_sum(sum_4(sum));
}

#define MATVEC_FLOAT(format, value_bytes)                                                                  \
    void fkv_matvec_##format##_avx2(const void *w, size_t w_stride, int n, int k, const void *v, float *y) \
    {                                                                                                      \
        for (int i = 0; i < n; i++)                                                                        \
            y[i] = dot_float((const char *)w + (size_t)i * w_stride, k, v, value_bytes, load_8_##format);  \
    }
MATVEC_FLOAT(f16, 2)
MATVEC_FLOAT(bf16, 2)
MATVEC_FLOAT(f32, 4)
