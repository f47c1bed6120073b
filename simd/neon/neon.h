/* neon.h: what the files of the ARM levels share: the kernels' prototypes and small vector helpers.

   The level needs what every 64-bit ARM core has and nothing more: 32 registers of 4 floats, no masked loads, no dot
   product of bytes. dotprod and i8mm build on it: they replace its tiles (quantised.h) and keep the rest. */
#ifndef FKV_SIMD_NEON_H
#define FKV_SIMD_NEON_H

#include <arm_neon.h>
#include <math.h>

#include "simd/inline.h"
#include "simd/level.h"

#define KERNEL(result, name, args) result fkv_##name##_neon args;
#include "simd/kernels.def"
#undef KERNEL

/* ---- halves ---------------------------------------------------------------------------------- */

INLINE float load_f16(const void *p)
{
    __fp16 h;
    memcpy(&h, p, sizeof h);
    return h;
}

INLINE float32x4_t widen_f16(uint16x4_t h) { return vcvt_f32_f16(vreinterpret_f16_u16(h)); }
INLINE float32x4_t widen_bf16(uint16x4_t h) { return vreinterpretq_f32_u32(vshll_n_u16(h, 16)); }

/* 4 values of p, which need not be aligned. */
INLINE float32x4_t load_4_f16(const void *p) { return widen_f16(vreinterpret_u16_u8(vld1_u8(p))); }
INLINE float32x4_t load_4_bf16(const void *p) { return widen_bf16(vreinterpret_u16_u8(vld1_u8(p))); }
INLINE float32x4_t load_4_f32(const void *p) { return vreinterpretq_f32_u8(vld1q_u8(p)); }

/* ---- the ends of rows: the first n of 4 lanes, n >= 1 and possibly more than 4 --------------- */

INLINE uint32x4_t first_lanes(int n)
{
    static const uint32_t lane[4] = {0, 1, 2, 3};
    return vcltq_u32(vld1q_u32(lane), vdupq_n_u32((uint32_t)n));
}

/* Lanes from n on are zero. */
INLINE float32x4_t load_first(const float *p, int n)
{
    if (n >= 4) return vld1q_f32(p);
    float t[4] = {0};
    memcpy(t, p, (size_t)n * sizeof *p);
    return vld1q_f32(t);
}

INLINE void store_first(float *p, float32x4_t v, int n)
{
    if (n >= 4) {
        vst1q_f32(p, v);
        return;
    }
    float t[4];
    vst1q_f32(t, v);
    memcpy(p, t, (size_t)n * sizeof *p);
}

INLINE float32x4_t keep_lanes(float32x4_t v, uint32x4_t mask)
{
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), mask));
}
INLINE float32x4_t drop_lanes(float32x4_t v, uint32x4_t mask)
{
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v), mask));
}

/* ---- pairs of vectors as 2 x 2 cells of 2 floats: [a0 a1], [b0 b1] to [a0 b0], [a1 b1] ------- */

INLINE float32x4_t low_halves(float32x4_t a, float32x4_t b)
{
    return vreinterpretq_f32_f64(vzip1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}
INLINE float32x4_t high_halves(float32x4_t a, float32x4_t b)
{
    return vreinterpretq_f32_f64(vzip2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}

/* v[i] lane j becomes v[j] lane i. */
INLINE void transpose_4x4(float32x4_t v[4])
{
    const float32x4_t a = vtrn1q_f32(v[0], v[1]), b = vtrn2q_f32(v[0], v[1]), c = vtrn1q_f32(v[2], v[3]),
                      d = vtrn2q_f32(v[2], v[3]);
    v[0] = low_halves(a, c);
    v[1] = low_halves(b, d);
    v[2] = high_halves(a, c);
    v[3] = high_halves(b, d);
}

/* ---- exponentials ---------------------------------------------------------------------------- */

/* Adding 1.5 2^23 rounds to the nearest integer and leaves it in the low bits; shifted by 23 it is the exponent to
   add. */
INLINE float32x4_t scale_by_exponent(float32x4_t p, float32x4_t rounded_with_magic)
{
    return vreinterpretq_f32_s32(
        vaddq_s32(vreinterpretq_s32_f32(p), vshlq_n_s32(vreinterpretq_s32_f32(rounded_with_magic), 23)));
}

/* 2^x for x <= 127, relative error 1e-7; zero below -126, where the exponent would wrap round; a NaN stays one. */
INLINE float32x4_t exp2_4(float32x4_t x)
{
    const float32x4_t magic = vdupq_n_f32(12582912.0f), t = vaddq_f32(x, magic), f = vsubq_f32(x, vsubq_f32(t, magic));
    float32x4_t p = vfmaq_f32(vdupq_n_f32(0.00967554133f), vdupq_n_f32(0.00132764715f), f);
    p = vfmaq_f32(vdupq_n_f32(0.0555071327f), p, f);
    p = vfmaq_f32(vdupq_n_f32(0.240221197f), p, f);
    p = vfmaq_f32(vdupq_n_f32(0.693146967f), p, f);
    p = vfmaq_f32(vdupq_n_f32(1.00000007f), p, f);
    return drop_lanes(scale_by_exponent(p, t), vcltq_f32(x, vdupq_n_f32(-126.0f)));
}

/* e^x, relative error 2e-7; zero below -87, infinity above 88; a NaN stays one. x - n log 2 is exact thanks to log 2 in
   two parts; the polynomial is that of Cephes' expf. */
INLINE float32x4_t exp_4(float32x4_t x)
{
    const uint32x4_t tiny = vcltq_f32(x, vdupq_n_f32(-87.0f)), huge = vcgtq_f32(x, vdupq_n_f32(88.0f));
    const float32x4_t magic = vdupq_n_f32(12582912.0f), t = vfmaq_f32(magic, x, vdupq_n_f32(1.44269504f)),
                      n = vsubq_f32(t, magic);
    const float32x4_t r = vfmsq_f32(vfmsq_f32(x, n, vdupq_n_f32(0.693359375f)), n, vdupq_n_f32(-2.12194440e-4f));
    float32x4_t p = vfmaq_f32(vdupq_n_f32(1.3981999507e-3f), vdupq_n_f32(1.9875691500e-4f), r);
    p = vfmaq_f32(vdupq_n_f32(8.3334519073e-3f), p, r);
    p = vfmaq_f32(vdupq_n_f32(4.1665795894e-2f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.6666665459e-1f), p, r);
    p = vfmaq_f32(vdupq_n_f32(5.0000001201e-1f), p, r);
    p = vfmaq_f32(vaddq_f32(r, vdupq_n_f32(1.0f)), p, vmulq_f32(r, r));
    return vbslq_f32(huge, vdupq_n_f32(INFINITY), drop_lanes(scale_by_exponent(p, t), tiny));
}

#endif
