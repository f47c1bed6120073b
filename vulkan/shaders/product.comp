#version 450
// y[m][n] = x[m][k] w[n][k]^T + bias, or what else finish.glsl says, in tiles of which a group makes one, over steps along k that lie in shared memory.
// The baseline: tiles of 64 rows of x by 64 of w, which is dequantised to steps of 32, an invocation 4 by 4 of it; a step fills the 16 KiB of shared
// memory that the baseline has.
// With HALF: the same tiles; x and w come as rows of ldx halves (halve.comp), zeros past k, in steps of 64; the next step waits in registers.
// With MATRIX: the same of tiles of 128 by 128 (MATRIX8: 64), a subgroup 4 by 2 cooperative matrices of it.
// With DOT: steps of 64 are bytes, whose products are integers; every 32 values have a factor, those of w a second one, that of a sum of x.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#if defined(MATRIX) || defined(MATRIX8)
#include "matrix.glsl"
#else
layout(local_size_x = 256) in;
#endif
#ifdef DOT
#extension GL_EXT_integer_dot_product : require
#endif
PUSH(uint m; uint n; uint k; uint ldx; uint ldy; uint stride; uint has_bias; uint how;)
layout(std430, set = 0, binding = 2) readonly buffer Bias { float bias[]; };
layout(std430, set = 0, binding = 3) buffer Y { float y[]; };
#include "finish.glsl"

void finish(uint row, uint col, float v)
{
    if (row >= p.m || col >= p.n) return;
    const uint to = p.at[3] + row * p.ldy + col;
    if (p.has_bias != 0u) v += bias[p.at[2] + col];
    y[to] = p.how == SET ? v : finished(v, y[to]);
}

#ifdef DOT
#include "weights.glsl"
layout(std430, set = 0, binding = 1) readonly buffer X { float x[]; };
layout(std430, set = 0, binding = 1) readonly buffer X4 { vec4 x4[]; };

// x[row][k .. k + 3]; zeros past the last row.
vec4 x_four(uint row, uint k)
{
    const uint at = p.at[1] + row * p.ldx + k;
    if (row >= p.m) return vec4(0.0);
    return (p.at[1] | p.ldx) % 4u == 0u ? x4[at / 4u] : vec4(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
}

const uint TILE = 64u, STEP = 64u, BLOCKS = STEP / 32u;
const bool HALF_BLOCKS = TYPE == Q6_K;           // w has a factor for every 16 values, and none of a sum
shared uvec4 sx[TILE * 4u], sw[TILE * 4u];       // [row][k], four words each
shared vec2 fx[TILE * BLOCKS], fw[TILE * BLOCKS]; // [row][block]: the factor and the sum; both factors

// Where 16 bytes of a row lie: eight rows' fall on different banks.
uint place(uint row, uint sixteen) { return row * 4u + (sixteen ^ row >> 1 & 3u); }

// Brings a block of 32 values of a row of x to the tile.
void bring_x(uint row, uint block, uint row0, uint k)
{
    vec4 v[8];
    vec4 top = vec4(0.0), sum = vec4(0.0);
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
        v[i] = k < p.k ? x_four(row0 + row, k + 4u * i) : vec4(0.0);
        top = max(top, abs(v[i]));
        sum += v[i];
    }
    const float most = max(max(top.x, top.y), max(top.z, top.w)), scale = most > 0.0 ? 127.0 / most : 0.0;
    uint q[8];
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
        const uvec4 b = uvec4(ivec4(roundEven(v[i] * scale))) & 255u;
        q[i] = b.x | b.y << 8 | b.z << 16 | b.w << 24;
    }
    sx[place(row, 2u * block)] = uvec4(q[0], q[1], q[2], q[3]);
    sx[place(row, 2u * block + 1u)] = uvec4(q[4], q[5], q[6], q[7]);
    fx[row * BLOCKS + block] = vec2(most / 127.0, sum.x + sum.y + sum.z + sum.w);
}

// The bytes with signs, middle() being zero.
uvec4 centred(uvec2 lo, uvec2 hi)
{
    const uvec4 q = uvec4(lo, hi);
    return middle() == 0u ? q : (q | 0x80808080u) - middle() * 0x01010101u ^ 0x80808080u;
}

void bring_w(uint row, uint block, uint col0, uint k)
{
    const uint at = min(col0 + row, p.n - 1u) * p.stride;
    if (k >= p.k) return; // x is zero there
    sw[place(row, 2u * block)] = centred(quants(at, k), quants(at, k + 8u));
    sw[place(row, 2u * block + 1u)] = centred(quants(at, k + 16u), quants(at, k + 24u));
    fw[row * BLOCKS + block] = HALF_BLOCKS ? vec2(factors(at, k).x, factors(at, k + 16u).x) : factors(at, k);
}

int dot16(uvec4 a, uvec4 b)
{
    return dotPacked4x8EXT(int(a.x), int(b.x)) + dotPacked4x8EXT(int(a.y), int(b.y)) + dotPacked4x8EXT(int(a.z), int(b.z)) + dotPacked4x8EXT(int(a.w), int(b.w));
}

void main()
{
    const uint tiles_m = (p.m + TILE - 1u) / TILE, row0 = GROUP % tiles_m * TILE, col0 = GROUP / tiles_m * TILE;
    const uint tx = LANE % 16u, ty = LANE / 16u, row = LANE % 128u / BLOCKS, block = LANE % BLOCKS; // half of the invocations bring x, half w
    vec4 sum[4];
    [[unroll]] for (uint i = 0u; i < 4u; i++) sum[i] = vec4(0.0);
    for (uint k0 = 0u; k0 < p.k; k0 += STEP) {
        if (LANE < 128u)
            bring_x(row, block, row0, k0 + 32u * block);
        else
            bring_w(row, block, col0, k0 + 32u * block);
        barrier();
        [[unroll]] for (uint b = 0u; b < BLOCKS; b++)
            [[unroll]] for (uint j = 0u; j < 4u; j++) {
                const uint col = tx + 16u * j;
                const uvec4 w0 = sw[place(col, 2u * b)], w1 = sw[place(col, 2u * b + 1u)];
                const vec2 f = fw[col * BLOCKS + b];
                [[unroll]] for (uint i = 0u; i < 4u; i++) {
                    const uint r = ty * 4u + i;
                    const int lo = dot16(sx[place(r, 2u * b)], w0), hi = dot16(sx[place(r, 2u * b + 1u)], w1);
                    const vec2 g = fx[r * BLOCKS + b];
                    sum[i][j] += HALF_BLOCKS ? g.x * (f.x * float(lo) + f.y * float(hi)) : g.x * f.x * float(lo + hi) + g.y * f.y;
                }
            }
        barrier();
    }
    [[unroll]] for (uint i = 0u; i < 4u; i++)
        [[unroll]] for (uint j = 0u; j < 4u; j++) finish(row0 + ty * 4u + i, col0 + tx + 16u * j, sum[i][j]);
}
#elif defined(MATRIX) || defined(MATRIX8) || defined(HALF)
layout(std430, set = 0, binding = 0) readonly buffer W { uvec4 w[]; };
layout(std430, set = 0, binding = 1) readonly buffer X { uvec4 x[]; };
const uint STEP = 64u, EIGHTS = STEP / 8u;
#ifdef HALF
const uint TILE = 64u, INVOCATIONS = 256u, LD = EIGHTS;
// Where an eight of a row lies: eight rows' fall on different banks.
uint place(uint row, uint eight) { return row * LD + (eight ^ row % LD); }
#else
const uint TILE = 8u * SIDE, LD = EIGHTS + 1u, SIDE_EIGHTS = SIDE / 8u; // LD: of shared rows, in eights; odd, so that rows fall on different banks
uint place(uint row, uint eight) { return row * LD + eight; }
shared float result[SUBGROUPS * CELLS];
#endif
const uint SHARE = TILE * EIGHTS / INVOCATIONS;                         // of the eights of a step, an invocation's
shared uvec4 sx[TILE * LD], sw[TILE * LD];                              // [row][k]

// What a subgroup, or with HALF an invocation, sums: NO_SUMS, MULTIPLY a step, FINISH.
#ifdef HALF
vec4 floats(uvec2 q) { return vec4(unpackFloat2x16(q.x), unpackFloat2x16(q.y)); }
#define NO_SUMS                                                                                                                                \
    const uint tx = LANE % 16u, ty = LANE / 16u;                                                                                               \
    vec4 sum[4];                                                                                                                               \
    [[unroll]] for (uint i = 0u; i < 4u; i++) sum[i] = vec4(0.0);
#define MULTIPLY                                                                                                                               \
    [[dont_unroll]] for (uint kk = 0u; kk < EIGHTS; kk++) {                                                                                    \
        vec4 lo[4], hi[4];                                                                                                                     \
        [[unroll]] for (uint j = 0u; j < 4u; j++) {                                                                                            \
            const uvec4 b = sw[place(tx + 16u * j, kk)];                                                                                       \
            lo[j] = floats(b.xy);                                                                                                              \
            hi[j] = floats(b.zw);                                                                                                              \
        }                                                                                                                                      \
        [[unroll]] for (uint i = 0u; i < 4u; i++) {                                                                                            \
            const uvec4 q = sx[place(ty * 4u + i, kk)];                                                                                        \
            const vec4 a = floats(q.xy), b = floats(q.zw);                                                                                     \
            sum[i] += vec4(dot(a, lo[0]), dot(a, lo[1]), dot(a, lo[2]), dot(a, lo[3]));                                                        \
            sum[i] += vec4(dot(b, hi[0]), dot(b, hi[1]), dot(b, hi[2]), dot(b, hi[3]));                                                        \
        }                                                                                                                                      \
    }
#define FINISH                                                                                                                                 \
    [[unroll]] for (uint i = 0u; i < 4u; i++)                                                                                                  \
        [[unroll]] for (uint j = 0u; j < 4u; j++) finish(row0 + ty * 4u + i, col0 + tx + 16u * j, sum[i][j]);
#else
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
#endif

void main()
{
    const uint tiles_m = (p.m + TILE - 1u) / TILE, row0 = GROUP % tiles_m * TILE, col0 = GROUP / tiles_m * TILE, ld = p.ldx / 8u;
    uvec4 next_x[SHARE], next_w[SHARE];
    NO_SUMS
    for (uint k = 0u; k <= ld; k += EIGHTS) { // the step at k is fetched while the one before is used
        if (k > 0u) {
            barrier();
            [[unroll]] for (uint i = 0u; i < SHARE; i++) {
                const uint e = LANE + i * INVOCATIONS, to = place(e / EIGHTS, e % EIGHTS);
                sx[to] = next_x[i];
                sw[to] = next_w[i];
            }
            barrier();
        }
        if (k < ld)
            [[unroll]] for (uint i = 0u; i < SHARE; i++) {
                const uint e = LANE + i * INVOCATIONS;
                next_x[i] = x[p.at[1] / 4u + min(row0 + e / EIGHTS, p.m - 1u) * ld + k + e % EIGHTS];
                next_w[i] = w[p.at[0] / 4u + min(col0 + e / EIGHTS, p.n - 1u) * ld + k + e % EIGHTS];
            }
        if (k == 0u) continue;
        MULTIPLY
    }
    FINISH
}
#else
#include "weights.glsl"
layout(std430, set = 0, binding = 1) readonly buffer X { float x[]; };
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
