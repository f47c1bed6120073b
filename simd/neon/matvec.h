/* matvec.h: decode with block-quantised weights: y[n] = W[n][k] v, W as the file has it, one row at a time.

   A block's integer dot becomes float in 4 lanes and enters by one fmla with the product of the two scales; lanes are
   added at the row's end. An offset is a term of its own. Rows are read front to back and not past their end. */
#ifndef FKV_SIMD_NEON_MATVEC_H
#define FKV_SIMD_NEON_MATVEC_H

#include "simd/neon/activations.h"
#include "simd/neon/weights.h"

/* A level's own: sum + the products of 16 bytes, spread over the lanes in any way. */
typedef int32x4_t dot_fn(int32x4_t sum, int8x16_t w, int8x16_t x);

enum { AHEAD = 1024 }; /* bytes of prefetch */

INLINE int32x4_t dot_block(dot_fn *dot_16, struct bytes32 w, const int8_t *x)
{
    return dot_16(dot_16(vdupq_n_s32(0), w.low, vld1q_s8(x)), w.high, vld1q_s8(x + 16));
}

/* ---- blocks of 32 ---------------------------------------------------------------------------- */

INLINE float32x4_t add_block(dot_fn *dot_16, struct bytes32 w, const uint8_t *block, const struct v8 *v, int b,
                             float32x4_t sum)
{
    return vfmaq_n_f32(sum, vcvtq_f32_s32(dot_block(dot_16, w, v->q + 32 * b)), load_f16(block) * v->scale[b]);
}

INLINE float dot_32(dot_fn *dot_16, bool has_offset, const uint8_t *row, int blocks, const struct v8 *v, size_t bytes,
                    struct bytes32 (*values)(const uint8_t *))
{
    float32x4_t even = vdupq_n_f32(0), odd = even;
    float offset_even = 0, offset_odd = 0;
    int b = 0;
    for (; b + 2 <= blocks; b += 2) {
        const uint8_t *block = row + (size_t)b * bytes, *next = block + bytes;
        __builtin_prefetch(block + AHEAD);
        even = add_block(dot_16, values(block), block, v, b, even);
        odd = add_block(dot_16, values(next), next, v, b + 1, odd);
        if (has_offset) {
            offset_even += load_f16(block + 2) * v->scaled_sum[b];
            offset_odd += load_f16(next + 2) * v->scaled_sum[b + 1];
        }
    }
    if (b < blocks) {
        const uint8_t *block = row + (size_t)b * bytes;
        even = add_block(dot_16, values(block), block, v, b, even);
        if (has_offset) offset_even += load_f16(block + 2) * v->scaled_sum[b];
    }
    return vaddvq_f32(vaddq_f32(even, odd)) + (offset_even + offset_odd);
}

#define MATVEC_32(level, dot, format, has_offset)                                                         \
    static void few_##format(const struct fkv_matvec *p)                                                  \
    {                                                                                                     \
        for (int j = 0; j < p->m; j++) {                                                                  \
            const struct v8 v = v8_view(fkv_matvec_vector(p, j), p->k);                                   \
            for (int i = 0; i < p->n; i++)                                                                \
                fkv_matvec_result(p, j)[i] = dot_32(dot, has_offset, fkv_matvec_row(p, i), p->k / 32, &v, \
                                                    sizeof(struct fkv_block_##format), values_##format);  \
        }                                                                                                 \
    }                                                                                                     \
    void fkv_matvec_##format##_##level(const struct fkv_matvec *p) { fkv_matvec_by_few(p, few_##format); }

/* ---- blocks of 256 --------------------------------------------------------------------------- */

INLINE float dot_k(dot_fn *dot_16, const uint8_t *row, int blocks, const struct v8 *v, size_t bytes,
                   struct bytes32 (*values)(const uint8_t *, int))
{
    float32x4_t sum[2] = {vdupq_n_f32(0), vdupq_n_f32(0)}, offsets = sum[0];
    for (int i = 0; i < blocks; i++) {
        const uint8_t *block = row + (size_t)i * bytes;
        for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(block + AHEAD + at);
        float32x4_t scale[2], offset[2];
        scales_q4_k(block, scale, offset);
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            scale[h] = vmulq_f32(scale[h], vld1q_f32(v->scale + 8 * i + 4 * h));
            offsets = vfmaq_f32(offsets, offset[h], vld1q_f32(v->scaled_sum + 8 * i + 4 * h));
        }
#define ADD(j)                                                                                                \
    sum[j % 2] = vfmaq_laneq_f32(sum[j % 2],                                                                  \
                                 vcvtq_f32_s32(dot_block(dot_16, values(block, j), v->q + 256 * i + 32 * j)), \
                                 scale[j / 4], j % 4)
        ADD(0);
        ADD(1);
        ADD(2);
        ADD(3);
        ADD(4);
        ADD(5);
        ADD(6);
        ADD(7);
#undef ADD
    }
    return vaddvq_f32(vaddq_f32(vaddq_f32(sum[0], sum[1]), offsets));
}

#define MATVEC_K(level, dot, format)                                                                    \
    static void few_##format(const struct fkv_matvec *p)                                                \
    {                                                                                                   \
        for (int j = 0; j < p->m; j++) {                                                                \
            const struct v8 v = v8_view(fkv_matvec_vector(p, j), p->k);                                 \
            for (int i = 0; i < p->n; i++)                                                              \
                fkv_matvec_result(p, j)[i] = dot_k(dot, fkv_matvec_row(p, i), p->k / 256, &v,           \
                                                   sizeof(struct fkv_block_##format), values_##format); \
        }                                                                                               \
    }                                                                                                   \
    void fkv_matvec_##format##_##level(const struct fkv_matvec *p) { fkv_matvec_by_few(p, few_##format); }

/* The scales of 16 values are integers and multiply as such: a lane's sum stays below 2^24. */
INLINE float dot_q6_k(dot_fn *dot_16, const uint8_t *row, int blocks, const struct v8 *v)
{
    float32x4_t sum[2] = {vdupq_n_f32(0), vdupq_n_f32(0)};
    for (int i = 0; i < blocks; i++) {
        const uint8_t *block = row + (size_t)i * sizeof(struct fkv_block_q6_k);
        const int8_t *sc = (const int8_t *)block + 192;
        const float d = load_f16(block + 208);
        for (size_t at = 0; at < 256; at += 64) __builtin_prefetch(block + AHEAD + at);
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            const struct bytes32 q = values_q6_k(block, j);
            const int8_t *x = v->q + 256 * i + 32 * j;
            const int32x4_t low = dot_16(vdupq_n_s32(0), q.low, vld1q_s8(x)),
                            high = dot_16(vdupq_n_s32(0), q.high, vld1q_s8(x + 16));
            const int32x4_t both = vmlaq_n_s32(vmulq_n_s32(low, sc[2 * j]), high, sc[2 * j + 1]);
            sum[j % 2] = vfmaq_n_f32(sum[j % 2], vcvtq_f32_s32(both), d * v->scale[8 * i + j]);
        }
    }
    return vaddvq_f32(vaddq_f32(sum[0], sum[1]));
}

#define MATVEC_Q6_K(level, dot)                                                                   \
    static void few_q6_k(const struct fkv_matvec *p)                                              \
    {                                                                                             \
        for (int j = 0; j < p->m; j++) {                                                          \
            const struct v8 v = v8_view(fkv_matvec_vector(p, j), p->k);                           \
            for (int i = 0; i < p->n; i++)                                                        \
                fkv_matvec_result(p, j)[i] = dot_q6_k(dot, fkv_matvec_row(p, i), p->k / 256, &v); \
        }                                                                                         \
    }                                                                                             \
    void fkv_matvec_q6_k_##level(const struct fkv_matvec *p) { fkv_matvec_by_few(p, few_q6_k); }

/* ---- unpacked.def ---------------------------------------------------------------------------- */

INLINE float dot_unpacked_32(dot_fn *dot_16, scales_fn *scales, unpack_fn *values, size_t bytes, bool has_offset,
                             const uint8_t *row, int blocks, const struct v8 *v)
{
    float32x4_t sum[2] = {vdupq_n_f32(0), vdupq_n_f32(0)};
    float offsets = 0;
    for (int i = 0; i < blocks; i++, row += bytes) {
        struct block_scales s;
        scales(row, &s);
        __builtin_prefetch(row + AHEAD);
        const int32x4_t dot = dot_block(dot_16, values(row, &s, 0), v->q + 32 * i);
        sum[i % 2] = vfmaq_n_f32(sum[i % 2], vcvtq_f32_s32(dot), s.d * v->scale[i]);
        if (has_offset) offsets += s.offset * v->scaled_sum[i];
    }
    return vaddvq_f32(vaddq_f32(sum[0], sum[1])) + offsets;
}

/* Scales are whole numbers and multiply as such; minima likewise the sums of v, 16 at a time. */
INLINE float dot_unpacked_256(dot_fn *dot_16, scales_fn *scales, unpack_fn *values, size_t bytes, int n_scales,
                              bool has_offset, const uint8_t *row, int blocks, const struct v8 *v)
{
    float32x4_t sum = vdupq_n_f32(0), offsets = sum;
    for (int i = 0; i < blocks; i++, row += bytes) {
        struct block_scales s;
        scales(row, &s);
        for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + AHEAD + at);
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            const struct bytes32 w = values(row, &s, j);
            const int8_t *x = v->q + 256 * i + 32 * j;
            const int8_t *scale = s.scale + n_scales * j, *minimum = s.minimum + n_scales * j;
            const int8x16_t low = vld1q_s8(x), high = vld1q_s8(x + 16), one = vdupq_n_s8(1);
            const int32x4_t zero = vdupq_n_s32(0);
            const int32x4_t dot = vmlaq_n_s32(vmulq_n_s32(dot_16(zero, w.low, low), scale[0]),
                                              dot_16(zero, w.high, high), scale[n_scales / 2]);
            sum = vfmaq_n_f32(sum, vcvtq_f32_s32(dot), s.d * v->scale[8 * i + j]);
            if (!has_offset) continue;
            const int32x4_t moved = vmlaq_n_s32(vmulq_n_s32(dot_16(zero, one, low), minimum[0]),
                                                dot_16(zero, one, high), minimum[n_scales / 2]);
            offsets = vfmaq_n_f32(offsets, vcvtq_f32_s32(moved), s.offset * v->scale[8 * i + j]);
        }
    }
    return vaddvq_f32(vaddq_f32(sum, offsets));
}

#define MATVEC_UNPACKED(level, dot, name, values, n_scales, has_offset)                                             \
    static void few_##name(const struct fkv_matvec *p)                                                              \
    {                                                                                                               \
        const size_t bytes = sizeof(struct fkv_block_##name);                                                       \
        for (int j = 0; j < p->m; j++) {                                                                            \
            const struct v8 v = v8_view(fkv_matvec_vector(p, j), p->k);                                             \
            for (int i = 0; i < p->n; i++)                                                                          \
                fkv_matvec_result(p, j)[i] = (values) == 32                                                         \
                                                 ? dot_unpacked_32(dot, scales_##name, values_##name, bytes,        \
                                                                   has_offset, fkv_matvec_row(p, i), p->k / 32, &v) \
                                                 : dot_unpacked_256(dot, scales_##name, values_##name, bytes,       \
                                                                    n_scales, has_offset, fkv_matvec_row(p, i),     \
                                                                    p->k / 256, &v);                                \
        }                                                                                                           \
    }                                                                                                               \
    void fkv_matvec_##name##_##level(const struct fkv_matvec *p) { fkv_matvec_by_few(p, few_##name); }

/* fkv_matvec_<format>_<level>() for all seven. */
#define MATVECS(level, dot)            \
    MATVEC_32(level, dot, q8_0, false) \
    MATVEC_32(level, dot, q4_0, false) \
    MATVEC_32(level, dot, q4_1, true)  \
    MATVEC_32(level, dot, q5_0, false) \
    MATVEC_K(level, dot, q4_k)         \
    MATVEC_K(level, dot, q5_k)         \
    MATVEC_Q6_K(level, dot)

#endif
