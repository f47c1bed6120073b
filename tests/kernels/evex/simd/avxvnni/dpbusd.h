/* dpbusd.h: in place of the level's: the same instruction on the same registers, in the encoding that AVX-512 VNNI
   has. */
#ifndef FKV_AVXVNNI_DPBUSD_H
#define FKV_AVXVNNI_DPBUSD_H

#include <immintrin.h>

static inline __attribute__((always_inline)) __m256i dpbusd(__m256i acc, __m256i u, __m256i s)
{
    __asm__("%{evex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(u), "x"(s));
    return acc;
}

#endif
