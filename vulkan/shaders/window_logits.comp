#version 450
// logits[head][w][ld] = q k scale of up to 8 rows of the window (a group) over 256 entries of their KV head: an invocation an entry.
//   keys: [kv heads] entries
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "kv.glsl"
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint K_TYPE = 0u;
layout(constant_id = 1) const uint CHUNKS = 1u; // of 32 channels
// Query heads h0 .. h0 + heads - 1; the logits' first head is h0. kv0: the first KV head of the binding.
PUSH(uint heads; uint h0; uint kv0; uint query_heads; uint w; uint ldq; uint d; float scale; uint k_entry; uint k_head; uint ld; uint tiles;)
layout(std430, set = 0, binding = 0) readonly buffer Q { float q[]; };
KV_BUFFER(1, K, k)
layout(std430, set = 0, binding = 2) readonly buffer Keys { uint keys[]; };
layout(std430, set = 0, binding = 3) writeonly buffer Logits { float logits[]; };
KV_READER(read_k, K_TYPE, k)

const uint ROWS = 8u, D = 32u * CHUNKS;
shared float sq[ROWS * D]; // 16 KiB for heads of 512

void main()
{
    const uint tile = GROUP % p.tiles, head = GROUP / p.tiles % p.heads, row0 = GROUP / (p.tiles * p.heads) * ROWS;
    const uint h = p.h0 + head, kv = h / p.query_heads, entry = tile * 256u + LANE;
    for (uint i = 0u; i < ROWS; i++)
        for (uint c = LANE; c < D; c += 256u)
            sq[i * D + c] = c < p.d && row0 + i < p.w ? q[p.at[0] + (row0 + i) * p.ldq + h * p.d + c] : 0.0;
    barrier();
    if (entry >= keys[p.at[2] + kv]) return;
    const uint start = p.at[1] + (kv - p.kv0) * p.k_head + entry * p.k_entry;
    float sum[ROWS];
    for (uint i = 0u; i < ROWS; i++) sum[i] = 0.0;
    [[dont_unroll]] for (uint c = 0u; c < D; c += 4u) {
        const vec4 value = read_k(start, c, CHUNKS);
        for (uint i = 0u; i < ROWS; i++) {
            const uint at = i * D + c;
            sum[i] += dot(vec4(sq[at], sq[at + 1u], sq[at + 2u], sq[at + 3u]), value);
        }
    }
    for (uint i = 0u; i < ROWS && row0 + i < p.w; i++) logits[p.at[3] + (head * p.w + row0 + i) * p.ld + entry] = sum[i] * p.scale;
}
