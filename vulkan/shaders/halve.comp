#version 450
// Rows of weights, or of floats, as rows of ld halves for the variants of `product` that multiply those: never infinite, zeros past k. An invocation
// makes eight.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
PUSH(uint n; uint k; uint stride; uint ld;)
#include "weights.glsl"
layout(std430, set = 0, binding = 1) writeonly buffer Y { uvec4 y[]; };

#ifdef HALF
#include "halves.glsl"
#else
uvec2 halves(vec4 v)
{
    v = clamp(v, -65504.0, 65504.0);
    return uvec2(half_of_float(v.x) | half_of_float(v.y) << 16, half_of_float(v.z) | half_of_float(v.w) << 16);
}
#endif

void main()
{
    const uint eights = p.ld / 8u, row = INVOCATION / eights, k = INVOCATION % eights * 8u;
    if (row >= p.n) return;
    Eight v = Eight(vec4(0.0), vec4(0.0));
    if (k < p.k) v = weights(row * p.stride, k);
    y[p.at[1] / 4u + INVOCATION] = uvec4(halves(v.lo), halves(v.hi));
}
