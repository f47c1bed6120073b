#version 450
// out[head][d] from the pieces that attend_one made, in their order.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 256) in;
PUSH(uint d; uint pieces; uint has_sinks;)
layout(std430, set = 0, binding = 0) readonly buffer Part { float part[]; };
layout(std430, set = 0, binding = 1) writeonly buffer Out { float result[]; };
#define SINKS 2
#include "sinks.glsl"

void main()
{
    const uint start = p.at[0] + GROUP * p.pieces * (p.d + 2u);
    float top = LOWEST;
    for (uint i = 0u; i < p.pieces; i++) top = max(top, part[start + i * (p.d + 2u) + p.d]);
    for (uint c = LANE; c < p.d; c += 256u) {
        float sum = 0.0, x = 0.0;
        for (uint i = 0u; i < p.pieces; i++) {
            const uint at = start + i * (p.d + 2u);
            const float weight = exp2(part[at + p.d] - top);
            sum += weight * part[at + p.d + 1u];
            x += weight * part[at + c];
        }
        result[p.at[1] + GROUP * p.d + c] = x / with_sink(sum, top, GROUP);
    }
}
