#version 450
// y[m][n] = or += x[m][k] w[n][k]^T + bias, in tiles of which a group makes one, over steps of 32 along k that lie in shared memory, weights dequantised.
// The baseline: tiles of 64 rows of x by 64 of w, an invocation 4 by 4 of it; the steps fill the 16 KiB of shared memory that the baseline has.
// With MATRIX: tiles of 128 by 128 (MATRIX8: 64), a subgroup 4 by 2 cooperative matrices of it; the steps are halves, the next one waits in registers.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#if defined(MATRIX) || defined(MATRIX8)
#include "matrix.glsl"
#else
layout(local_size_x = 256) in;
#endif
PUSH(uint m; uint n; uint k; uint ldx; uint ldy; uint stride; uint has_bias; uint add;)
#include "weights.glsl"
layout(std430, set = 0, binding = 1) readonly buffer X { float x[]; };
layout(std430, set = 0, binding = 2) readonly buffer Bias { float bias[]; };
layout(std430, set = 0, binding = 3) buffer Y { float y[]; };

void finish(uint row, uint col, float v)
{
    if (row >= p.m || col >= p.n) return;
    const uint to = p.at[3] + row * p.ldy + col;
    if (p.has_bias != 0u) v += bias[p.at[2] + col];
    y[to] = p.add != 0u ? y[to] + v : v;
}

#if defined(MATRIX) || defined(MATRIX8)
layout(std430, set = 0, binding = 1) readonly buffer X4 { vec4 x4[]; };

#define DOWN(each) each(_0, 0u) each(_1, 1u) each(_2, 2u) each(_3, 3u) // of a subgroup's matrices

const uint TILE = 8u * SIDE, STEP = 32u, LD = STEP / 4u + 2u;  // LD: of shared rows, in fours; padded, so that rows fall on different banks
const uint SHARE = TILE * STEP / 8u / INVOCATIONS;             // of the eights of a step, an invocation's; of x it brings fours, twice as many
shared f16vec4 sx[TILE * LD], sw[TILE * LD];                   // [row][k]
shared float result[SUBGROUPS * CELLS];

// Four at a step from k on, of a row of the tile from row0 on; i numbers them.
vec4 x_four(uint row0, uint k, uint i)
{
    const uint row = row0 + i / (STEP / 4u), at = p.at[1] + row * p.ldx + k + i % (STEP / 4u) * 4u;
    if (row >= p.m) return vec4(0.0);
    return (p.at[1] | p.ldx) % 4u == 0u ? x4[at / 4u] : vec4(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
}

void main()
{
    const uint tiles_m = (p.m + TILE - 1u) / TILE, row0 = GROUP % tiles_m * TILE, col0 = GROUP / tiles_m * TILE;
    const uint row_at = gl_SubgroupID % 2u * 4u * SIDE, col_at = gl_SubgroupID / 2u * 2u * SIDE; // of this subgroup in the tile
    vec4 next_x[2u * SHARE];
    Eight next_w[SHARE];
#define NO_SUMS(_i, i) Sums left##_i = Sums(0.0), right##_i = Sums(0.0);
    DOWN(NO_SUMS)
    for (uint k0 = 0u; k0 < p.k + STEP; k0 += STEP) {
        if (k0 > 0u) {
            barrier();
            [[unroll]] for (uint i = 0u; i < 2u * SHARE; i++) {
                const uint four = LANE + i * INVOCATIONS;
                sx[four / (STEP / 4u) * LD + four % (STEP / 4u)] = halves(next_x[i]);
            }
            [[unroll]] for (uint i = 0u; i < SHARE; i++) {
                const uint e = LANE + i * INVOCATIONS, to = e / (STEP / 8u) * LD + e % (STEP / 8u) * 2u;
                sw[to] = halves(next_w[i].lo);
                sw[to + 1u] = halves(next_w[i].hi);
            }
            barrier();
        }
        if (k0 < p.k) {
            [[unroll]] for (uint i = 0u; i < 2u * SHARE; i++) next_x[i] = x_four(row0, k0, LANE + i * INVOCATIONS);
            [[unroll]] for (uint i = 0u; i < SHARE; i++) {
                const uint e = LANE + i * INVOCATIONS;
                next_w[i] = weights(min(col0 + e / (STEP / 8u), p.n - 1u) * p.stride, k0 + e % (STEP / 8u) * 8u);
            }
        }
        if (k0 == 0u) continue;
        [[unroll]] for (uint kk = 0u; kk < STEP / SIDE; kk++) {
            Right b0, b1;
            coopMatLoad(b0, sw, col_at * LD + kk * SIDE_FOURS, LD, gl_CooperativeMatrixLayoutColumnMajor);
            coopMatLoad(b1, sw, (col_at + SIDE) * LD + kk * SIDE_FOURS, LD, gl_CooperativeMatrixLayoutColumnMajor);
#define MULTIPLY(_i, i)                                                                                                                        \
            {                                                                                                                                  \
                Left a;                                                                                                                        \
                coopMatLoad(a, sx, (row_at + SIDE * i) * LD + kk * SIDE_FOURS, LD, gl_CooperativeMatrixLayoutRowMajor);                        \
                left##_i = coopMatMulAdd(a, b0, left##_i);                                                                                     \
                right##_i = coopMatMulAdd(a, b1, right##_i);                                                                                   \
            }
            DOWN(MULTIPLY)
        }
    }
#define STORE(sum, i, j)                                                                                                                       \
    coopMatStore(sum, result, gl_SubgroupID * CELLS, SIDE, gl_CooperativeMatrixLayoutRowMajor);                                                \
    subgroupBarrier();                                                                                                                         \
    for (uint e = gl_SubgroupInvocationID; e < CELLS; e += SUBGROUP)                                                                           \
        finish(row0 + row_at + SIDE * i + e / SIDE, col0 + col_at + SIDE * j + e % SIDE, result[gl_SubgroupID * CELLS + e]);                   \
    subgroupBarrier();
#define STORE_BOTH(_i, i) STORE(left##_i, i, 0u) STORE(right##_i, i, 1u)
    DOWN(STORE_BOTH)
}
#else
const uint TILE = 64u, STEP = 32u;
shared float sx[STEP * TILE], sw[STEP * TILE]; // [k][row]

void main()
{
    const uint tiles_m = (p.m + TILE - 1u) / TILE, row0 = GROUP % tiles_m * TILE, col0 = GROUP / tiles_m * TILE;
    const uint tx = LANE % 16u, ty = LANE / 16u;
    const uint load = LANE / 4u, part = LANE % 4u * 8u; // this invocation brings 8 values of one row of each
    float sum[4][4];
    for (uint i = 0u; i < 4u; i++)
        for (uint j = 0u; j < 4u; j++) sum[i][j] = 0.0;
    for (uint k0 = 0u; k0 < p.k; k0 += STEP) {
        const bool row_there = row0 + load < p.m, col_there = col0 + load < p.n;
        const uint from = p.at[1] + (row0 + load) * p.ldx + k0 + part;
        for (uint j = 0u; j < 8u; j++) sx[(part + j) * TILE + load] = row_there ? x[from + j] : 0.0;
        Eight v = Eight(vec4(0.0), vec4(0.0));
        if (col_there) v = weights((col0 + load) * p.stride, k0 + part);
        for (uint j = 0u; j < 4u; j++) {
            sw[(part + j) * TILE + load] = v.lo[j];
            sw[(part + 4u + j) * TILE + load] = v.hi[j];
        }
        barrier();
        BY_EIGHTS(kk, STEP) {
            float a[4], b[4];
            for (uint i = 0u; i < 4u; i++) a[i] = sx[kk * TILE + ty * 4u + i];
            for (uint j = 0u; j < 4u; j++) b[j] = sw[kk * TILE + tx + 16u * j];
            for (uint i = 0u; i < 4u; i++)
                for (uint j = 0u; j < 4u; j++) sum[i][j] = fma(a[i], b[j], sum[i][j]);
        }
        barrier();
    }
    for (uint i = 0u; i < 4u; i++)
        for (uint j = 0u; j < 4u; j++) finish(row0 + ty * 4u + i, col0 + tx + 16u * j, sum[i][j]);
}
#endif
