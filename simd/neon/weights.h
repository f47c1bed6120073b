/* weights.h: the values of a stored block as signed bytes in the order of k, zero points subtracted, and its scales.

   Unpacking for prefill and the dot products of decode both start here. Every load stays inside its block. Formats:
   blocks.h. */
#ifndef FKV_SIMD_NEON_WEIGHTS_H
#define FKV_SIMD_NEON_WEIGHTS_H

#include "simd/neon/neon.h"
#include "simd/types/all.h"

/* 32 nibbles: the low ones of 16 bytes, then the high ones. */
INLINE struct bytes32 nibbles(const uint8_t *qs)
{
    const uint8x16_t v = vld1q_u8(qs);
    return (struct bytes32){vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15))), vreinterpretq_s8_u8(vshrq_n_u8(v, 4))};
}

/* The `j & 1`th nibble of 32 bytes. */
INLINE struct bytes32 nibble_of_32(const uint8_t *qs, int j)
{
    const uint8x16_t a = vld1q_u8(qs), b = vld1q_u8(qs + 16), mask = vdupq_n_u8(15);
    const uint8x16_t low = j & 1 ? vshrq_n_u8(a, 4) : vandq_u8(a, mask),
                     high = j & 1 ? vshrq_n_u8(b, 4) : vandq_u8(b, mask);
    return (struct bytes32){vreinterpretq_s8_u8(low), vreinterpretq_s8_u8(high)};
}

INLINE struct bytes32 values_q8_0(const uint8_t *block)
{
    return (struct bytes32){vld1q_s8((const int8_t *)block + 2), vld1q_s8((const int8_t *)block + 18)};
}

INLINE struct bytes32 values_q4_0(const uint8_t *block)
{
    const struct bytes32 v = nibbles(block + 2);
    const int8x16_t eight = vdupq_n_s8(8);
    return (struct bytes32){vsubq_s8(v.low, eight), vsubq_s8(v.high, eight)};
}

INLINE struct bytes32 values_q4_1(const uint8_t *block) { return nibbles(block + 4); }

/* A nibble whose fifth bit is clear is q - 16: all upper bits set. */
INLINE struct bytes32 values_q5_0(const uint8_t *block)
{
    static const uint8_t byte_of_value[32] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
                                              2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3};
    uint32_t high;
    memcpy(&high, block + 2, 4);
    const uint8x16_t bytes = vreinterpretq_u8_u32(vdupq_n_u32(high)),
                     bits = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201)), upper = vdupq_n_u8(0xf0);
    const uint8x16_t first = vtstq_u8(vqtbl1q_u8(bytes, vld1q_u8(byte_of_value)), bits),
                     second = vtstq_u8(vqtbl1q_u8(bytes, vld1q_u8(byte_of_value + 16)), bits);
    const struct bytes32 v = nibbles(block + 6);
    return (struct bytes32){vorrq_s8(v.low, vreinterpretq_s8_u8(vbicq_u8(upper, first))),
                            vorrq_s8(v.high, vreinterpretq_s8_u8(vbicq_u8(upper, second)))};
}

/* Block j of the eight (j is a constant once unrolled). */
INLINE struct bytes32 values_q4_k(const uint8_t *block, int j) { return nibble_of_32(block + 16 + 32 * (j / 2), j); }

INLINE struct bytes32 values_q5_k(const uint8_t *block, int j)
{
    const uint8x16_t bit = vdupq_n_u8((uint8_t)(1 << j)), sixteen = vdupq_n_u8(16);
    const uint8x16_t first = vandq_u8(vtstq_u8(vld1q_u8(block + 16), bit), sixteen),
                     second = vandq_u8(vtstq_u8(vld1q_u8(block + 32), bit), sixteen);
    const struct bytes32 v = nibble_of_32(block + 48 + 32 * (j / 2), j);
    return (struct bytes32){vorrq_s8(v.low, vreinterpretq_s8_u8(first)), vorrq_s8(v.high, vreinterpretq_s8_u8(second))};
}

/* Two bits of each of 16 bytes, at 2 part, to bits 4 and 5. */
INLINE uint8x16_t two_bits(const uint8_t *qh, int part)
{
    const uint8x16_t v = vld1q_u8(qh), shift[4] = {vshlq_n_u8(v, 4), vshlq_n_u8(v, 2), v, vshrq_n_u8(v, 2)};
    return vandq_u8(shift[part], vdupq_n_u8(0x30));
}

INLINE struct bytes32 values_q6_k(const uint8_t *block, int j)
{
    const int half = j / 4, part = j % 4;
    const struct bytes32 v = nibble_of_32(block + 64 * half + 32 * (part & 1), part / 2);
    const uint8_t *qh = block + 128 + 32 * half;
    const int8x16_t zero = vdupq_n_s8(32);
    return (struct bytes32){vsubq_s8(vorrq_s8(v.low, vreinterpretq_s8_u8(two_bits(qh, part))), zero),
                            vsubq_s8(vorrq_s8(v.high, vreinterpretq_s8_u8(two_bits(qh + 16, part))), zero)};
}

INLINE void widen_bytes(uint64_t eight, float factor, float32x4_t out[2])
{
    const uint16x8_t v = vmovl_u8(vcreate_u8(eight));
    out[0] = vmulq_n_f32(vcvtq_f32_u32(vmovl_u16(vget_low_u16(v))), factor);
    out[1] = vmulq_n_f32(vcvtq_f32_u32(vmovl_u16(vget_high_u16(v))), factor);
}

/* The head of a Q4_K or Q5_K block: w = scale[j] q + offset[j]. */
INLINE void scales_q4_k(const uint8_t *block, float32x4_t scale[2], float32x4_t offset[2])
{
    uint32_t s[3];
    memcpy(s, block + 4, sizeof s);
    const uint32_t sc4 = (s[2] & 0x0f0f0f0fu) | (s[0] >> 2 & 0x30303030u),
                   m4 = (s[2] >> 4 & 0x0f0f0f0fu) | (s[1] >> 2 & 0x30303030u);
    widen_bytes((uint64_t)sc4 << 32 | (s[0] & 0x3f3f3f3fu), load_f16(block), scale);
    widen_bytes((uint64_t)m4 << 32 | (s[1] & 0x3f3f3f3fu), -load_f16(block + 2), offset);
}

/* ---- Q6_K with one scale per 32 instead of 16: bytes q' = round(4 q sc / top), scale d top / 4 ----

   top: of the two sc of 32 values the one of larger magnitude. Its 16 values become 4 q, exactly; the others are
   rounded, to an eighth of d top at most. Only -4 q of q = -32 does not fit: where the two are opposite, 127/32 takes
   the place of 4. */

/* Of the 8 pairs of sc, as factors of scaled_q6_k(): 4 sc / top in units of 2^-12. */
INLINE void scales_q6_k(const uint8_t *block, int16_t factor[16], float32x4_t scale[2])
{
    const int8x16_t sc = vld1q_s8((const int8_t *)block + 192);
    const int16x8_t even = vmovl_s8(vget_low_s8(vuzp1q_s8(sc, sc))), odd = vmovl_s8(vget_low_s8(vuzp2q_s8(sc, sc)));
    const int16x8_t top = vbslq_s16(vcgtq_s16(vabsq_s16(odd), vabsq_s16(even)), odd, even);
    const int16x8_t one = vbslq_s16(vceqq_s16(even, vnegq_s16(odd)), vdupq_n_s16(127 * 128), vdupq_n_s16(128 * 128));
    const float quarter = load_f16(block + 208) * 4096;
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
#define FOUR(v) vcvtq_f32_s32(i ? vmovl_high_s16(v) : vmovl_s16(vget_low_s16(v)))
        const float32x4_t unit = vdivq_f32(FOUR(one),
                                           FOUR(top)); /* of zeros infinite: 0 x inf is NaN, which becomes 0 */
        const int16x4_t e = vmovn_s32(vcvtnq_s32_f32(vmulq_f32(FOUR(even), unit))),
                        o = vmovn_s32(vcvtnq_s32_f32(vmulq_f32(FOUR(odd), unit)));
        vst1q_s16(factor + 8 * i, vcombine_s16(vzip1_s16(e, o), vzip2_s16(e, o)));
        scale[i] = vdivq_f32(vmulq_n_f32(FOUR(top), quarter), FOUR(one));
#undef FOUR
    }
}

INLINE int8x16_t scaled_16(int8x16_t q, int16_t factor)
{
    const int16x8_t low = vqrdmulhq_n_s16(vshll_n_s8(vget_low_s8(q), 3), factor),
                    high = vqrdmulhq_n_s16(vshll_high_n_s8(q, 3), factor);
    return vuzp1q_s8(vreinterpretq_s8_s16(low), vreinterpretq_s8_s16(high));
}

/* factor: of the two sc of block j. */
INLINE struct bytes32 scaled_q6_k(const uint8_t *block, int j, const int16_t factor[2])
{
    const struct bytes32 q = values_q6_k(block, j);
    return (struct bytes32){scaled_16(q.low, factor[0]), scaled_16(q.high, factor[1])};
}

#endif
