/* tile_f32.h: rows of floats times 16 columns, for float weights, attention and FastKV's scores:
   a[r][16] += sum over k of x[r][k] w[k][16], in the order of k.

   Register plan: 4 rows x 4 vectors: 16 sums, 4 W, 4 k of each row, whose lanes fmla takes. */
#ifndef FKV_SIMD_NEON_TILE_F32_H
#define FKV_SIMD_NEON_TILE_F32_H

#include "simd/neon/neon.h"

enum { TILE_ROWS = 4, COLUMNS = 16 };

/* Row k + lane of W, half of it at a time: more at once and the compiler moves sums about. */
#define FMA_LANE(lane)                                                                                  \
    _Pragma("GCC unroll 2") for (int i = 0; i < 4; i += 2)                                              \
    {                                                                                                   \
        const float32x4_t w0 = vld1q_f32(w[k + lane] + 4 * i), w1 = vld1q_f32(w[k + lane] + 4 * i + 4); \
        _Pragma("GCC unroll 4") for (int r = 0; r < rows; r++)                                          \
        {                                                                                               \
            a[r][i] = vfmaq_laneq_f32(a[r][i], w0, xv[r], lane);                                        \
            a[r][i + 1] = vfmaq_laneq_f32(a[r][i + 1], w1, xv[r], lane);                                \
        }                                                                                               \
    }

/* k is even. */
INLINE void multiply_rows(const int rows, const float *x, size_t ldx, const float (*w)[COLUMNS], int n_k,
                          float32x4_t a[TILE_ROWS][4])
{
    float32x4_t xv[TILE_ROWS];
    int k = 0;
    for (; k + 4 <= n_k; k += 4) {
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) xv[r] = vld1q_f32(x + (size_t)r * ldx + k);
        FMA_LANE(0)
        FMA_LANE(1)
        FMA_LANE(2)
        FMA_LANE(3)
    }
    if (k < n_k) {
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) xv[r] = vcombine_f32(vld1_f32(x + (size_t)r * ldx + k), vdup_n_f32(0));
        FMA_LANE(0)
        FMA_LANE(1)
    }
}
#undef FMA_LANE

/* out[r][16] = x w, or with `add` out += x w. */
INLINE void tile_rows(const int rows, bool add, const float *x, size_t ldx, const float (*w)[COLUMNS], int n_k,
                      float *out, size_t ldo)
{
    float32x4_t a[TILE_ROWS][4];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) a[r][i] = add ? vld1q_f32(out + (size_t)r * ldo + 4 * i) : vdupq_n_f32(0);
    multiply_rows(rows, x, ldx, w, n_k, a);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) vst1q_f32(out + (size_t)r * ldo + 4 * i, a[r][i]);
}

/* rows is 1 .. TILE_ROWS. */
INLINE void tile_f32(int rows, bool add, const float *x, size_t ldx, const float (*w)[COLUMNS], int n_k, float *out,
                     size_t ldo)
{
    switch (rows) {
    case 4: tile_rows(4, add, x, ldx, w, n_k, out, ldo); break;
    case 3: tile_rows(3, add, x, ldx, w, n_k, out, ldo); break;
    case 2: tile_rows(2, add, x, ldx, w, n_k, out, ldo); break;
    default: tile_rows(1, add, x, ldx, w, n_k, out, ldo);
    }
}

#endif
