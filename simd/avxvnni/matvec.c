/* Decode: y[n] = W[n][k] v, with AVX2's v8. Q6_K is inherited: its scales per 16 multiply for free as vpmaddwd
   widens. */
#include "simd/avx2/matvec.h"
#include "simd/avxvnni/avxvnni.h"
#include "simd/avxvnni/dpbusd.h"

INLINE __m256i dot_u8(__m256i w, __m256i x) { return dpbusd(_mm256_setzero_si256(), w, x); }
MATVECS(avxvnni, dot_u8)
