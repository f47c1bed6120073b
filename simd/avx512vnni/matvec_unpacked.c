/* Decode with the types of unpacked.def: AVX2's kernels, which wait for memory, with this level's packed vector. */
#include "simd/avx2/matvec_unpacked.h"
#include "simd/avx512vnni/vnni.h"

INLINE __m256i dot_pairs(__m256i w, __m256i x)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
}

/* ---- unpacked.def ---------------------------------------------------------------------------- */

INLINE struct plain_vector plain_view(const void *packed, int k)
{
    const struct v8 v = v8_view(packed, k);
    return (struct plain_vector){v.q, v.scale, v.sum};
}

#define UNPACKED(NAME, name, values, bits, scales, has_offset) \
    MATVEC_UNPACKED(avx512vnni, plain_view, dot_pairs, name, values, scales, has_offset)
#include "simd/unpacked.def"
