/* The tile of 8 weight rows x 6 rows of X by smmla: 2 x 2 outputs by 8 k each.

   Register plan: 12 integer sums, 12 float sums, 4 W and 3 X per 8 k: 31. Per block of 32 k: 48 smmla, 36 instructions
   for the scales, 12 that set sums to zero, 10 loads. */
#include "simd/i8mm/i8mm.h"
#include "simd/neon/cells.h"
#include "simd/neon/load_many.h"
#include "simd/neon/quantised.h"

INLINE void multiply_block(const int8_t **w, const int8_t **x, float32x4_t sum[3][4])
{
    int8x16_t wv[4], xv[3];
    int32x4_t a[3][4];
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) a[i / 4][i % 4] = zero_s32();
#pragma GCC unroll 4
    for (int s = 0; s < 4; s++) {
        load_4(w, wv);
        load_3(x, xv);
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) a[i / 4][i % 4] = vmmlaq_s32(a[i / 4][i % 4], xv[i / 4], wv[i % 4]);
    }
    load_4(w, wv);
    load_3(x, xv);
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++)
        sum[i / 4][i % 4] = vfmaq_f32(sum[i / 4][i % 4],
                                      vmulq_f32(vcvtq_f32_s32(a[i / 4][i % 4]), vreinterpretq_f32_s8(wv[i % 4])),
                                      vreinterpretq_f32_s8(xv[i / 4]));
}

/* Eight blocks at a time: the loop's own instructions would be 2 % of the work. */
static void multiply(const int8_t *w, const struct x_block *x_block, int n_blocks, float *sums)
{
    const int8_t *x = x_block->q[0][0];
    float32x4_t sum[3][4];
    load_cells(sums, STRIP, sum);
    for (int eights = n_blocks / 8; eights > 0; eights--)
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) multiply_block(&w, &x, sum);
    for (int rest = n_blocks % 8; rest > 0; rest--) multiply_block(&w, &x, sum);
    store_cells(sums, STRIP, sum);
}

static const struct tile tile = {PAIRS, multiply};
QUANTISED_PANELS(i8mm, &tile)
#define UNPACKED(NAME, name, values, bits, scales, has_offset) UNPACKED_PANEL(i8mm, &tile, NAME, name)
#include "simd/unpacked.def"
