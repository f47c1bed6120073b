#version 450
// Attention of one row over a piece of 256 entries of one query head, not divided yet: part[head][piece][d + 2] = sums over the entries, then the
// largest logit (in units of log 2) and the sum of the weights. Pieces past a head's entries weigh nothing.
//   keys: [kv heads] the end of the entries seen; with a window they begin at position `least`
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "kv.glsl"
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint K_TYPE = 0u;
layout(constant_id = 1) const uint V_TYPE = 0u;
layout(constant_id = 2) const uint CHUNKS = 1u; // of 32 channels
PUSH(uint heads; uint h0; uint kv0; uint query_heads; uint d; uint pieces; float scale; uint k_entry; uint k_head; uint v_entry; uint v_head;
     uint pos_head; int least;)
layout(std430, set = 0, binding = 0) readonly buffer Q { float q[]; };
KV_BUFFER(1, K, k)
KV_BUFFER(2, V, v)
layout(std430, set = 0, binding = 3) readonly buffer Keys { uint keys[]; };
layout(std430, set = 0, binding = 4) writeonly buffer Part { float part[]; };
KV_READER(read_k, K_TYPE, k)
KV_READER(read_v, V_TYPE, v)
#define POSITIONS 5
#include "window.glsl"

const uint PIECE = 256u, FOURS = CHUNKS * 8u, SHARES = 256u / FOURS; // FOURS: of channels; SHARES: of the entries, among the invocations of a four
shared float sq[32u * CHUNKS], weight[PIECE];
shared vec4 shares[256];

const uint LANES = 256u;
#include "reduce.glsl"

void main()
{
    const uint h = p.h0 + GROUP % p.heads, piece = GROUP / p.heads, kv = h / p.query_heads, n_keys = keys[p.at[3] + kv], entry = piece * PIECE + LANE;
    const uint k_start = p.at[1] + (kv - p.kv0) * p.k_head, v_start = p.at[2] + (kv - p.kv0) * p.v_head;
    const uint first = p.least > 0 ? first_at(p.at[5] + (kv - p.kv0) * p.pos_head, n_keys, p.least) : 0u;
    const bool is_seen = entry - first < n_keys - first;
    for (uint c = LANE; c < 32u * CHUNKS; c += PIECE) sq[c] = c < p.d ? q[p.at[0] + h * p.d + c] : 0.0;
    barrier();
    float logit = LOWEST;
    if (is_seen) {
        float sum = 0.0;
        [[dont_unroll]] for (uint c = 0u; c < CHUNKS * 32u; c += 4u) sum += dot(vec4(sq[c], sq[c + 1u], sq[c + 2u], sq[c + 3u]), read_k(k_start + entry * p.k_entry, c, CHUNKS));
        logit = sum * p.scale;
    }
    const float top = reduce(logit, true);
    weight[LANE] = is_seen ? exp2(logit - top) : 0.0;
    const float sum = reduce(weight[LANE], false);
    const uint four = LANE % FOURS, share = LANE / FOURS, here = n_keys > piece * PIECE && first < piece * PIECE + PIECE ? min(n_keys - piece * PIECE, PIECE) : 0u;
    vec4 mine = vec4(0.0);
    if (share < SHARES)
        for (uint i = share; i < here; i += SHARES) mine += weight[i] * read_v(v_start + (piece * PIECE + i) * p.v_entry, 4u * four, CHUNKS);
    shares[LANE] = mine;
    barrier();
    const uint to = p.at[4] + (h * p.pieces + piece) * (p.d + 2u);
    if (share == 0u) {
        [[dont_unroll]] for (uint i = 1u; i < SHARES; i++) mine += shares[i * FOURS + four];
        for (uint j = 0u; j < 4u && 4u * four + j < p.d; j++) part[to + 4u * four + j] = mine[j];
    }
    if (LANE == 0u) {
        part[to + p.d] = top;
        part[to + p.d + 1u] = sum;
    }
}
