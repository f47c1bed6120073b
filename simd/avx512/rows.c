/* Operations on rows of floats: 16 lanes, the last ones masked. */
#include <immintrin.h>
#include <math.h>

#include "simd/avx512/avx512.h"
#include "simd/avx512/exponential.h"
#include "simd/avx512/lanes.h"

void fkv_rms_norm_avx512(const float *x, const float *w, int n, float eps, float *y)
{
    __m512 sum0 = _mm512_setzero_ps(), sum1 = sum0;
    int i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + 16);
        sum0 = _mm512_fmadd_ps(a, a, sum0);
        sum1 = _mm512_fmadd_ps(b, b, sum1);
    }
    for (; i < n; i += 16) {
        const __m512 a = _mm512_maskz_loadu_ps(lanes_below(n - i), x + i);
        sum0 = _mm512_fmadd_ps(a, a, sum0);
    }
    const __m512 scale = _mm512_set1_ps(1.0f / sqrtf(_mm512_reduce_add_ps(_mm512_add_ps(sum0, sum1)) / (float)n + eps));
    for (i = 0; i < n; i += 16) {
        const __mmask16 m = lanes_below(n - i);
        _mm512_mask_storeu_ps(y + i, m,
                              _mm512_mul_ps(_mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), scale),
                                            _mm512_maskz_loadu_ps(m, w + i)));
    }
}

void fkv_rope_half_avx512(float *x, int heads, int d, int n_rot, const float *cos_sin)
{
    const __m512i evens = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1));
    const int half = n_rot / 2;
    for (int i = 0; i < half; i += 16) {
        const __mmask16 m = lanes_below(half - i);
        const __m512 low = _mm512_maskz_loadu_ps(lanes_below(2 * (half - i)), cos_sin + 2 * i);
        const __m512 high = _mm512_maskz_loadu_ps(lanes_below(2 * (half - i) - 16), cos_sin + 2 * i + 16);
        const __m512 c = _mm512_permutex2var_ps(low, evens, high), s = _mm512_permutex2var_ps(low, odds, high);
        for (int h = 0; h < heads; h++) {
            float *first = x + (size_t)h * d + i, *second = first + half;
            const __m512 a = _mm512_maskz_loadu_ps(m, first), b = _mm512_maskz_loadu_ps(m, second);
            _mm512_mask_storeu_ps(first, m, _mm512_fmsub_ps(a, c, _mm512_mul_ps(b, s)));
            _mm512_mask_storeu_ps(second, m, _mm512_fmadd_ps(b, c, _mm512_mul_ps(a, s)));
        }
    }
}

void fkv_rope_pair_avx512(float *x, int heads, int d, int n_rot, const float *cos_sin)
{
    for (int i = 0; i < n_rot; i += 16) {
        const __mmask16 m = lanes_below(n_rot - i);
        const __m512 angles = _mm512_maskz_loadu_ps(m, cos_sin + i);
        const __m512 c = _mm512_moveldup_ps(angles), s = _mm512_movehdup_ps(angles);
        for (int h = 0; h < heads; h++) {
            float *at = x + (size_t)h * d + i;
            const __m512 a = _mm512_maskz_loadu_ps(m, at), swapped = _mm512_permute_ps(a, 0xb1);
            _mm512_mask_storeu_ps(at, m, _mm512_fmaddsub_ps(a, c, _mm512_mul_ps(swapped, s))); /* minus in even lanes */
        }
    }
}

void fkv_swiglu_avx512(const float *gate, const float *up, int n, float *y)
{
    for (int i = 0; i < n; i += 16) {
        const __mmask16 m = lanes_below(n - i);
        const __m512 g = _mm512_maskz_loadu_ps(m, gate + i), u = _mm512_maskz_loadu_ps(m, up + i),
                     one = _mm512_set1_ps(1.0f);
        const __m512 e = exp_precise(_mm512_sub_ps(_mm512_setzero_ps(), g));
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(_mm512_div_ps(g, _mm512_add_ps(one, e)), u));
    }
}

void fkv_geglu_avx512(const float *gate, const float *up, int n, float *y)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    for (int i = 0; i < n; i += 16) {
        const __mmask16 m = lanes_below(n - i);
        const __m512 g = _mm512_maskz_loadu_ps(m, gate + i), u = _mm512_maskz_loadu_ps(m, up + i);
        const __m512 cube = _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(FKV_GELU_CUBE), g), _mm512_mul_ps(g, g)),
                     t2 = _mm512_mul_ps(_mm512_set1_ps(FKV_GELU_TWICE), _mm512_add_ps(g, cube));
        const __m512 e = exp_precise(_mm512_sub_ps(_mm512_setzero_ps(), t2));
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(_mm512_div_ps(g, _mm512_add_ps(one, e)), u));
    }
}

void fkv_add_avx512(const float *x, int n, float *y)
{
    for (int i = 0; i < n; i += 16) {
        const __mmask16 m = lanes_below(n - i);
        _mm512_mask_storeu_ps(y + i, m,
                              _mm512_add_ps(_mm512_maskz_loadu_ps(m, y + i), _mm512_maskz_loadu_ps(m, x + i)));
    }
}
