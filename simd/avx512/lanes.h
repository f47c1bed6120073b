/* lanes.h: masks for the last vector of a row. */
#ifndef FKV_AVX512_LANES_H
#define FKV_AVX512_LANES_H

#include <immintrin.h>

#include "simd/seen.h"

/* Lanes below n of 16, for any n. */
static inline __mmask16 lanes_below(int n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }

/* Lanes of entries j .. j + 15 that are seen. */
static inline __mmask16 lanes_seen(struct fkv_span seen, int j)
{
    return (__mmask16)(lanes_below(seen.to - j) & ~lanes_below(seen.from - j));
}

#endif
