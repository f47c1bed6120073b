/* activations.h: the packed forms of X on the AVX2 level.

   x8, for a product with quantised weights: two planes, each a row of blocks (32 values of 4 rows) per group of 4 rows.
   8-bit weights are multiplied as 16 bit integers (vpmaddwd), so their plane keeps 16 bits of X: it costs nothing and
   makes X nearly exact. 4 to 6 bit weights are multiplied as bytes (vpmaddubsw). */
#ifndef FKV_SIMD_AVX2_ACTIVATIONS_H
#define FKV_SIMD_AVX2_ACTIVATIONS_H

#include "simd/avx2/avx2.h"

enum { X_ROWS = 4 }; /* rows of X per tile of a product with quantised weights */

struct x_block8 {                   /* 32 values of 4 rows: x = scale q */
    int8_t q[8][X_ROWS][4];         /* 4 consecutive k per row and step */
    int16_t start[X_ROWS][2];       /* -8 times the sum of q over k % 4 in {0, 1}, and in {2, 3} */
    int16_t start_16[2][X_ROWS][2]; /* -32 times the same sums over the first and the second 16 values */
    float scale[X_ROWS];
    float scaled_sum[X_ROWS]; /* scale * sum of q */
};

struct x_block16 { /* the same in 16 bits */
    int16_t q[16][X_ROWS][2];
    float scale[X_ROWS];
};

static inline int x8_groups(int m) { return (m + X_ROWS - 1) / X_ROWS; }
static inline size_t x8_first_plane_bytes(int m, int k)
{
    return ((size_t)x8_groups(m) * (size_t)(k / 32) * sizeof(struct x_block8) + 63) & ~(size_t)63;
}
static inline const struct x_block16 *x8_plane16(const void *packed, int m, int k)
{
    return (const struct x_block16 *)((const char *)packed + x8_first_plane_bytes(m, k));
}

/* x16, for a product with half-precision weights: the floats as they are, rows apart by other than a power of two so
   that a tile's rows do not share cache sets. */
static inline size_t x16_stride(int k) { return (size_t)k + 16; }

#endif
