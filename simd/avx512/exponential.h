/* exponential.h: exponentials of 16 floats.

   x = n + f with n = round(x): adding 1.5 2^23 leaves n in the low bits of the sum; 2^f, f in [-1/2, 1/2], is a
   polynomial that is exactly 1 at 0; n goes to the exponent. The fits are least-maximum ones of the relative error. A
   NaN stays one. */
#ifndef FKV_AVX512_EXPONENTIAL_H
#define FKV_AVX512_EXPONENTIAL_H

#include <immintrin.h>

/* 2^x for x <= 0, of degree 3: relative error 1.0e-4, for results that are rounded to bf16 (2e-3). 2^-126 below
   -126. */
static inline __m512 exp2_rough(__m512 x)
{
    const __m512 magic = _mm512_set1_ps(0x1.8p23f);
    x = _mm512_max_ps(_mm512_set1_ps(-126.0f), x);
    const __m512 t = _mm512_add_ps(x, magic), f = _mm512_sub_ps(x, _mm512_sub_ps(t, magic));
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.05500893f), f, _mm512_set1_ps(0.24221096f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69328293f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), _mm512_slli_epi32(_mm512_castps_si512(t), 23)));
}

/* 2^x for x <= 0, of degree 5: 9e-8. 2^-126 below -126. */
static inline __m512 exp2_precise(__m512 x)
{
    const __m512 magic = _mm512_set1_ps(0x1.8p23f);
    x = _mm512_max_ps(_mm512_set1_ps(-126.0f), x);
    const __m512 t = _mm512_add_ps(x, magic), f = _mm512_sub_ps(x, _mm512_sub_ps(t, magic));
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(1.32647e-3f), f, _mm512_set1_ps(9.67151e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.550734e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24022242f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69314698f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), _mm512_slli_epi32(_mm512_castps_si512(t), 23)));
}

/* e^x for any x, of degree 6: 1e-7. ln 2 is taken off in two parts, so that the error does not grow with |x|. */
static inline __m512 exp_precise(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), _mm512_min_ps(_mm512_set1_ps(89.0f), x)); /* beyond: 0 and infinity */
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f),
                                      _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x));
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(1.38146e-3f), f, _mm512_set1_ps(8.36871e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(4.166839e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.16666521f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.49999993f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

#endif
