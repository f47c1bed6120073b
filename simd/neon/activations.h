/* activations.h: the packed forms of X, the same on all ARM levels.

   x8 holds groups of 6 rows: a row of x_block per group, then, for weights with an offset, the sums of the blocks. A
   pair of rows by 8 k is one vector, which is what smmla takes, what smull takes by halves, and where sdot finds 4 k of
   a row in each lane. */
#ifndef FKV_SIMD_NEON_ACTIVATIONS_H
#define FKV_SIMD_NEON_ACTIVATIONS_H

#include "simd/neon/neon.h"

enum { X_ROWS = 6 };

struct x_block {                /* 32 values of 6 rows: x = scale q */
    int8_t q[4][X_ROWS][8];     /* 8 consecutive k per row and step */
    float scale[X_ROWS / 2][4]; /* of a pair of rows: s0, s0, s1, s1 */
};

struct x_sums {
    float sum[X_ROWS]; /* scale times the sum of q */
    float padding[2];
};

static inline int x8_groups(int m) { return (m + X_ROWS - 1) / X_ROWS; }
static inline const struct x_block *x8_blocks(const void *packed) { return packed; }
static inline const struct x_sums *x8_sums(const void *packed, int m, int k)
{
    return (const struct x_sums *)(x8_blocks(packed) + (size_t)x8_groups(m) * (size_t)(k / 32));
}

/* x16 of neon and dotprod: the floats as they are, rows apart by other than a power of two so that a tile's rows do not
   share cache sets. */
static inline size_t x16_stride(int k) { return (size_t)k + 16; }

/* v8, one vector for decode. */
struct v8 {
    const int8_t *q;         /* [k] */
    const float *scale;      /* [k / 32] */
    const float *scaled_sum; /* [k / 32] scale times the sum of q */
};

static inline struct v8 v8_view(const void *packed, int k)
{
    const float *scale = (const float *)((const int8_t *)packed + k);
    return (struct v8){packed, scale, scale + k / 32};
}

#endif
