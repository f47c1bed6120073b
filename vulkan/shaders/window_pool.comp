#version 450
// g[kv head][scored] = the sums of its query heads, pooled (stride 1, an odd kernel) and added in their order; or the largest of its query heads,
// pooled. The maximum leaves out what lies past the ends; the average counts it as zeros. At last the best of the entry and `span` before it.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
PUSH(uint kv_heads; uint query_heads; uint scored; uint kernel; uint average; uint largest; uint span;)
layout(std430, set = 0, binding = 0) readonly buffer Sums { float sums[]; };
layout(std430, set = 0, binding = 1) writeonly buffer G { float g[]; };

// The largest sum of `heads` query heads at an entry.
float largest(uint start, uint heads, uint j)
{
    float x = sums[start + j];
    for (uint h = 1u; h < heads; h++) x = max(x, sums[start + h * p.scored + j]);
    return x;
}

float pool(uint start, uint heads, uint i)
{
    const uint reach = p.kernel / 2u, lo = i < reach ? 0u : i - reach, hi = min(i + reach, p.scored - 1u);
    float x = p.average != 0u ? 0.0 : LOWEST;
    for (uint j = lo; j <= hi; j++) x = p.average != 0u ? x + largest(start, heads, j) : max(x, largest(start, heads, j));
    return p.average != 0u ? x / float(p.kernel) : x;
}

float score(uint kv, uint i)
{
    const uint start = p.at[0] + kv * p.query_heads * p.scored;
    if (p.largest != 0u) return pool(start, p.query_heads, i);
    float sum = 0.0;
    for (uint j = 0u; j < p.query_heads; j++) sum += pool(start + j * p.scored, 1u, i);
    return sum;
}

void main()
{
    const uint i = INVOCATION % p.scored, kv = INVOCATION / p.scored;
    if (kv >= p.kv_heads) return;
    float best = score(kv, i);
    for (uint back = 1u; back <= min(p.span, i); back++) best = max(best, score(kv, i - back));
    g[p.at[1] + kv * p.scored + i] = best;
}
