#version 450
// y = x / sqrt(mean(x^2) + eps) * norm, or y += that, for every head of every row: a group each. y may be x.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 128) in;
PUSH(uint heads; uint d; uint ldx; uint ldy; float eps; uint add;)
layout(std430, set = 0, binding = 0) readonly buffer X { float x[]; };
layout(std430, set = 0, binding = 1) readonly buffer Norm { float norm[]; };
layout(std430, set = 0, binding = 2) buffer Y { float y[]; };

const uint LANES = 128u;
#include "reduce.glsl"

void main()
{
    const uint row = GROUP / p.heads, head = GROUP % p.heads, from = p.at[0] + row * p.ldx + head * p.d, to = p.at[2] + row * p.ldy + head * p.d;
    float sum = 0.0;
    for (uint c = LANE; c < p.d; c += 128u) sum += x[from + c] * x[from + c];
    const float factor = 1.0 / sqrt(reduce(sum, false) / float(p.d) + p.eps);
    for (uint c = LANE; c < p.d; c += 128u) {
        const float v = x[from + c] * factor * norm[p.at[1] + c];
        y[to + c] = p.add != 0u ? y[to + c] + v : v;
    }
}
