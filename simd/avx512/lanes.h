/* lanes.h: masks for the last vector of a row. */
#ifndef FKV_AVX512_LANES_H
#define FKV_AVX512_LANES_H

#include <immintrin.h>

/* Lanes below n of 16, for any n. */
static inline __mmask16 lanes_below(int n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }

#endif
