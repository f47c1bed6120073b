/* unpack.h: storing an int8 panel, for the two files that unpack weights to it. */
#ifndef FKV_AVX512VNNI_UNPACK_H
#define FKV_AVX512VNNI_UNPACK_H

#include "simd/avx512vnni/vnni.h"

/* 64 k of 16 rows, a vector per row: values k0 .. k0 + 63 of the rows of one half. */
INLINE void store_values(struct panel8 *o, int k0, int half, __m512i v[16])
{
    transpose_16x16(v);
#pragma GCC unroll 16
    for (int j = 0; j < 16; j++) _mm512_store_si512(o->w[k0 / 4 + j][half], v[j]);
}

/* The scales of one block of 16 rows. Exponents of X down to -24 are added to them as integers: what is below 2^-100,
   zero included, is lifted there, so that the sum cannot wrap (the error is 2^-80 of the largest x a block at most),
   and adding nothing above zero cannot overflow. Returns a bit per row whose scale is not finite. */
INLINE uint32_t store_scales(struct panel8 *o, int block, int half, __m512 s)
{
    const __m512 least = _mm512_set1_ps(0x1p-100f);
    s = _mm512_mask_mov_ps(s, _mm512_cmp_ps_mask(_mm512_abs_ps(s), least, _CMP_LT_OQ), least);
    _mm512_store_ps(o->scale[block][0] + 16 * half, s);
    _mm512_store_ps(o->scale[block][1] + 16 * half, _mm512_mul_ps(s, _mm512_set1_ps(1.18920712f)));
    _mm512_store_ps(o->scale[block][2] + 16 * half, _mm512_mul_ps(s, _mm512_set1_ps(1.41421356f)));
    _mm512_store_ps(o->scale[block][3] + 16 * half, _mm512_mul_ps(s, _mm512_set1_ps(1.68179283f)));
    return (uint32_t)_mm512_fpclass_ps_mask(s, 0x99) << 16 * half; /* quiet NaN, infinities, signalling NaN */
}

/* w = step q + base becomes a table of bytes, round(127 w / max|w|) + 128, from step and base in 1/256 of a byte's unit
   (base with the 128 and one half added). A table has 64 entries; words of step, base and q say what entries 0-7 of
   each 128-bit lane are; 8-15 are the next q. */
INLINE __m512i byte_table(__m512i step, __m512i base, __m512i q)
{
    const __m512i low = _mm512_add_epi16(base, _mm512_mullo_epi16(step, q)),
                  high = _mm512_add_epi16(low, _mm512_slli_epi16(step, 3));
    return _mm512_packus_epi16(_mm512_srli_epi16(low, 8), _mm512_srli_epi16(high, 8));
}

#endif
