/* dotprod.h: prototypes of the dotprod level: NEON with sdot, the dot product of 4 bytes in each of 4 lanes. */
#ifndef FKV_SIMD_DOTPROD_H
#define FKV_SIMD_DOTPROD_H

#include "simd/neon/neon.h"

#define KERNEL(result, name, args) result fkv_##name##_dotprod args;
#include "simd/kernels.def"
#undef KERNEL

#endif
