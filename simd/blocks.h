/* blocks.h: the quantised blocks of a GGUF file, as they lie in memory (little-endian, no padding), and half floats.

   A tensor row of k values is k / elements blocks, one after the other. Sources: the GGUF and GGML format descriptions.
   Structures have alignment 1 or 2: weights in a mapped file promise no more than the file's tensor alignment. */
#ifndef FKV_SIMD_BLOCKS_H
#define FKV_SIMD_BLOCKS_H

#include <stdint.h>
#include <string.h>

/* The types of the file format by their numbers there. Supported ones have a row in src/quant/quant_types.def. */
enum fkv_type {
    FKV_TYPE_F32 = 0,
    FKV_TYPE_F16 = 1,
    FKV_TYPE_Q4_0 = 2,
    FKV_TYPE_Q4_1 = 3,
    FKV_TYPE_Q5_0 = 6,
    FKV_TYPE_Q5_1 = 7,
    FKV_TYPE_Q8_0 = 8,
    FKV_TYPE_Q2_K = 10,
    FKV_TYPE_Q3_K = 11,
    FKV_TYPE_Q4_K = 12,
    FKV_TYPE_Q5_K = 13,
    FKV_TYPE_Q6_K = 14,
    FKV_TYPE_IQ2_XXS = 16,
    FKV_TYPE_IQ2_XS = 17,
    FKV_TYPE_IQ3_XXS = 18,
    FKV_TYPE_IQ1_S = 19,
    FKV_TYPE_IQ4_NL = 20,
    FKV_TYPE_IQ3_S = 21,
    FKV_TYPE_IQ2_S = 22,
    FKV_TYPE_IQ4_XS = 23,
    FKV_TYPE_IQ1_M = 29,
    FKV_TYPE_BF16 = 30,
    FKV_TYPE_MXFP4 = 39,
    FKV_TYPE_LIMIT = 64 /* no number is as large */
};

typedef uint16_t fkv_f16;  /* IEEE half, as bits */
typedef uint16_t fkv_bf16; /* upper half of an IEEE single, as bits */

#pragma pack(push, 1)
struct fkv_block_q4_0 {
    fkv_f16 d;
    uint8_t qs[16];
}; /* 32: d (q - 8); byte i: values i (low) and i + 16 */
struct fkv_block_q4_1 {
    fkv_f16 d, m;
    uint8_t qs[16];
}; /* 32: d q + m */
struct fkv_block_q5_0 {
    fkv_f16 d;
    uint8_t qh[4];
    uint8_t qs[16];
}; /* 32: d (q - 16); bit i of qh: value i's fifth bit */
struct fkv_block_q5_1 {
    fkv_f16 d, m;
    uint8_t qh[4];
    uint8_t qs[16];
}; /* 32: d q + m */
struct fkv_block_q8_0 {
    fkv_f16 d;
    int8_t qs[32];
}; /* 32: d q */
struct fkv_block_q2_k {
    uint8_t scales[16];
    uint8_t qs[64];
    fkv_f16 d, dmin;
}; /* 256 */
struct fkv_block_q3_k {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    fkv_f16 d;
}; /* 256 */
struct fkv_block_q4_k {
    fkv_f16 d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
}; /* 256 */
struct fkv_block_q5_k {
    fkv_f16 d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
}; /* 256 */
struct fkv_block_q6_k {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    fkv_f16 d;
}; /* 256 */
struct fkv_block_iq4_nl {
    fkv_f16 d;
    uint8_t qs[16];
}; /* 32: d table[q] */
struct fkv_block_iq4_xs {
    fkv_f16 d;
    uint16_t scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
}; /* 256 */
struct fkv_block_iq3_xxs {
    fkv_f16 d;
    uint8_t qs[64];
    uint32_t signs_scale[8]; /* per 32: four times seven signs, then the scale in the top four bits */
};                           /* 256 */
struct fkv_block_iq3_s {
    fkv_f16 d;
    uint8_t qs[64];
    uint8_t qh[8];
    uint8_t signs[32];
    uint8_t scales[4];
}; /* 256 */
struct fkv_block_iq2_xxs {
    fkv_f16 d;
    struct {
        uint8_t qs[4];
        uint32_t signs_scale; /* as in IQ3_XXS */
    } part[8];
}; /* 256 */
struct fkv_block_iq2_xs {
    fkv_f16 d;
    uint16_t qs[32]; /* nine bits of a point, seven signs */
    uint8_t scales[8];
}; /* 256 */
struct fkv_block_iq2_s {
    fkv_f16 d;
    uint8_t qs[32];
    uint8_t signs[32];
    uint8_t qh[8];
    uint8_t scales[8];
}; /* 256 */
struct fkv_block_iq1_s {
    fkv_f16 d;
    uint8_t qs[32];
    uint16_t qh[8];
}; /* 256 */
struct fkv_block_iq1_m {
    uint8_t qs[32];
    uint8_t qh[16];
    uint16_t scales[4];
}; /* 256 */
struct fkv_block_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
}; /* 32: 2^(e - 128) table[q] */
#pragma pack(pop)

static inline float fkv_f32_from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline uint32_t fkv_bits_from_f32(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

/* The scale of MXFP4, of values that are doubled: 2^(e - 128), of which the two smallest are subnormal. */
static inline float fkv_f32_from_e8m0_half(uint8_t e)
{
    return fkv_f32_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

static inline float fkv_f32_from_bf16(fkv_bf16 h) { return fkv_f32_from_bits((uint32_t)h << 16); }

/* Round to nearest even; a NaN stays one. */
static inline fkv_bf16 fkv_bf16_from_f32(float f)
{
    const uint32_t u = fkv_bits_from_f32(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (fkv_bf16)(u >> 16 | 0x40);
    return (fkv_bf16)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

static inline float fkv_f32_from_f16(fkv_f16 h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    if (exponent == 31) return fkv_f32_from_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) { /* zero and subnormals: mantissa * 2^-24, exactly */
        const float f = (float)mantissa * 0x1p-24f;
        return sign ? -f : f;
    }
    return fkv_f32_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* Round to nearest even, to infinity above 65504; a NaN stays one. */
static inline fkv_f16 fkv_f16_from_f32(float f)
{
    const uint32_t u = fkv_bits_from_f32(f), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (fkv_f16)(sign | 0x7e00);
    if (magnitude >= 0x477ff000u) return (fkv_f16)(sign | 0x7c00);
    if (magnitude < 0x38800000u) { /* below 2^-14: adding 0.5 leaves the subnormal's bits, rounded, at the end */
        const uint32_t rounded = fkv_bits_from_f32(fkv_f32_from_bits(magnitude) + 0.5f);
        return (fkv_f16)(sign | (rounded - 0x3f000000u));
    }
    return (fkv_f16)(sign | (magnitude + 0xc8000fffu + (magnitude >> 13 & 1)) >> 13);
}

#endif
