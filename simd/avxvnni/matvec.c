/* Decode: y[n] = W[n][k] v, with AVX2's v8. Q6_K is inherited: its scales per 16 multiply for free as vpmaddwd
   widens. */
#include "simd/avx2/matvec_k.h"
#include "simd/avx2/matvec_unpacked.h"
#include "simd/avxvnni/avxvnni.h"
#include "simd/avxvnni/dpbusd.h"

INLINE __m256i dot_u8(__m256i w, __m256i x) { return dpbusd(_mm256_setzero_si256(), w, x); }

INLINE __m256i four_dots(const __m256i w[4], const int8_t (*x)[32])
{
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int u = 0; u < 4; u++) sum = dpbusd(sum, w[u], _mm256_loadu_si256((const __m256i *)x[u]));
    return sum;
}

INLINE __m256i dots_k(const __m256i w[8], const int8_t (*x)[32], bool four_bits)
{
    (void)four_bits;
    const __m256i even = four_dots(w, x), odd = four_dots(w + 4, x + 4);
    return _mm256_add_epi32(lanes_of_even(even, odd), lanes_of_odd(even, odd));
}

MATVECS_32(avxvnni, dot_u8)
MATVECS_256(avxvnni, dots_k)

/* ---- unpacked.def ---------------------------------------------------------------------------- */

INLINE struct plain_vector plain_view(const void *packed, int k)
{
    const struct v8 v = v8_view(packed, k);
    return (struct plain_vector){v.q, v.scale, v.scaled_sum};
}

#define UNPACKED(NAME, name, values, bits, scales, has_offset) \
    MATVEC_UNPACKED(avxvnni, plain_view, dot_u8, name, values, scales, has_offset)
#include "simd/unpacked.def"
