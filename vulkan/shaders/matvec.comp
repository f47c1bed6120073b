#version 450
// 16 invocations a row, of which every one takes pairs of 8 values.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
layout(local_size_x = 64) in;
#include "matvec.glsl"

const uint LANES = 16u;
shared vec2 part[64]; // sum, squares

void main()
{
    const uint row = GROUP * 4u + LANE / LANES, lane = LANE % LANES, pairs = p.k / 16u;
    vec2 sum = vec2(0.0);
    for (uint i = lane; i < pairs; i += LANES) {
        const uint k = pair_start(i);
        const Vector a = x_eight(k, sum.y), b = x_eight(k + apart(), sum.y);
        sum.x += dot_pair(min(row, p.n - 1u) * p.stride, k, a, b);
    }
    part[LANE] = sum;
    barrier();
    for (uint s = LANES / 2u; s > 0u; s >>= 1) {
        if (lane < s) part[LANE] += part[LANE + s];
        barrier();
    }
    if (lane == 0u) finish(row, part[LANE].x * factor(part[LANE].y));
}
