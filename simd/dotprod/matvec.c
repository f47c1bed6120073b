/* Decode with sdot. */
#include "simd/dotprod/dotprod.h"
#include "simd/neon/matvec.h"

INLINE int32x4_t dot_16(int32x4_t sum, int8x16_t w, int8x16_t x) { return vdotq_s32(sum, w, x); }
MATVECS(dotprod, dot_16)
#define UNPACKED(NAME, name, values, bits, scales, has_offset) \
    MATVEC_UNPACKED(dotprod, dot_16, name, values, scales, has_offset)
#include "simd/unpacked.def"
