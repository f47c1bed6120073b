// Tiles of 8 by 8 matrices of halves, a subgroup 4 by 2 of them. SIDE: of a matrix.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
layout(local_size_x_id = 4) in;
#define SUBGROUPS 8u
#include "matrix.glsl"
#include "product.glsl"
#include "eights.glsl"
const uint TILE = 8u * SIDE, LD = EIGHTS + 1u, SIDE_EIGHTS = SIDE / 8u; // LD: of shared rows, in eights; odd, so that rows fall on different banks
uint place(uint row, uint eight) { return row * LD + eight; }
shared float result[SUBGROUPS * CELLS];
#define DOWN(each) each(_0, 0u) each(_1, 1u) each(_2, 2u) each(_3, 3u) // of a subgroup's matrices
#define NO_SUM(_i, i) Sums left##_i = Sums(0.0), right##_i = Sums(0.0);
#define NO_SUMS                                                                                                                                \
    const uint row_at = gl_SubgroupID % 2u * 4u * SIDE, col_at = gl_SubgroupID / 2u * 2u * SIDE; /* of this subgroup in the tile */            \
    DOWN(NO_SUM)
#define MULTIPLY_ROWS(_i, i)                                                                                                                   \
    {                                                                                                                                          \
        Left a;                                                                                                                                \
        coopMatLoad(a, sx, (row_at + SIDE * i) * LD + kk * SIDE_EIGHTS, LD, gl_CooperativeMatrixLayoutRowMajor);                               \
        left##_i = coopMatMulAdd(a, b0, left##_i);                                                                                             \
        right##_i = coopMatMulAdd(a, b1, right##_i);                                                                                           \
    }
#define MULTIPLY                                                                                                                               \
    [[unroll]] for (uint kk = 0u; kk < STEP / SIDE; kk++) {                                                                                    \
        Right b0, b1;                                                                                                                          \
        coopMatLoad(b0, sw, col_at * LD + kk * SIDE_EIGHTS, LD, gl_CooperativeMatrixLayoutColumnMajor);                                        \
        coopMatLoad(b1, sw, (col_at + SIDE) * LD + kk * SIDE_EIGHTS, LD, gl_CooperativeMatrixLayoutColumnMajor);                               \
        DOWN(MULTIPLY_ROWS)                                                                                                                    \
    }
#define STORE(sum, i, j)                                                                                                                       \
    coopMatStore(sum, result, gl_SubgroupID * CELLS, SIDE, gl_CooperativeMatrixLayoutRowMajor);                                                \
    subgroupBarrier();                                                                                                                         \
    for (uint e = gl_SubgroupInvocationID; e < CELLS; e += SUBGROUP)                                                                           \
        finish(row0 + row_at + SIDE * i + e / SIDE, col0 + col_at + SIDE * j + e % SIDE, result[gl_SubgroupID * CELLS + e]);                   \
    subgroupBarrier();
#define STORE_BOTH(_i, i) STORE(left##_i, i, 0u) STORE(right##_i, i, 1u)
#define FINISH DOWN(STORE_BOTH)
#include "product_halves.glsl"
