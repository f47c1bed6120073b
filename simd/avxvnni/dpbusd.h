/* dpbusd.h: the instruction that the level is about, in its VEX encoding. Alone in its file so that the level's twin
   can take the other one (tests/kernels/evex). */
#ifndef FKV_AVXVNNI_DPBUSD_H
#define FKV_AVXVNNI_DPBUSD_H

#include <immintrin.h>

/* acc + the products of unsigned and signed bytes, fours added; no saturation. As in asm, the sums stay where they are,
   the compiler adds no encoding of its own, and both encodings get the same 16 registers. */
static inline __attribute__((always_inline)) __m256i dpbusd(__m256i acc, __m256i u, __m256i s)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(u), "x"(s));
    return acc;
}

#endif
