#version 450
// stats[head][w][2] = largest logit and sum of exp(logit - largest) of a window row (a group) over the entries it sees: all but the window's
// rows after it.
//   keys: [kv heads] entries
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 256) in;
PUSH(uint h0; uint query_heads; uint w; uint ld;)
layout(std430, set = 0, binding = 0) readonly buffer Logits { float logits[]; };
layout(std430, set = 0, binding = 1) readonly buffer Keys { uint keys[]; };
layout(std430, set = 0, binding = 2) writeonly buffer Stats { float stats[]; };

const uint LANES = 256u;
#include "reduce.glsl"

void main()
{
    const uint head = GROUP / p.w, row = GROUP % p.w, n = keys[p.at[1] + (p.h0 + head) / p.query_heads] - p.w + row + 1u, start = p.at[0] + GROUP * p.ld;
    float top = LOWEST, sum = 0.0;
    for (uint i = LANE; i < n; i += 256u) top = max(top, logits[start + i]);
    top = reduce(top, true);
    for (uint i = LANE; i < n; i += 256u) sum += exp(logits[start + i] - top);
    sum = reduce(sum, false);
    if (LANE == 0u) {
        stats[p.at[2] + 2u * GROUP] = top;
        stats[p.at[2] + 2u * GROUP + 1u] = sum;
    }
}
