/* load_many.h: three or four vectors by one instruction that also moves the pointer on. The intrinsics for it exist,
   but gcc 12 then computes every address with an instruction of its own: 12 of the 170 in a block of sdot's tile.

   The registers are fixed because ld1 wants consecutive ones and the ways to ask for them differ between compilers. */
#ifndef FKV_SIMD_NEON_LOAD_MANY_H
#define FKV_SIMD_NEON_LOAD_MANY_H

#include "simd/neon/neon.h"

INLINE void load_4(const int8_t **p, int8x16_t v[4])
{
    register int8x16_t a __asm__("v0"), b __asm__("v1"), c __asm__("v2"), d __asm__("v3");
    __asm__("ld1 {v0.16b - v3.16b}, [%4], #64"
            : "=w"(a), "=w"(b), "=w"(c), "=w"(d), "+r"(*p)
            : "m"(*(const int8_t(*)[64]) * p));
    v[0] = a, v[1] = b, v[2] = c, v[3] = d;
}

INLINE void load_3(const int8_t **p, int8x16_t v[3])
{
    register int8x16_t a __asm__("v4"), b __asm__("v5"), c __asm__("v6");
    __asm__("ld1 {v4.16b - v6.16b}, [%3], #48" : "=w"(a), "=w"(b), "=w"(c), "+r"(*p) : "m"(*(const int8_t(*)[48]) * p));
    v[0] = a, v[1] = b, v[2] = c;
}

/* Zero without a register that holds one. */
INLINE int32x4_t zero_s32(void)
{
    int32x4_t zero;
    __asm__ volatile("movi %0.4s, #0" : "=w"(zero));
    return zero;
}

#endif
