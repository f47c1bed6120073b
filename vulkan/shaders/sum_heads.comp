#version 450
// y[n] = the rows of x[heads][n] added in their order.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
PUSH(uint heads; uint n;)
layout(std430, set = 0, binding = 0) readonly buffer X { float x[]; };
layout(std430, set = 0, binding = 1) writeonly buffer Y { float y[]; };

void main()
{
    if (INVOCATION >= p.n) return;
    float sum = 0.0;
    for (uint h = 0u; h < p.heads; h++) sum += x[p.at[0] + h * p.n + INVOCATION];
    y[p.at[1] + INVOCATION] = sum;
}
