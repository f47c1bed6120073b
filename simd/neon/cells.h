/* cells.h: 6 rows of X by 8 columns as cells of 2 x 2, which is how matrix instructions leave them: cell[i][j] = rows
   2i and 2i + 1 by columns 2j and 2j + 1. In memory: out[6][stride]. */
#ifndef FKV_SIMD_NEON_CELLS_H
#define FKV_SIMD_NEON_CELLS_H

#include "simd/neon/neon.h"

INLINE void load_cells(const float *out, size_t stride, float32x4_t cell[3][4])
{
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
        const float *at = out + (size_t)(i / 2 * 2) * stride + i % 2 * 4;
        const float32x4_t a = vld1q_f32(at), b = vld1q_f32(at + stride);
        cell[i / 2][i % 2 * 2] = low_halves(a, b);
        cell[i / 2][i % 2 * 2 + 1] = high_halves(a, b);
    }
}

INLINE void store_cells(float *out, size_t stride, const float32x4_t cell[3][4])
{
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
        float *at = out + (size_t)(i / 2 * 2) * stride + i % 2 * 4;
        const float32x4_t a = cell[i / 2][i % 2 * 2], b = cell[i / 2][i % 2 * 2 + 1];
        vst1q_f32(at, low_halves(a, b));
        vst1q_f32(at + stride, high_halves(a, b));
    }
}

#endif
