/* avx512bf16.h: the kernels of the AVX-512 level with bf16 products that other files name. */
#ifndef FKV_AVX512BF16_AVX512BF16_H
#define FKV_AVX512BF16_AVX512BF16_H

#include "simd/simd.h"

void fkv_attend_avx512bf16(const struct fkv_attend *a);

#endif
