/* Operations on rows of floats (simd.h, "rows"). Tails go through 4 floats on the stack: there are no masked loads. */
#include <math.h>

#include "simd/neon/neon.h"

void fkv_rms_norm_neon(const float *x, const float *w, int n, float eps, float *y)
{
    float32x4_t sum[4];
    for (int i = 0; i < 4; i++) sum[i] = vdupq_n_f32(0);
    int j = 0;
    for (; j + 16 <= n; j += 16)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const float32x4_t v = vld1q_f32(x + j + 4 * i);
            sum[i] = vfmaq_f32(sum[i], v, v);
        }
    for (; j < n; j += 4) {
        const float32x4_t v = load_first(x + j, n - j);
        sum[0] = vfmaq_f32(sum[0], v, v);
    }
    const float squares = vaddvq_f32(vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3])));
    const float by = 1.0f / sqrtf(squares / (float)n + eps);
    for (j = 0; j < n; j += 4)
        store_first(y + j, vmulq_f32(vmulq_n_f32(load_first(x + j, n - j), by), load_first(w + j, n - j)), n - j);
}

void fkv_rope_half_neon(float *x, int heads, int d, int n_rot, const float *cos_sin)
{
    const int half = n_rot / 2;
    int i = 0;
    for (; i + 4 <= half; i += 4) {
        const float32x4x2_t cs = vld2q_f32(cos_sin + 2 * i);
        for (int h = 0; h < heads; h++) {
            float *lo = x + (size_t)h * (size_t)d + i, *hi = lo + half;
            const float32x4_t a = vld1q_f32(lo), b = vld1q_f32(hi);
            vst1q_f32(lo, vfmsq_f32(vmulq_f32(a, cs.val[0]), b, cs.val[1]));
            vst1q_f32(hi, vfmaq_f32(vmulq_f32(b, cs.val[0]), a, cs.val[1]));
        }
    }
    for (; i < half; i++)
        for (int h = 0; h < heads; h++) {
            float *lo = x + (size_t)h * (size_t)d + i, *hi = lo + half;
            const float a = *lo, b = *hi, c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
            *lo = a * c - b * s;
            *hi = a * s + b * c;
        }
}

/* 2 pairs per vector: (a c - b s, b c + a s). */
void fkv_rope_pair_neon(float *x, int heads, int d, int n_rot, const float *cos_sin)
{
    static const float signs[4] = {-1, 1, -1, 1};
    for (int i = 0; i < n_rot; i += 4) {
        const float32x4_t cs = load_first(cos_sin + i, n_rot - i), c = vtrn1q_f32(cs, cs),
                          s = vmulq_f32(vtrn2q_f32(cs, cs), vld1q_f32(signs));
        for (int h = 0; h < heads; h++) {
            float *at = x + (size_t)h * (size_t)d + i;
            const float32x4_t v = load_first(at, n_rot - i);
            store_first(at, vfmaq_f32(vmulq_f32(vrev64q_f32(v), s), v, c), n_rot - i);
        }
    }
}

void fkv_swiglu_neon(const float *gate, const float *up, int n, float *y)
{
    const float32x4_t one = vdupq_n_f32(1.0f);
    for (int j = 0; j < n; j += 4) {
        const float32x4_t g = load_first(gate + j, n - j), u = load_first(up + j, n - j);
        store_first(y + j, vmulq_f32(vdivq_f32(g, vaddq_f32(one, exp_4(vnegq_f32(g)))), u), n - j);
    }
}

void fkv_geglu_neon(const float *gate, const float *up, int n, float *y)
{
    const float32x4_t one = vdupq_n_f32(1.0f);
    for (int j = 0; j < n; j += 4) {
        const float32x4_t g = load_first(gate + j, n - j), u = load_first(up + j, n - j);
        const float32x4_t cube = vmulq_f32(vmulq_n_f32(g, FKV_GELU_CUBE), vmulq_f32(g, g)),
                          t2 = vmulq_n_f32(vaddq_f32(g, cube), FKV_GELU_TWICE);
        store_first(y + j, vmulq_f32(vdivq_f32(g, vaddq_f32(one, exp_4(vnegq_f32(t2)))), u), n - j);
    }
}

void fkv_add_neon(const float *x, int n, float *y)
{
    for (int j = 0; j < n; j += 4)
        store_first(y + j, vaddq_f32(load_first(y + j, n - j), load_first(x + j, n - j)), n - j);
}
