#version 450
// The tiles of product.comp; steps of 64 are bytes, whose products are integers; every 32 values have a factor, those of w a second one, that of a sum
// of x.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
layout(local_size_x = 256) in;
#extension GL_EXT_integer_dot_product : require
#include "product.glsl"
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
