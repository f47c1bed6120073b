/* Operations on rows, 8 lanes at a time; the last vector may be short. */
#include <math.h>

#include "simd/avx2/avx2.h"

void fkv_rms_norm_avx2(const float *x, const float *w, int n, float eps, float *y)
{
    __m256 sum[4];
    for (int i = 0; i < 4; i++) sum[i] = _mm256_setzero_ps();
    int j = 0;
    for (; j + 32 <= n; j += 32)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const __m256 v = _mm256_loadu_ps(x + j + 8 * i);
            sum[i] = _mm256_fmadd_ps(v, v, sum[i]);
        }
    for (; j < n; j += 8) {
        const __m256 v = load_first(x + j, n - j);
        sum[0] = _mm256_fmadd_ps(v, v, sum[0]);
    }
    const float squares = horizontal_sum(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
    const __m256 by = _mm256_set1_ps(1.0f / sqrtf(squares / (float)n + eps));
    for (j = 0; j < n; j += 8) {
        store_first(y + j, n - j, _mm256_mul_ps(_mm256_mul_ps(load_first(x + j, n - j), by), load_first(w + j, n - j)));
    }
}

/* 8 (cos, sin) pairs to 8 cosines and 8 sines. */
INLINE void split_pairs(const float *pairs, __m256 *cosines, __m256 *sines)
{
    const __m256 a = _mm256_loadu_ps(pairs), b = _mm256_loadu_ps(pairs + 8);
    *cosines = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88)), 0xd8));
    *sines = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd)), 0xd8));
}

void fkv_rope_half_avx2(float *x, int heads, int d, int n_rot, const float *cos_sin)
{
    const int half = n_rot / 2;
    int i = 0;
    for (; i + 8 <= half; i += 8) {
        __m256 c, s;
        split_pairs(cos_sin + 2 * i, &c, &s);
        for (int h = 0; h < heads; h++) {
            float *lo = x + (size_t)h * (size_t)d + i, *hi = lo + half;
            const __m256 a = _mm256_loadu_ps(lo), b = _mm256_loadu_ps(hi);
            _mm256_storeu_ps(lo, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
            _mm256_storeu_ps(hi, _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c)));
        }
    }
    for (; i < half; i++)
        for (int h = 0; h < heads; h++) {
            float *lo = x + (size_t)h * (size_t)d + i, *hi = lo + half;
            const float a = *lo, b = *hi, c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
            *lo = a * c - b * s;
            *hi = a * s + b * c;
        }
}

/* 4 pairs per vector: (a c - b s, b c + a s). */
void fkv_rope_pair_avx2(float *x, int heads, int d, int n_rot, const float *cos_sin)
{
    for (int i = 0; i < n_rot; i += 8) {
        const __m256 cs = load_first(cos_sin + i, n_rot - i), c = _mm256_moveldup_ps(cs), s = _mm256_movehdup_ps(cs);
        for (int h = 0; h < heads; h++) {
            float *at = x + (size_t)h * (size_t)d + i;
            const __m256 v = load_first(at, n_rot - i);
            store_first(at, n_rot - i, _mm256_fmaddsub_ps(v, c, _mm256_mul_ps(_mm256_permute_ps(v, 0xb1), s)));
        }
    }
}

/* Below -88, where exp_8 stops, gate / (1 + e^-gate) is under 1e-36: zero. */
void fkv_swiglu_avx2(const float *gate, const float *up, int n, float *y)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    for (int j = 0; j < n; j += 8) {
        const __m256 g = load_first(gate + j, n - j), u = load_first(up + j, n - j);
        const __m256 keep = _mm256_cmp_ps(g, _mm256_set1_ps(-88.0f), _CMP_NLT_UQ),
                     e = exp_8(_mm256_sub_ps(_mm256_setzero_ps(), g));
        store_first(y + j, n - j, _mm256_mul_ps(_mm256_and_ps(_mm256_div_ps(g, _mm256_add_ps(one, e)), keep), u));
    }
}

/* As above, of 2 t. */
void fkv_geglu_avx2(const float *gate, const float *up, int n, float *y)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    for (int j = 0; j < n; j += 8) {
        const __m256 g = load_first(gate + j, n - j), u = load_first(up + j, n - j);
        const __m256 cube = _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(FKV_GELU_CUBE), g), _mm256_mul_ps(g, g)),
                     t2 = _mm256_mul_ps(_mm256_set1_ps(FKV_GELU_TWICE), _mm256_add_ps(g, cube));
        const __m256 keep = _mm256_cmp_ps(t2, _mm256_set1_ps(-88.0f), _CMP_NLT_UQ),
                     e = exp_8(_mm256_sub_ps(_mm256_setzero_ps(), t2));
        store_first(y + j, n - j, _mm256_mul_ps(_mm256_and_ps(_mm256_div_ps(g, _mm256_add_ps(one, e)), keep), u));
    }
}

void fkv_add_avx2(const float *x, int n, float *y)
{
    for (int j = 0; j < n; j += 8) {
        store_first(y + j, n - j, _mm256_add_ps(load_first(y + j, n - j), load_first(x + j, n - j)));
    }
}
