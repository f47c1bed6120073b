#version 450
// sums[head][scored] = the softmax rows of the window times their weights, added in their order, or the largest of them, for the entries of this
// prefill but the window. What a row of weight 0 holds does not count.
//   bases: [kv heads] entries before this prefill, then weight[w]
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
PUSH(uint heads; uint h0; uint query_heads; uint w; uint ld; uint scored; uint kv_heads; uint largest;)
layout(std430, set = 0, binding = 0) readonly buffer Logits { float logits[]; };
layout(std430, set = 0, binding = 1) readonly buffer Stats { float stats[]; };
layout(std430, set = 0, binding = 2) readonly buffer Bases { uint bases[]; };
layout(std430, set = 0, binding = 3) writeonly buffer Sums { float sums[]; };

void main()
{
    const uint i = INVOCATION % p.scored, head = INVOCATION / p.scored;
    if (head >= p.heads) return;
    const uint base = bases[p.at[2] + (p.h0 + head) / p.query_heads];
    float sum = 0.0;
    for (uint row = 0u; row < p.w; row++) {
        const float weight = uintBitsToFloat(bases[p.at[2] + p.kv_heads + row]);
        const uint stat = p.at[1] + 3u * (head * p.w + row);
        if (weight == 0.0 || float(base + i) < stats[stat + 2u]) continue;
        const float x = exp(logits[p.at[0] + (head * p.w + row) * p.ld + base + i] - stats[stat]) / stats[stat + 1u] * weight;
        sum = p.largest != 0u ? max(sum, x) : sum + x;
    }
    sums[p.at[3] + (p.h0 + head) * p.scored + i] = sum;
}
