/* AVX-VNNI by the encoding that AVX-512 VNNI has: the same instructions on the same registers. */
#include "twins.h"

#define VPDPBUSD "%{evex%} vpdpbusd"
#define FILL fkv_fill_avxvnni_evex
#include "simd/avxvnni/products.inc"
