#version 450
// Tiles of 64 rows of x by 64 of w, which is dequantised to steps of 32, an invocation 4 by 4 of it; a step fills the 16 KiB of shared memory that the
// baseline has.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
layout(local_size_x = 256) in;
#include "product.glsl"
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
