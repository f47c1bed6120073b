/* immintrin.h: put before the compiler's by the build of the twins (../twin_avx512.c): AVX-512 without a processor that
   has it. Most comes from SIMDe; what its version 0.7.4 lacks, or gets wrong, is here, in plain C and AVX2. What a mask
   leaves out is not read or written, so that the tests' unreadable pages mean what they do on a processor. */
#ifndef FKV_TESTS_KERNELS_SIMDE_IMMINTRIN_H
#define FKV_TESTS_KERNELS_SIMDE_IMMINTRIN_H

#include_next <immintrin.h>

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include "simd/blocks.h"

#define MODEL static inline __attribute__((unused))
#define LONG_MODEL static __attribute__((unused, noinline)) /* inline, the compiler takes minutes */

typedef union {
    __m512 ps;
    __m512i si;
    __m512bh bh;
    __m256 ps_256[2];
    __m256i si_256[2];
    __m256bh bh_256[2];
    __m128 ps_128[4];
    __m128i si_128[4];
    float f[16];
    uint32_t u32[16];
    int32_t i32[16];
    uint16_t u16[32];
    int16_t i16[32];
    uint8_t u8[64];
    int8_t i8[64];
} model_512;

typedef union {
    __m256i si;
    uint16_t u16[16];
    int16_t i16[16];
    uint8_t u8[32];
} model_256;

typedef union {
    __m128i si;
    uint8_t u8[16];
    int8_t i8[16];
} model_128;

/* ---- loads and stores ------------------------------------------------------------------------ */

LONG_MODEL __m512 model_maskz_loadu_ps(uint16_t mask, const void *from)
{
    model_512 r = {.u32 = {0}};
    if (mask == 0xffff) return _mm512_loadu_ps(from);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) memcpy(&r.u32[i], (const char *)from + 4 * i, 4);
    return r.ps;
}
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps model_maskz_loadu_ps

MODEL __m512i model_maskz_loadu_epi32(uint16_t mask, const void *from)
{
    return (model_512){.ps = model_maskz_loadu_ps(mask, from)}.si;
}
#undef _mm512_maskz_loadu_epi32
#define _mm512_maskz_loadu_epi32 model_maskz_loadu_epi32

MODEL __m256i model_256_maskz_loadu_epi16(uint16_t mask, const void *from)
{
    model_256 r = {.u16 = {0}};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) memcpy(&r.u16[i], (const char *)from + 2 * i, 2);
    return r.si;
}
#undef _mm256_maskz_loadu_epi16
#define _mm256_maskz_loadu_epi16 model_256_maskz_loadu_epi16

MODEL __m256i model_256_maskz_loadu_epi8(uint32_t mask, const void *from)
{
    model_256 r = {.u16 = {0}};
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1) r.u8[i] = ((const uint8_t *)from)[i];
    return r.si;
}
#undef _mm256_maskz_loadu_epi8
#define _mm256_maskz_loadu_epi8 model_256_maskz_loadu_epi8

LONG_MODEL void model_mask_storeu_ps(void *to, uint16_t mask, __m512 x)
{
    const model_512 v = {.ps = x};
    if (mask == 0xffff) memcpy(to, &v, sizeof v);
    for (int i = 0; i < 16 && mask != 0xffff; i++)
        if (mask >> i & 1) memcpy((char *)to + 4 * i, &v.u32[i], 4);
}
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps model_mask_storeu_ps

MODEL void model_mask_storeu_epi32(void *to, uint16_t mask, __m512i x)
{
    model_mask_storeu_ps(to, mask, (model_512){.si = x}.ps);
}
#undef _mm512_mask_storeu_epi32
#define _mm512_mask_storeu_epi32 model_mask_storeu_epi32

LONG_MODEL __m512i model_mask_i32gather_epi32(__m512i otherwise, uint16_t mask, __m512i at, const void *from, int scale)
{
    model_512 r = {.si = otherwise};
    const model_512 index = {.si = at};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) memcpy(&r.u32[i], (const char *)from + (ptrdiff_t)index.i32[i] * scale, 4);
    return r.si;
}
#undef _mm512_mask_i32gather_epi32
#define _mm512_mask_i32gather_epi32 model_mask_i32gather_epi32

/* ---- conversions ----------------------------------------------------------------------------- */

#define MODEL_WIDEN(name, from_type, from_union, to, from)                           \
    MODEL __m512i model_##name(from_type x)                                          \
    {                                                                                \
        const from_union v = {.si = x};                                              \
        model_512 r;                                                                 \
        for (size_t i = 0; i < sizeof r.to / sizeof *r.to; i++) r.to[i] = v.from[i]; \
        return r.si;                                                                 \
    }
MODEL_WIDEN(cvtepi8_epi32, __m128i, model_128, i32, i8)
MODEL_WIDEN(cvtepu8_epi32, __m128i, model_128, u32, u8)
MODEL_WIDEN(cvtepi16_epi32, __m256i, model_256, i32, i16)
MODEL_WIDEN(cvtepu16_epi32, __m256i, model_256, u32, u16)
MODEL_WIDEN(cvtepu8_epi16, __m256i, model_256, u16, u8)
#undef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32 model_cvtepi8_epi32
#undef _mm512_cvtepu8_epi32
#define _mm512_cvtepu8_epi32 model_cvtepu8_epi32
#undef _mm512_cvtepi16_epi32
#define _mm512_cvtepi16_epi32 model_cvtepi16_epi32
#undef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32 model_cvtepu16_epi32
#undef _mm512_cvtepu8_epi16
#define _mm512_cvtepu8_epi16 model_cvtepu8_epi16

MODEL __m256i model_cvtepi32_epi16(__m512i x)
{
    const model_512 v = {.si = x};
    model_256 r;
    for (int i = 0; i < 16; i++) r.u16[i] = (uint16_t)v.u32[i];
    return r.si;
}
#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16 model_cvtepi32_epi16

MODEL __m128i model_cvtepi32_epi8(__m512i x)
{
    const model_512 v = {.si = x};
    model_128 r;
    for (int i = 0; i < 16; i++) r.u8[i] = (uint8_t)v.u32[i];
    return r.si;
}
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8 model_cvtepi32_epi8

MODEL __m512 model_cvtepi32_ps(__m512i x)
{
    const model_512 v = {.si = x};
    return (model_512){.ps_256 = {_mm256_cvtepi32_ps(v.si_256[0]), _mm256_cvtepi32_ps(v.si_256[1])}}.ps;
}
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps model_cvtepi32_ps

MODEL __m512i model_cvtps_epi32(__m512 x)
{
    const model_512 v = {.ps = x};
    return (model_512){.si_256 = {_mm256_cvtps_epi32(v.ps_256[0]), _mm256_cvtps_epi32(v.ps_256[1])}}.si;
}
#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 model_cvtps_epi32

MODEL __m512 model_cvtph_ps(__m256i x)
{
    return (model_512){
        .ps_256 = {_mm256_cvtph_ps(_mm256_castsi256_si128(x)), _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1))}}
        .ps;
}
#undef _mm512_cvtph_ps
#define _mm512_cvtph_ps model_cvtph_ps

/* To nearest, whatever `rounding` says. */
MODEL __m256i model_cvtps_ph(__m512 x, int rounding)
{
    const model_512 v = {.ps = x};
    (void)rounding;
    return _mm256_set_m128i(_mm256_cvtps_ph(v.ps_256[1], _MM_FROUND_TO_NEAREST_INT),
                            _mm256_cvtps_ph(v.ps_256[0], _MM_FROUND_TO_NEAREST_INT));
}
#undef _mm512_cvtps_ph
#define _mm512_cvtps_ph model_cvtps_ph

/* ---- bf16: subnormals are zero, as the manual says ------------------------------------------- */

MODEL __m256 model_normal(__m256 x)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return _mm256_and_ps(x, _mm256_or_ps(sign, _mm256_cmp_ps(_mm256_andnot_ps(sign, x), _mm256_set1_ps(FLT_MIN),
                                                             _CMP_NLT_UQ)));
}

/* To nearest even, in the low halves; not a number becomes quiet. */
MODEL __m256i model_round_to_bf16(__m256 x)
{
    const __m256i bits = _mm256_castps_si256(model_normal(x)), high = _mm256_srli_epi32(bits, 16),
                  odd = _mm256_and_si256(high, _mm256_set1_epi32(1)),
                  rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))),
                                              16);
    return _mm256_blendv_epi8(rounded, _mm256_or_si256(high, _mm256_set1_epi32(0x40)),
                              _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}

MODEL __m256i model_16_to_bf16(__m512 x)
{
    const model_512 v = {.ps = x};
    const __m256i packed = _mm256_packus_epi32(model_round_to_bf16(v.ps_256[0]), model_round_to_bf16(v.ps_256[1]));
    return _mm256_permute4x64_epi64(packed, 0xd8);
}

LONG_MODEL __m512bh model_cvtne2ps_pbh(__m512 high, __m512 low)
{
    return (model_512){.si_256 = {model_16_to_bf16(low), model_16_to_bf16(high)}}.bh;
}
#undef _mm512_cvtne2ps_pbh
#define _mm512_cvtne2ps_pbh model_cvtne2ps_pbh

MODEL __m256bh model_cvtneps_pbh(__m512 x) { return (__m256bh)model_16_to_bf16(x); }
#undef _mm512_cvtneps_pbh
#define _mm512_cvtneps_pbh model_cvtneps_pbh

/* The products of the odd of pairs, then those of the even. */
MODEL __m512 model_dpbf16_ps(__m512 sum, __m512bh a, __m512bh b)
{
    const model_512 x = {.bh = a}, y = {.bh = b};
    const __m256i high = _mm256_set1_epi32((int)0xffff0000u);
    model_512 r = {.ps = sum};
    for (int i = 0; i < 2; i++) {
        const __m256 x1 = model_normal(_mm256_castsi256_ps(_mm256_and_si256(x.si_256[i], high))),
                     y1 = model_normal(_mm256_castsi256_ps(_mm256_and_si256(y.si_256[i], high))),
                     x0 = model_normal(_mm256_castsi256_ps(_mm256_slli_epi32(x.si_256[i], 16))),
                     y0 = model_normal(_mm256_castsi256_ps(_mm256_slli_epi32(y.si_256[i], 16)));
        const __m256 odd = model_normal(_mm256_fmadd_ps(x1, y1, model_normal(r.ps_256[i])));
        r.ps_256[i] = model_normal(_mm256_fmadd_ps(x0, y0, odd));
    }
    return r.ps;
}
#undef _mm512_dpbf16_ps
#define _mm512_dpbf16_ps model_dpbf16_ps

/* ---- all lanes to one: in the compiler's order ----------------------------------------------- */

LONG_MODEL float model_reduce_add_ps(__m512 x)
{
    const model_512 v = {.ps = x};
    float f[8];
    for (int i = 0; i < 8; i++) f[i] = v.f[i] + v.f[i + 8];
    for (int i = 0; i < 4; i++) f[i] += f[i + 4];
    for (int i = 0; i < 2; i++) f[i] += f[i + 2];
    return f[0] + f[1];
}
#undef _mm512_reduce_add_ps
#define _mm512_reduce_add_ps model_reduce_add_ps

/* As maxps does it: of two the second, unless the first is larger. */
MODEL float model_max(float a, float b) { return a > b ? a : b; }

LONG_MODEL float model_reduce_max_ps(__m512 x)
{
    const model_512 v = {.ps = x};
    float f[8];
    for (int i = 0; i < 8; i++) f[i] = model_max(v.f[i + 8], v.f[i]);
    for (int i = 0; i < 4; i++) f[i] = model_max(f[i + 4], f[i]);
    for (int i = 0; i < 2; i++) f[i] = model_max(f[i], f[i + 2]);
    return model_max(f[0], f[1]);
}
#undef _mm512_reduce_max_ps
#define _mm512_reduce_max_ps model_reduce_max_ps

MODEL float model_mask_reduce_max_ps(uint16_t mask, __m512 x)
{
    model_512 v = {.ps = x};
    for (int i = 0; i < 16; i++)
        if (!(mask >> i & 1)) v.f[i] = -INFINITY;
    return model_reduce_max_ps(v.ps);
}
#undef _mm512_mask_reduce_max_ps
#define _mm512_mask_reduce_max_ps model_mask_reduce_max_ps

MODEL int model_reduce_add_epi32(__m512i x)
{
    const model_512 v = {.si = x};
    uint32_t sum = 0;
    for (int i = 0; i < 16; i++) sum += v.u32[i];
    return (int)sum;
}
#undef _mm512_reduce_add_epi32
#define _mm512_reduce_add_epi32 model_reduce_add_epi32

MODEL int model_reduce_max_epi32(__m512i x)
{
    const model_512 v = {.si = x};
    int top = INT32_MIN;
    for (int i = 0; i < 16; i++) top = v.i32[i] > top ? v.i32[i] : top;
    return top;
}
#undef _mm512_reduce_max_epi32
#define _mm512_reduce_max_epi32 model_reduce_max_epi32

/* ---- lanes moved ----------------------------------------------------------------------------- */

/* Of 4 dwords each. */
LONG_MODEL __m512i model_shuffle_epi32(__m512i x, int how)
{
    const model_512 v = {.si = x};
    model_512 r;
    for (int i = 0; i < 16; i++) r.u32[i] = v.u32[i / 4 * 4 + (how >> i % 4 * 2 & 3)];
    return r.si;
}
#undef _mm512_shuffle_epi32
#define _mm512_shuffle_epi32(x, how) model_shuffle_epi32(x, (int)(how))

MODEL __m512 model_permute_ps(__m512 x, int how)
{
    return (model_512){.si = model_shuffle_epi32((model_512){.ps = x}.si, how)}.ps;
}
#undef _mm512_permute_ps
#define _mm512_permute_ps(x, how) model_permute_ps(x, (int)(how))
#undef _mm512_moveldup_ps
#define _mm512_moveldup_ps(x) model_permute_ps(x, 0xa0)
#undef _mm512_movehdup_ps
#define _mm512_movehdup_ps(x) model_permute_ps(x, 0xf5)

MODEL __m512 model_zextps128_ps512(__m128 x)
{
    model_512 r = {.u32 = {0}};
    r.ps_128[0] = x;
    return r.ps;
}
#undef _mm512_zextps128_ps512
#define _mm512_zextps128_ps512 model_zextps128_ps512

MODEL __m256 model_extractf32x8_ps(__m512 x, int half) { return (model_512){.ps = x}.ps_256[half]; }
#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps model_extractf32x8_ps

/* ---- arithmetic ------------------------------------------------------------------------------ */

MODEL __m512i model_srai_epi32(__m512i x, unsigned by)
{
    model_512 v = {.si = x};
    for (int i = 0; i < 16; i++) v.i32[i] >>= by < 31 ? by : 31;
    return v.si;
}
#undef _mm512_srai_epi32
#define _mm512_srai_epi32 model_srai_epi32

MODEL __m512 model_fmaddsub_ps(__m512 a, __m512 b, __m512 c)
{
    const model_512 x = {.ps = a}, y = {.ps = b}, z = {.ps = c};
    return (model_512){.ps_256 = {_mm256_fmaddsub_ps(x.ps_256[0], y.ps_256[0], z.ps_256[0]),
                                  _mm256_fmaddsub_ps(x.ps_256[1], y.ps_256[1], z.ps_256[1])}}
        .ps;
}
#undef _mm512_fmaddsub_ps
#define _mm512_fmaddsub_ps model_fmaddsub_ps

/* a 2^floor(b) */
LONG_MODEL __m512 model_scalef_ps(__m512 a, __m512 b)
{
    model_512 x = {.ps = a};
    const model_512 y = {.ps = b};
    for (int i = 0; i < 16; i++) x.f[i] = ldexpf(x.f[i], (int)fmaxf(-1000, fminf(1000, floorf(y.f[i]))));
    return x.ps;
}
#undef _mm512_scalef_ps
#define _mm512_scalef_ps model_scalef_ps

/* The exponent of x, as a float; -inf of 0, inf of inf. */
LONG_MODEL __m512 model_getexp_ps(__m512 a)
{
    model_512 x = {.ps = a};
    for (int i = 0; i < 16; i++)
        x.f[i] = isnan(x.f[i]) ? x.f[i] : x.f[i] == 0 ? -INFINITY : isinf(x.f[i]) ? INFINITY : logbf(x.f[i]);
    return x.ps;
}
#undef _mm512_getexp_ps
#define _mm512_getexp_ps model_getexp_ps

/* The mantissa in [1, 2) with the sign of x, or without: what the level asks for; 1 of 0 and inf. */
LONG_MODEL __m512 model_getmant_ps(__m512 a, int interval, int sign)
{
    model_512 x = {.ps = a};
    if (interval != _MM_MANT_NORM_1_2) __builtin_trap();
    for (int i = 0; i < 16; i++) {
        int exponent;
        if (isnan(x.f[i])) continue;
        const float m = x.f[i] == 0 || isinf(x.f[i]) ? 1 : 2 * fabsf(frexpf(x.f[i], &exponent));
        x.f[i] = sign == _MM_MANT_SIGN_zero ? m : copysignf(m, x.f[i]);
    }
    return x.ps;
}
#undef _mm512_getmant_ps
#define _mm512_getmant_ps model_getmant_ps

/* ---- comparisons ----------------------------------------------------------------------------- */

LONG_MODEL uint16_t model_fpclass_ps_mask(__m512 a, int classes)
{
    const model_512 x = {.ps = a};
    uint16_t mask = 0;
    for (int i = 0; i < 16; i++) {
        const uint32_t rest = x.u32[i] & 0x7fffffff;
        const bool minus = x.u32[i] >> 31;
        const int is = rest > 0x7f800000    ? (rest & 0x400000 ? 0x01 : 0x80)
                       : rest == 0          ? (minus ? 0x04 : 0x02)
                       : rest == 0x7f800000 ? (minus ? 0x10 : 0x08)
                                            : (rest < 0x800000 ? 0x20 : 0) | (minus ? 0x40 : 0);
        mask |= (uint16_t)((classes & is ? 1 : 0) << i);
    }
    return mask;
}
#undef _mm512_fpclass_ps_mask
#define _mm512_fpclass_ps_mask model_fpclass_ps_mask

#define MODEL_COMPARE(name, compare)                                                            \
    MODEL uint16_t model_mask_##name(uint16_t mask, __m512i a, __m512i b)                       \
    {                                                                                           \
        const model_512 x = {.si = a}, y = {.si = b};                                           \
        uint16_t r = 0;                                                                         \
        for (int i = 0; i < 16; i++) r |= (uint16_t)((x.u32[i] compare y.u32[i] ? 1 : 0) << i); \
        return r & mask;                                                                        \
    }
MODEL_COMPARE(cmpge_epu32_mask, >=)
MODEL_COMPARE(cmpgt_epu32_mask, >)
MODEL_COMPARE(cmpeq_epu32_mask, ==)
#undef _mm512_mask_cmpge_epu32_mask
#define _mm512_mask_cmpge_epu32_mask model_mask_cmpge_epu32_mask
#undef _mm512_mask_cmpgt_epu32_mask
#define _mm512_mask_cmpgt_epu32_mask model_mask_cmpgt_epu32_mask
#undef _mm512_mask_cmpeq_epu32_mask
#define _mm512_mask_cmpeq_epu32_mask model_mask_cmpeq_epu32_mask

MODEL uint32_t model_256_test_epi8_mask(__m256i a, __m256i b)
{
    return ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_and_si256(a, b), _mm256_setzero_si256()));
}
#undef _mm256_test_epi8_mask
#define _mm256_test_epi8_mask model_256_test_epi8_mask

#endif
