/* The tile of 8 weight rows x 6 rows of X by sdot: a vector of 4 weight rows by 4 k, times 4 k of a row of X that lie
   in one lane.

   Register plan: 12 integer sums, 12 float sums, 4 W and 3 X per 8 k: 31. Per block of 32 k: 96 sdot, 36 instructions
   for the scales, 12 that set sums to zero, 10 loads. */
#include "simd/dotprod/dotprod.h"
#include "simd/neon/load_many.h"
#include "simd/neon/quantised.h"

/* a[row of X][4 weight rows] += 8 k. */
INLINE void multiply_step(const int8x16_t w[4], const int8x16_t x[3], int32x4_t a[X_ROWS][2])
{
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            a[2 * i][j] = vdotq_laneq_s32(a[2 * i][j], w[j], x[i], 0);
            a[2 * i + 1][j] = vdotq_laneq_s32(a[2 * i + 1][j], w[j], x[i], 2);
            a[2 * i][j] = vdotq_laneq_s32(a[2 * i][j], w[2 + j], x[i], 1);
            a[2 * i + 1][j] = vdotq_laneq_s32(a[2 * i + 1][j], w[2 + j], x[i], 3);
        }
}

INLINE void add_scaled(const int32x4_t a[X_ROWS][2], const float32x4_t w_scale[2], const int8x16_t x_scale[3],
                       float32x4_t sum[X_ROWS][2])
{
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            const float32x4_t s = vreinterpretq_f32_s8(x_scale[i]);
            sum[2 * i][j] = vfmaq_laneq_f32(sum[2 * i][j], vmulq_f32(vcvtq_f32_s32(a[2 * i][j]), w_scale[j]), s, 0);
            sum[2 * i + 1][j] = vfmaq_laneq_f32(sum[2 * i + 1][j],
                                                vmulq_f32(vcvtq_f32_s32(a[2 * i + 1][j]), w_scale[j]), s, 2);
        }
}

static void multiply(const int8_t *w, const struct x_block *x_block, int n_blocks, float *sums)
{
    const int8_t *x = x_block->q[0][0], *x_end = (const int8_t *)(x_block + n_blocks);
    float32x4_t sum[X_ROWS][2];
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) sum[i / 2][i % 2] = vld1q_f32(sums + 4 * i);
    while (x != x_end) {
        int8x16_t wv[4], xv[3];
        int32x4_t a[X_ROWS][2];
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) a[i / 2][i % 2] = zero_s32();
#pragma GCC unroll 4
        for (int s = 0; s < 4; s++) {
            load_4(&w, wv);
            load_3(&x, xv);
            multiply_step(wv, xv, a);
        }
        const float32x4_t w_scale[2] = {vld1q_f32((const float *)w), vld1q_f32((const float *)w + 4)};
        w += 4 * QUADS_SCALES;
        load_3(&x, xv);
        add_scaled(a, w_scale, xv, sum);
    }
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) vst1q_f32(sums + 4 * i, sum[i / 2][i % 2]);
}

static const struct tile tile = {QUADS, multiply};
QUANTISED_PANELS(dotprod, &tile)
#define UNPACKED(NAME, name, values, bits, scales, has_offset) UNPACKED_PANEL(dotprod, &tile, NAME, name)
#include "simd/unpacked.def"
