#version 450
// sums[head][scored] = the softmax rows of the window added, in their order, for the entries of this prefill but the window.
//   bases: [kv heads] entries before this prefill
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
PUSH(uint heads; uint h0; uint query_heads; uint w; uint ld; uint scored;)
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
        const uint stat = p.at[1] + 3u * (head * p.w + row);
        if (float(base + i) < stats[stat + 2u]) continue;
        sum += exp(logits[p.at[0] + (head * p.w + row) * p.ld + base + i] - stats[stat]) / stats[stat + 1u];
    }
    sums[p.at[3] + (p.h0 + head) * p.scored + i] = sum;
}
