/* avx512.h: prototypes of the AVX-512 level (F, BW, VL, DQ, CD; no bf16, no VNNI). */
#ifndef FKV_AVX512_AVX512_H
#define FKV_AVX512_AVX512_H

#include "simd/level.h"

#define KERNEL(result, name, args) result fkv_##name##_avx512 args;
#include "simd/kernels.def"
#undef KERNEL

#endif
