#version 450
// stats[head][w][3] = largest logit, sum of exp(logit - largest) and the first entry of a window row (a group) over the entries it sees: all but the
// window's rows after it, within a sliding window from position least[row] on.
//   keys: [kv heads] entries, least[w]
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 256) in;
// kv0: the first KV head of the positions.
PUSH(uint h0; uint query_heads; uint w; uint ld; uint kv0; uint kv_heads; uint pos_head; uint has_window; uint has_sinks;)
layout(std430, set = 0, binding = 0) readonly buffer Logits { float logits[]; };
layout(std430, set = 0, binding = 1) readonly buffer Keys { uint keys[]; };
layout(std430, set = 0, binding = 2) writeonly buffer Stats { float stats[]; };
#define POSITIONS 3
#include "window.glsl"
#define SINKS 4
#include "sinks.glsl"

const uint LANES = 256u;
#include "reduce.glsl"

void main()
{
    const uint h = p.h0 + GROUP / p.w, kv = h / p.query_heads, row = GROUP % p.w, n = keys[p.at[1] + kv] - p.w + row + 1u, start = p.at[0] + GROUP * p.ld;
    const uint first = p.has_window == 0u ? 0u : first_at(p.at[3] + (kv - p.kv0) * p.pos_head, n, int(keys[p.at[1] + p.kv_heads + row]));
    float top = LOWEST, sum = 0.0;
    for (uint i = first + LANE; i < n; i += 256u) top = max(top, logits[start + i]);
    top = reduce(top, true);
    for (uint i = first + LANE; i < n; i += 256u) sum += exp(logits[start + i] - top);
    sum = reduce(sum, false);
    if (LANE == 0u) {
        stats[p.at[2] + 3u * GROUP] = top;
        stats[p.at[2] + 3u * GROUP + 1u] = with_sink(sum, top * 1.44269504, h);
        stats[p.at[2] + 3u * GROUP + 2u] = float(first); // exact: entries are fewer than 2^24
    }
}
