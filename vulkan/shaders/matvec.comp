#version 450
// y[n] = w[n][k] x + bias, or what else finish.glsl says, of a row x, which may be normalised on the way: x / sqrt(mean(x^2) + eps) * norm. A group
// makes 4 rows. The baseline: 16 invocations a row, of which every one takes pairs of 8 values. With SUBGROUP all take part in each row, some
// subgroups or for long rows more, so that x is read once for four.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#ifdef SUBGROUP
layout(local_size_x_id = 1) in;
#else
layout(local_size_x = 64) in;
#endif
PUSH(uint n; uint k; uint stride; uint has_bias; uint how; uint has_norm; float eps;)
#include "weights.glsl"
layout(std430, set = 0, binding = 1) readonly buffer X { vec4 x[]; };
layout(std430, set = 0, binding = 2) readonly buffer Bias { float bias[]; };
layout(std430, set = 0, binding = 3) buffer Y { float y[]; };
layout(std430, set = 0, binding = 4) readonly buffer Norm { vec4 norm[]; };
#include "finish.glsl"

void finish(uint row, float v)
{
    if (row >= p.n) return;
    const uint to = p.at[3] + row;
    if (p.has_bias != 0u) v += bias[p.at[2] + row];
    y[to] = p.how == SET ? v : finished(v, y[to]);
}

// Adds the squares of x[k .. k + 7] to `squares`; what x is to be multiplied by.
Vector x_eight(uint k, inout float squares)
{
    const uint i = (p.at[1] + k) / 4u, j = (p.at[4] + k) / 4u;
    vec4 lo = x[i], hi = x[i + 1u];
    if (p.has_norm != 0u) {
        squares += dot(lo, lo) + dot(hi, hi);
        lo *= norm[j];
        hi *= norm[j + 1u];
    }
    return Vector(lo, hi, dot(lo + hi, vec4(1.0)));
}

float factor(float squares) { return p.has_norm != 0u ? 1.0 / sqrt(squares / float(p.k) + p.eps) : 1.0; }

#ifdef SUBGROUP
#extension GL_KHR_shader_subgroup_arithmetic : require
shared vec4 part[64]; // of each subgroup
shared float part_squares[64];

void main()
{
    const uint row0 = GROUP * 4u, pairs = p.k / 16u;
    vec4 sum = vec4(0.0);
    float squares = 0.0;
    for (uint i = LANE; i < pairs; i += gl_WorkGroupSize.x) {
        const uint k = pair_start(i);
        const Vector a = x_eight(k, squares), b = x_eight(k + apart(), squares);
        [[unroll]] for (uint r = 0u; r < 4u; r++) sum[r] += dot_pair(min(row0 + r, p.n - 1u) * p.stride, k, a, b);
    }
    sum = subgroupAdd(sum);
    squares = subgroupAdd(squares);
    if (subgroupElect()) {
        part[gl_SubgroupID] = sum;
        part_squares[gl_SubgroupID] = squares;
    }
    barrier();
    if (LANE >= 4u) return;
    float v = 0.0, all = 0.0;
    for (uint i = 0u; i < gl_NumSubgroups; i++) {
        v += part[i][LANE];
        all += part_squares[i];
    }
    finish(row0 + LANE, v * factor(all));
}
#else
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
#endif
