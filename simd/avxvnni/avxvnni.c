/* The AVX-VNNI level: vpdpbusd in its VEX form. */
#define VPDPBUSD "%{vex%} vpdpbusd"
#define FILL fkv_fill_avxvnni
#include "simd/avxvnni/products.inc"
