/* dpbusd.h: in place of the level's, which is the instruction. */
#ifndef FKV_AVX512VNNI_DPBUSD_H
#define FKV_AVX512VNNI_DPBUSD_H

#include <immintrin.h>

/* acc + the products of unsigned and signed bytes, fours added; no saturation. */
static inline __m512i dpbusd(__m512i acc, __m512i u, __m512i s)
{
    const model_512 x = {.si = u}, y = {.si = s};
    model_512 r = {.si = acc};
    for (int i = 0; i < 2; i++) {
        const __m256i low = _mm256_set1_epi16(255),
                      even = _mm256_madd_epi16(_mm256_and_si256(x.si_256[i], low),
                                               _mm256_srai_epi16(_mm256_slli_epi16(y.si_256[i], 8), 8)),
                      odd = _mm256_madd_epi16(_mm256_srli_epi16(x.si_256[i], 8), _mm256_srai_epi16(y.si_256[i], 8));
        r.si_256[i] = _mm256_add_epi32(r.si_256[i], _mm256_add_epi32(even, odd));
    }
    return r.si;
}

#endif
