/* i8mm.h: prototypes of the i8mm level: dotprod with the matrix products of bytes (smmla) and of bf16 (bfmmla). */
#ifndef FKV_SIMD_I8MM_H
#define FKV_SIMD_I8MM_H

#include "simd/neon/neon.h"

#define KERNEL(result, name, args) result fkv_##name##_i8mm args;
#include "simd/kernels.def"
#undef KERNEL

#endif
