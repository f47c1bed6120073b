/* avx512bf16.h: prototypes of the AVX-512 level with bf16 products. */
#ifndef FKV_AVX512BF16_AVX512BF16_H
#define FKV_AVX512BF16_AVX512BF16_H

#include "simd/level.h"

#define KERNEL(result, name, args) result fkv_##name##_avx512bf16 args;
#include "simd/kernels.def"
#undef KERNEL

#endif
