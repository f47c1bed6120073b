#version 450
// g[kv head][scored] = the sums of its query heads, pooled (stride 1, an odd kernel) and added in their order. The maximum leaves out what lies
// past the ends; the average counts it as zeros.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
PUSH(uint kv_heads; uint query_heads; uint scored; uint kernel; uint average;)
layout(std430, set = 0, binding = 0) readonly buffer Sums { float sums[]; };
layout(std430, set = 0, binding = 1) writeonly buffer G { float g[]; };

float pool(uint start, uint i)
{
    const uint reach = p.kernel / 2u, lo = i < reach ? 0u : i - reach, hi = min(i + reach, p.scored - 1u);
    float x = p.average != 0u ? 0.0 : LOWEST;
    for (uint j = lo; j <= hi; j++) x = p.average != 0u ? x + sums[start + j] : max(x, sums[start + j]);
    return p.average != 0u ? x / float(p.kernel) : x;
}

void main()
{
    const uint i = INVOCATION % p.scored, kv = INVOCATION / p.scored;
    if (kv >= p.kv_heads) return;
    float sum = 0.0;
    for (uint j = 0u; j < p.query_heads; j++) sum += pool(p.at[0] + (kv * p.query_heads + j) * p.scored, i);
    g[p.at[1] + kv * p.scored + i] = sum;
}
