#version 450
// y[n] = the rows of x[heads][n] added in their order, in units of 2^-64: what is added are scores, of which the least would be subnormal numbers,
// which devices may take for zero. Values from 2^64 on count as infinite.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
PUSH(uint heads; uint n;)
layout(std430, set = 0, binding = 0) readonly buffer X { uint x[]; };
layout(std430, set = 0, binding = 1) writeonly buffer Y { float y[]; };

float scaled(uint bits)
{
    const uint magnitude = bits & 0x7fffffffu, exponent = magnitude >> 23;
    float v;
    if (exponent == 0u)
        v = float(magnitude) * 2.5849394142282115e-26; // 2^(64 - 149)
    else
        v = uintBitsToFloat(exponent == 255u ? magnitude : min(magnitude + (64u << 23), 0x7f800000u));
    return (bits >> 31) != 0u ? -v : v;
}

void main()
{
    if (INVOCATION >= p.n) return;
    float sum = 0.0;
    for (uint h = 0u; h < p.heads; h++) sum += scaled(x[p.at[0] + h * p.n + INVOCATION]);
    y[p.at[1] + INVOCATION] = sum;
}
