/* Decode with sdot. */
#include "simd/dotprod/dotprod.h"

#define dot_16 vdotq_s32
#define LEVEL_NAME(kernel) kernel##_dotprod
#include "simd/neon/matvec_body.inc"
