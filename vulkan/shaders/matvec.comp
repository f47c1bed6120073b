#version 450
// y[n] = or += w[n][k] x + bias. A group makes 4 rows. The baseline: 16 invocations a row, of which every one takes 8 values at a time. With SUBGROUP
// all take part in each row, 64 or for long rows 256, so that x is read once for four.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#ifdef SUBGROUP
layout(local_size_x_id = 1) in;
#else
layout(local_size_x = 64) in;
#endif
PUSH(uint n; uint k; uint stride; uint has_bias; uint add;)
#include "weights.glsl"
layout(std430, set = 0, binding = 1) readonly buffer X { float x[]; };
layout(std430, set = 0, binding = 2) readonly buffer Bias { float bias[]; };
layout(std430, set = 0, binding = 3) buffer Y { float y[]; };

void finish(uint row, float v)
{
    if (row >= p.n) return;
    const uint to = p.at[3] + row;
    if (p.has_bias != 0u) v += bias[p.at[2] + row];
    y[to] = p.add != 0u ? y[to] + v : v;
}

#ifdef SUBGROUP
#extension GL_KHR_shader_subgroup_arithmetic : require
shared vec4 part[64]; // of each subgroup

void main()
{
    const uint row0 = GROUP * 4u;
    vec4 sum = vec4(0.0);
    for (uint k = LANE * 8u; k < p.k; k += gl_WorkGroupSize.x * 8u) {
        const uint i = p.at[1] + k;
        const vec4 lo = vec4(x[i], x[i + 1u], x[i + 2u], x[i + 3u]), hi = vec4(x[i + 4u], x[i + 5u], x[i + 6u], x[i + 7u]);
        for (uint r = 0u; r < 4u; r++) {
            if (row0 + r >= p.n) break;
            const Eight v = weights((row0 + r) * p.stride, k);
            sum[r] += dot(v.lo, lo) + dot(v.hi, hi);
        }
    }
    sum = subgroupAdd(sum);
    if (subgroupElect()) part[gl_SubgroupID] = sum;
    barrier();
    if (LANE >= 4u) return;
    float v = 0.0;
    for (uint i = 0u; i < gl_NumSubgroups; i++) v += part[i][LANE];
    finish(row0 + LANE, v);
}
#else
const uint LANES = 16u;
shared float part[64];

void main()
{
    const uint row = GROUP * 4u + LANE / LANES, lane = LANE % LANES;
    float sum = 0.0;
    if (row < p.n)
        for (uint k = lane * 8u; k < p.k; k += LANES * 8u) {
            const Eight v = weights(row * p.stride, k);
            const uint i = p.at[1] + k;
            sum += dot(v.lo, vec4(x[i], x[i + 1u], x[i + 2u], x[i + 3u])) + dot(v.hi, vec4(x[i + 4u], x[i + 5u], x[i + 6u], x[i + 7u]));
        }
    part[LANE] = sum;
    barrier();
    for (uint s = LANES / 2u; s > 0u; s >>= 1) {
        if (lane < s) part[LANE] += part[LANE + s];
        barrier();
    }
    if (lane == 0u) finish(row, part[LANE]);
}
#endif
