#version 450
// What the device computes in fp32 at most, for the bench: 8 chains of 256 x 8 fused multiply-adds an invocation, in registers.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
layout(local_size_x = 256) in;
PUSH(float a;)
layout(std430, set = 0, binding = 0) writeonly buffer Y { float y[]; };

void main()
{
    vec4 u = vec4(LANE), v = u + 0.5;
    [[dont_unroll]] for (uint i = 0u; i < 256u; i++)
        [[unroll]] for (uint j = 0u; j < 8u; j++) {
            u = fma(u, vec4(p.a), vec4(0.25));
            v = fma(v, vec4(p.a), vec4(0.75));
        }
    y[p.at[0] + INVOCATION] = dot(u, v);
}
