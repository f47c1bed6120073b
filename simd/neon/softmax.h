/* softmax.h: the running softmax of attention, one row and one block of entries at a time, and who sees what. */
#ifndef FKV_SIMD_NEON_SOFTMAX_H
#define FKV_SIMD_NEON_SOFTMAX_H

#include "simd/neon/neon.h"
#include "simd/seen.h"

enum { BLOCK = 256 };

INLINE int min_int(int a, int b) { return a < b ? a : b; }

/* p holds dots q . k of the entries seen on entry and 2^(logit - max) on return, zeros beside them as far as multiples
   of 4 reach; scale: above 0, 1/sqrt(d) log2(e). Returns the factor for what came before: 2^(old max - new max). A row
   that has seen -inf alone keeps zeros. */
INLINE float block_softmax(float *p, struct fkv_span seen, float scale, float *max, float lane_sum[4])
{
    const float32x4_t lowest = vdupq_n_f32(-INFINITY);
    const int from = seen.from & ~3, n = seen.to;
    float32x4_t top = lowest;
    for (int j = from; j < seen.from; j++) p[j] = -INFINITY;
    for (int j = from; j < n; j += 4) {
        const float32x4_t x = vbslq_f32(first_lanes(n - j), vmulq_n_f32(vld1q_f32(p + j), scale), lowest);
        vst1q_f32(p + j, x);
        top = vmaxnmq_f32(x, top); /* a NaN gives way here and reaches the sums as p */
    }
    const float largest = vmaxnmvq_f32(top), new_max = largest > *max ? largest : *max;
    const float base = new_max == -INFINITY ? 0 : new_max;
    const float rescale = vgetq_lane_f32(exp2_4(vdupq_n_f32(*max - base)), 0);
    *max = new_max;
    float32x4_t sum = vmulq_n_f32(vld1q_f32(lane_sum), rescale);
    for (int j = from; j < n; j += 4) {
        const float32x4_t e = exp2_4(vsubq_f32(vld1q_f32(p + j), vdupq_n_f32(base)));
        vst1q_f32(p + j, e);
        sum = vaddq_f32(sum, e);
    }
    vst1q_f32(lane_sum, sum);
    return rescale;
}

INLINE void rescale_row(float *out, int n, float by)
{
    if (by == 1) return;
    for (int i = 0; i < n; i += 4) vst1q_f32(out + i, vmulq_n_f32(vld1q_f32(out + i), by));
}

#endif
