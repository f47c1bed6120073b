#version 450
// y[m][n] = or += x[m][k] w[n][k]^T + bias. A group makes a tile of 64 rows of x by 64 of w: an invocation 4 by 4 of it, over steps of 32 along k
// that lie dequantised and transposed in shared memory: 16 KiB, all that the baseline has.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
layout(local_size_x = 256) in;
PUSH(uint m; uint n; uint k; uint ldx; uint ldy; uint stride; uint has_bias; uint add;)
#include "weights.glsl"
layout(std430, set = 0, binding = 1) readonly buffer X { float x[]; };
layout(std430, set = 0, binding = 2) readonly buffer Bias { float bias[]; };
layout(std430, set = 0, binding = 3) buffer Y { float y[]; };

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
        for (uint j = 0u; j < 4u; j++) {
            const uint row = row0 + ty * 4u + i, col = col0 + tx + 16u * j;
            if (row >= p.m || col >= p.n) continue;
            const uint to = p.at[3] + row * p.ldy + col;
            float v = sum[i][j];
            if (p.has_bias != 0u) v += bias[p.at[2] + col];
            y[to] = p.add != 0u ? y[to] + v : v;
        }
}
