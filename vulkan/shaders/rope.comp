#version 450
// Rotates the pairs of every head of every row in place: channels 2i, 2i + 1 (pairs) or i, i + n_rot / 2.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
PUSH(uint n; uint heads; uint ld; uint d; uint n_rot; uint pairs;)
layout(std430, set = 0, binding = 0) buffer X { float x[]; };
layout(std430, set = 0, binding = 1) readonly buffer Table { float cos_sin[]; };
layout(std430, set = 0, binding = 2) readonly buffer Positions { uint pos[]; };

void main()
{
    const uint half_rot = p.n_rot / 2u, i = INVOCATION % half_rot, head = INVOCATION / half_rot % p.heads, row = INVOCATION / (half_rot * p.heads);
    if (row >= p.n) return;
    const uint angle = p.at[1] + pos[p.at[2] + row] * p.n_rot + 2u * i, start = p.at[0] + row * p.ld + head * p.d;
    const uint ia = start + (p.pairs != 0u ? 2u * i : i), ib = p.pairs != 0u ? ia + 1u : ia + half_rot;
    const float c = cos_sin[angle], s = cos_sin[angle + 1u], a = x[ia], b = x[ib];
    x[ia] = a * c - b * s;
    x[ib] = a * s + b * c;
}
