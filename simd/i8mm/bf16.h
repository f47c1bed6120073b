/* bf16.h: rows of X in bf16 as bfmmla takes them, and the products of 12 rows by 8 columns, for float weights and for
   attention.

   A group is 12 rows: [k / 4][6 pairs of rows][2 rows][4 k], 96 bytes per 4 k. A cell of 2 x 2 outputs takes a pair of
   rows and a pair of columns, [2 columns][4 k], and adds 4 k at a time; a row's sum does not depend on its partner.
   Register plan: 24 cells, 4 W, 3 of the 6 pairs of X. */
#ifndef FKV_SIMD_I8MM_BF16_H
#define FKV_SIMD_I8MM_BF16_H

#include "simd/i8mm/i8mm.h"
#include "simd/neon/cells.h"
#include "simd/neon/load_many.h"

enum { GROUP_ROWS = 12, STEP_GROUP_BYTES = 96, CELL_COLUMNS = 8 };

static inline int row_groups(int m) { return (m + GROUP_ROWS - 1) / GROUP_ROWS; }

/* Where 4 k of a row go in a group. */
INLINE bfloat16_t *group_at(void *group, int row, int k)
{
    return (bfloat16_t *)((char *)group + (size_t)(k / 4) * STEP_GROUP_BYTES) + 4 * row;
}

/* n of x, then zeros up to padded_n, which divides by 4. x may be NULL when n is 0. */
INLINE void pack_row(const float *x, int n, int padded_n, void *group, int row)
{
    for (int k = 0; k < padded_n; k += 4)
        vst1_bf16(group_at(group, row, k), vcvt_bf16_f32(k < n ? load_first(x + k, n - k) : vdupq_n_f32(0)));
}

INLINE bfloat16x8_t as_bf16(int8x16_t v) { return vreinterpretq_bf16_s8(v); }

/* cells[6 or 12 rows][8 columns] += 4 k. *x moves on to the next 4 k. */
INLINE void multiply_cells(const int halves, const int8x16_t w[4], const int8_t **x, float32x4_t cell[2][3][4])
{
#pragma GCC unroll 2
    for (int h = 0; h < halves; h++) {
        int8x16_t xv[3];
        load_3(x, xv);
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++)
            cell[h][i / 4][i % 4] = vbfmmlaq_f32(cell[h][i / 4][i % 4], as_bf16(xv[i / 4]), as_bf16(w[i % 4]));
    }
    if (halves == 1) *x += STEP_GROUP_BYTES / 2;
}

INLINE void load_group(const int halves, const float *out, size_t stride, float32x4_t cell[2][3][4])
{
#pragma GCC unroll 2
    for (int h = 0; h < halves; h++) load_cells(out + (size_t)h * 6 * stride, stride, cell[h]);
}

INLINE void store_group(const int halves, float *out, size_t stride, const float32x4_t cell[2][3][4])
{
#pragma GCC unroll 2
    for (int h = 0; h < halves; h++) store_cells(out + (size_t)h * 6 * stride, stride, cell[h]);
}

#endif
