/* avxvnni.h: prototypes of the AVX-VNNI level: AVX2 with dot products of bytes. */
#ifndef FKV_AVXVNNI_AVXVNNI_H
#define FKV_AVXVNNI_AVXVNNI_H

#include "simd/level.h"

#define KERNEL(result, name, args) result fkv_##name##_avxvnni args;
#include "simd/kernels.def"
#undef KERNEL

#endif
