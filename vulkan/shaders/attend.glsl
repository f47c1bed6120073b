// What the variants of `attend` share: causal attention of many rows: out = softmax(q K^T scale) V, in one pass over the keys (the running
// maximum rescales what was summed before). The last rows, which see the most, come first.
//   keys: seen[n], then base[kv heads]: row i sees base[kv] + seen[i] entries; seen ascends
layout(constant_id = 0) const uint K_TYPE = 0u;
layout(constant_id = 1) const uint V_TYPE = 0u;
layout(constant_id = 2) const uint CHUNKS = 1u; // of 32 channels
// kv0: the first KV head of these bindings; query heads h0 .. h0 + heads - 1 are done. scale: in units of log 2. Strides in words.
PUSH(uint n; uint heads; uint h0; uint kv0; uint query_heads; uint ld; uint d; float scale; uint k_entry; uint k_head; uint v_entry; uint v_head;)
layout(std430, set = 0, binding = 0) readonly buffer Q { float q[]; };
KV_BUFFER(1, K, k)
KV_BUFFER(2, V, v)
layout(std430, set = 0, binding = 3) readonly buffer Keys { uint keys[]; };
layout(std430, set = 0, binding = 4) writeonly buffer Out { float result[]; };
KV_READER(read_k, K_TYPE, k)
KV_READER(read_v, V_TYPE, v)
