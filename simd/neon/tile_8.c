/* The tile of 8 weight rows x 6 rows of X without a dot product of bytes: smull and smlal put two products in 16 bits
   (2 x 128 x 127 fits), saddlp and sadalp widen them to 32.

   A cell of 2 x 2 outputs takes vectors of a pair of rows by 8 k: their low halves are row 0 by row 0, their high
   halves row 1 by row 1; with the halves of W swapped, the other two. Register plan: 12 sums, 4 steps of W and the same
   swapped, 4 steps of X, products. */
#include "simd/neon/cells.h"
#include "simd/neon/quantised.h"

/* Over four steps of 8 k: the lower row of x by the lower row of w, and the upper by the upper. */
INLINE int32x4_t dot_lower(const int8x16_t x[4], const int8x16_t w[4])
{
    const int32x4_t sum = vpaddlq_s16(
        vmlal_s8(vmull_s8(vget_low_s8(x[0]), vget_low_s8(w[0])), vget_low_s8(x[1]), vget_low_s8(w[1])));
    return vpadalq_s16(sum,
                       vmlal_s8(vmull_s8(vget_low_s8(x[2]), vget_low_s8(w[2])), vget_low_s8(x[3]), vget_low_s8(w[3])));
}

INLINE int32x4_t dot_upper(const int8x16_t x[4], const int8x16_t w[4])
{
    const int32x4_t sum = vpaddlq_s16(vmlal_high_s8(vmull_high_s8(x[0], w[0]), x[1], w[1]));
    return vpadalq_s16(sum, vmlal_high_s8(vmull_high_s8(x[2], w[2]), x[3], w[3]));
}

INLINE int32x4_t dot_cell(const int8x16_t x[4], const int8x16_t w[4], const int8x16_t swapped[4])
{
    const int32x4_t x0 = vpaddq_s32(dot_lower(x, w), dot_lower(x, swapped));
    return vpaddq_s32(x0, vpaddq_s32(dot_upper(x, swapped), dot_upper(x, w)));
}

static void multiply(const int8_t *w, const struct x_block *x, int n_blocks, float *sums)
{
    float32x4_t sum[3][4];
    load_cells(sums, STRIP, sum);
    for (int b = 0; b < n_blocks; b++, x++, w += 4 * STEP_BYTES + 4 * PAIRS_SCALES)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            int8x16_t wv[4], swapped[4];
#pragma GCC unroll 4
            for (int s = 0; s < 4; s++) {
                wv[s] = vld1q_s8(w + s * STEP_BYTES + 16 * j);
                swapped[s] = vextq_s8(wv[s], wv[s], 8);
            }
            const float32x4_t scale = vld1q_f32((const float *)(w + 4 * STEP_BYTES) + 4 * j);
#pragma GCC unroll 3
            for (int i = 0; i < 3; i++) {
                int8x16_t xv[4];
#pragma GCC unroll 4
                for (int s = 0; s < 4; s++) xv[s] = vld1q_s8(x->q[s][2 * i]);
                sum[i][j] = vfmaq_f32(sum[i][j], vcvtq_f32_s32(dot_cell(xv, wv, swapped)),
                                      vmulq_f32(scale, vld1q_f32(x->scale[i])));
            }
        }
    store_cells(sums, STRIP, sum);
}

static const struct tile tile = {PAIRS, multiply};
QUANTISED_PANELS(neon, &tile)
#define UNPACKED(NAME, name, values, bits, scales, has_offset) UNPACKED_PANEL(neon, &tile, NAME, name)
#include "simd/unpacked.def"
