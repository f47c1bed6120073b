/* dpbusd.h: the instruction that the level is named after. Alone in its file so that the level's twin can take another
   (tests/kernels/simde). */
#ifndef FKV_AVX512VNNI_DPBUSD_H
#define FKV_AVX512VNNI_DPBUSD_H

#include <immintrin.h>

/* acc + the products of unsigned and signed bytes, fours added. gcc 12 may copy the accumulators of the intrinsic and
   spill them; a read-write asm operand it leaves alone. */
static inline __attribute__((always_inline)) __m512i dpbusd(__m512i acc, __m512i u, __m512i s)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
    return acc;
}

#endif
