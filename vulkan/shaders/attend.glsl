// What the variants of `attend` share: causal attention of many rows: out = softmax(q K^T scale) V, in one pass over the keys (the running
// maximum rescales what was summed before). The last rows, which see the most, come first.
//   keys: hidden[n], least[n], count[kv heads]: row i sees the entries before count[kv] - hidden[i], where there is a window from position least[i]
//   on; hidden descends, least ascends
layout(constant_id = 0) const uint K_TYPE = 0u;
layout(constant_id = 1) const uint V_TYPE = 0u;
layout(constant_id = 2) const uint CHUNKS = 1u; // of 32 channels
// kv0: the first KV head of these bindings; query heads h0 .. h0 + heads - 1 are done. scale: in units of log 2. Strides in words.
PUSH(uint n; uint heads; uint h0; uint kv0; uint query_heads; uint ld; uint d; float scale; uint k_entry; uint k_head; uint v_entry; uint v_head;
     uint pos_head; uint has_window; uint has_sinks;)
layout(std430, set = 0, binding = 0) readonly buffer Q { float q[]; };
KV_BUFFER(1, K, k)
KV_BUFFER(2, V, v)
layout(std430, set = 0, binding = 3) readonly buffer Keys { uint keys[]; };
layout(std430, set = 0, binding = 4) writeonly buffer Out { float result[]; };
KV_READER(read_k, K_TYPE, k)
KV_READER(read_v, V_TYPE, v)
#define POSITIONS 5
#include "window.glsl"
#define SINKS 6
#include "sinks.glsl"

uint end_of(uint row, uint kv) { return keys[p.at[3] + 2u * p.n + kv] - keys[p.at[3] + row]; }

// The first entry that a row sees, of those before `end`.
uint first_of(uint row, uint kv, uint end)
{
    return p.has_window == 0u ? 0u : first_at(p.at[5] + (kv - p.kv0) * p.pos_head, end, int(keys[p.at[3] + p.n + row]));
}
