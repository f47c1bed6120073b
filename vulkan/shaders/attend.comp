#version 450
// Causal attention of many rows: out = softmax(q K^T scale) V, in one pass over the keys (the running maximum rescales what was summed before).
// Keys come in tiles of 32 (MATRIX8: 16), channels in chunks of 32. The baseline: a group serves 32 rows of one query head; 8 invocations share a row.
// With MATRIX: 64 rows (MATRIX8: 32), of which a subgroup has a quarter (its queries lie in registers) and half of the keys, then of the channels.
//   keys: seen[n], then base[kv heads]: row i sees base[kv] + seen[i] entries; seen ascends
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "kv.glsl"
#if defined(MATRIX) || defined(MATRIX8)
#include "matrix.glsl"
#else
layout(local_size_x = 256) in;
#endif
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

#if defined(MATRIX) || defined(MATRIX8)
const uint ROWS = 4u * SIDE, KEYS = 2u * SIDE, FOURS = 8u * CHUNKS;           // FOURS: of channels
const uint LD = FOURS + 2u, S_LD = KEYS / 4u + 1u, P_LD = KEYS / 4u + 2u;     // of shared rows, in fours; padded, so that rows fall on different banks
const uint SHARE = KEYS * FOURS / INVOCATIONS;                                // fours of a tile of K or V that an invocation brings
const uint LANES = INVOCATIONS / ROWS, LANE_FOURS = KEYS / 4u / LANES;        // invocations of a row; fours of its logits that each has
const uint FACTORS = (SIDE_FOURS + LANES - 1u) / LANES;                       // fours of factors that each writes
const uint ACROSS = 16u * CHUNKS / SIDE;                                      // a subgroup's matrices: of half of the channels
shared f16vec4 skv[2u * KEYS * LD], sp[ROWS * P_LD]; // K and V [key][channel], first the queries [row][channel]; weights [row][key]
shared vec4 ss[ROWS * S_LD];                         // logits [row][key]; then what the row's sums shrink by, SIDE times; at last results
shared float ssum[ROWS];
#ifdef MATRIX8
#define HALF_OF_CHANNELS(each) each(_0, 0u) each(_1, 1u) each(_2, 2u) each(_3, 3u) each(_4, 4u) each(_5, 5u) each(_6, 6u) each(_7, 7u)
#define ALL_CHANNELS(each) HALF_OF_CHANNELS(each) each(_8, 8u) each(_9, 9u) each(_10, 10u) each(_11, 11u) each(_12, 12u) each(_13, 13u) each(_14, 14u) each(_15, 15u)
#else
#define HALF_OF_CHANNELS(each) each(_0, 0u) each(_1, 1u) each(_2, 2u) each(_3, 3u)
#define ALL_CHANNELS(each) HALF_OF_CHANNELS(each) each(_4, 4u) each(_5, 5u) each(_6, 6u) each(_7, 7u)
#endif

#define HALVES_READER(name, type, buffer, read)                                                                                                \
    f16vec4 name(uint entry, uint c)                                                                                                           \
    {                                                                                                                                          \
        if (type != KV_F16) return halves(read(entry, c, CHUNKS));                                                                             \
        return f16vec4(unpackFloat2x16(buffer[entry + c / 2u]), unpackFloat2x16(buffer[entry + c / 2u + 1u]));                                 \
    }
HALVES_READER(halves_k, K_TYPE, k, read_k)
HALVES_READER(halves_v, V_TYPE, v, read_v)

float row_max(float v)
{
    [[unroll]] for (uint o = 1u; o < LANES; o <<= 1) v = max(v, subgroupShuffleXor(v, o));
    return v;
}

float row_sum(float v)
{
    [[unroll]] for (uint o = 1u; o < LANES; o <<= 1) v += subgroupShuffleXor(v, o);
    return v;
}

void main()
{
    const uint h = p.h0 + GROUP % p.heads, row0 = GROUP / p.heads * ROWS, kv = h / p.query_heads, row = LANE / LANES, lane = LANE % LANES;
    const uint base = keys[p.at[3] + p.n + kv], last = min(row0 + ROWS, p.n) - 1u;
    const uint most = base + keys[p.at[3] + last], n_keys = row0 + row < p.n ? base + keys[p.at[3] + row0 + row] : 0u;
    const uint k_start = p.at[1] + (kv - p.kv0) * p.k_head, v_start = p.at[2] + (kv - p.kv0) * p.v_head;
    const uint block = gl_SubgroupID % 4u * SIDE, part = gl_SubgroupID / 4u; // this subgroup's first row; its half of the keys, then of the channels
    for (uint i = LANE; i < ROWS * FOURS; i += INVOCATIONS) {
        const uint r = row0 + i / FOURS, c = i % FOURS * 4u, at = p.at[0] + r * p.ld + h * p.d + c;
        vec4 v = vec4(0.0);
        for (uint j = 0u; j < 4u; j++)
            if (r < p.n && c + j < p.d) v[j] = q[at + j] * p.scale;
        skv[i / FOURS * LD + i % FOURS] = halves(v);
    }
    barrier();
#define LOAD_Q(_c, c)                                                                                                                          \
    Left q##_c;                                                                                                                                \
    if (c < 2u * ACROSS) coopMatLoad(q##_c, skv, block * LD + SIDE_FOURS * c, LD, gl_CooperativeMatrixLayoutRowMajor);
    ALL_CHANNELS(LOAD_Q)
#define NO_SUMS(_c, c) Sums acc##_c = Sums(0.0);
    HALF_OF_CHANNELS(NO_SUMS)
    f16vec4 next_k[SHARE], next_v[SHARE];
    float top = LOWEST, sum = 0.0;
    for (uint k0 = 0u; k0 < most + KEYS; k0 += KEYS) { // the tile at k0 is fetched while the one before is used
        if (k0 > 0u) {
            barrier();
            [[unroll]] for (uint i = 0u; i < SHARE; i++) {
                const uint e = LANE + i * INVOCATIONS, to = e / FOURS * LD + e % FOURS;
                skv[to] = next_k[i];
                skv[KEYS * LD + to] = next_v[i];
            }
            barrier();
        }
        [[unroll]] for (uint i = 0u; i < SHARE; i++) {
            const uint e = LANE + i * INVOCATIONS, key = k0 + e / FOURS, c = e % FOURS * 4u;
            next_k[i] = next_v[i] = f16vec4(0.0); // what lies past the last may be no number
            if (key >= most) continue;
            next_k[i] = halves_k(k_start + key * p.k_entry, c);
            next_v[i] = halves_v(v_start + key * p.v_entry, c);
        }
        if (k0 == 0u) continue;
        Sums s = Sums(0.0);
#define MULTIPLY_Q(_c, c)                                                                                                                      \
        if (c < 2u * ACROSS) {                                                                                                                 \
            Right some_k;                                                                                                                      \
            coopMatLoad(some_k, skv, part * SIDE * LD + SIDE_FOURS * c, LD, gl_CooperativeMatrixLayoutColumnMajor);                            \
            s = coopMatMulAdd(q##_c, some_k, s);                                                                                               \
        }
        ALL_CHANNELS(MULTIPLY_Q)
        coopMatStore(s, ss, block * S_LD + part * SIDE_FOURS, S_LD, gl_CooperativeMatrixLayoutRowMajor);
        barrier();
        vec4 w[LANE_FOURS];
        float tile_top = top;
        [[unroll]] for (uint i = 0u; i < LANE_FOURS; i++) {
            const uint four = lane * LANE_FOURS + i, key = k0 - KEYS + 4u * four;
            w[i] = mix(vec4(LOWEST), ss[row * S_LD + four], lessThan(uvec4(key, key + 1u, key + 2u, key + 3u), uvec4(n_keys)));
            tile_top = max(tile_top, max(max(w[i].x, w[i].y), max(w[i].z, w[i].w)));
        }
        tile_top = row_max(tile_top);
        const bool any = tile_top > LOWEST;
        const float shrink = any ? exp2(top - tile_top) : 1.0;
        float more = 0.0;
        [[unroll]] for (uint i = 0u; i < LANE_FOURS; i++) {
            w[i] = any ? exp2(w[i] - tile_top) : vec4(0.0);
            more += w[i].x + w[i].y + w[i].z + w[i].w;
            sp[row * P_LD + lane * LANE_FOURS + i] = f16vec4(w[i]);
        }
        sum = sum * shrink + row_sum(more);
        top = tile_top;
        subgroupBarrier(); // the row's invocations have read it
        if (lane < SIDE_FOURS)
            [[unroll]] for (uint i = 0u; i < FACTORS; i++) ss[row * S_LD + lane * FACTORS + i] = vec4(shrink);
        barrier();
        Sums factor;
        Left weight0, weight1;
        coopMatLoad(factor, ss, block * S_LD, S_LD, gl_CooperativeMatrixLayoutRowMajor);
        coopMatLoad(weight0, sp, block * P_LD, P_LD, gl_CooperativeMatrixLayoutRowMajor);
        coopMatLoad(weight1, sp, block * P_LD + SIDE_FOURS, P_LD, gl_CooperativeMatrixLayoutRowMajor);
#define MULTIPLY_V(_c, c)                                                                                                                      \
        if (c < ACROSS) {                                                                                                                      \
            Right v0, v1;                                                                                                                      \
            coopMatLoad(v0, skv, KEYS * LD + (part * ACROSS + c) * SIDE_FOURS, LD, gl_CooperativeMatrixLayoutRowMajor);                        \
            coopMatLoad(v1, skv, (KEYS + SIDE) * LD + (part * ACROSS + c) * SIDE_FOURS, LD, gl_CooperativeMatrixLayoutRowMajor);               \
            acc##_c = coopMatMulAdd(weight1, v1, coopMatMulAdd(weight0, v0, acc##_c * factor));                                                \
        }
        HALF_OF_CHANNELS(MULTIPLY_V)
    }
    if (lane == 0u) ssum[row] = sum;
    barrier();
#define STORE(_c, c)                                                                                                                           \
    if (c < ACROSS) {                                                                                                                          \
        coopMatStore(acc##_c, ss, gl_SubgroupID * CELLS / 4u, SIDE_FOURS, gl_CooperativeMatrixLayoutRowMajor);                                 \
        subgroupBarrier();                                                                                                                     \
        for (uint e = gl_SubgroupInvocationID; e < CELLS; e += SUBGROUP) {                                                                     \
            const uint at = block + e / SIDE, channel = (part * ACROSS + c) * SIDE + e % SIDE;                                                 \
            if (row0 + at < p.n && channel < p.d)                                                                                              \
                result[p.at[4] + (row0 + at) * p.ld + h * p.d + channel] = ss[(gl_SubgroupID * CELLS + e) / 4u][e % 4u] / ssum[at];            \
        }                                                                                                                                      \
        subgroupBarrier();                                                                                                                     \
    }
    HALF_OF_CHANNELS(STORE)
}
#else
const uint ROWS = 32u, KEYS = 32u, LD = 33u; // LD: of shared rows, odd so that columns fall on different banks
shared float sq[ROWS * LD], skv[KEYS * LD], sp[ROWS * LD];

void load_q(uint row, uint row0, uint c0, uint h, uint lane)
{
    for (uint j = 0u; j < 4u; j++) {
        const uint c = c0 + lane * 4u + j;
        sq[row * LD + lane * 4u + j] = row0 + row < p.n && c < p.d ? q[p.at[0] + (row0 + row) * p.ld + h * p.d + c] : 0.0;
    }
}

// Four channels of one entry to shared memory; those of entries that no row sees are zero, since what lies there may be no number.
void store(uint row, uint lane, vec4 a)
{
    for (uint j = 0u; j < 4u; j++) skv[row * LD + lane * 4u + j] = a[j];
}

void main()
{
    const uint h = p.h0 + GROUP % p.heads, row0 = GROUP / p.heads * ROWS, kv = h / p.query_heads, row = LANE / 8u, lane = LANE % 8u;
    const uint base = keys[p.at[3] + p.n + kv], last = min(row0 + ROWS, p.n) - 1u;
    const uint most = base + keys[p.at[3] + last], n_keys = row0 + row < p.n ? base + keys[p.at[3] + row0 + row] : 0u;
    const uint k_start = p.at[1] + (kv - p.kv0) * p.k_head, v_start = p.at[2] + (kv - p.kv0) * p.v_head;
    vec4 acc[CHUNKS];
    for (uint c = 0u; c < CHUNKS; c++) acc[c] = vec4(0.0);
    float top = LOWEST, sum = 0.0;
    for (uint k0 = 0u; k0 < most; k0 += KEYS) {
        float s[4] = float[4](0.0, 0.0, 0.0, 0.0); // of keys k0 + lane + 8 j
        const bool there = k0 + row < most;
        [[dont_unroll]] for (uint c = 0u; c < CHUNKS; c++) {
            load_q(row, row0, c * 32u, h, lane);
            const uint entry = k_start + (k0 + row) * p.k_entry, at = c * 32u + lane * 4u;
            store(row, lane, there ? read_k(entry, at, CHUNKS) : vec4(0.0));
            barrier();
            BY_EIGHTS(i, 32u)
                for (uint j = 0u; j < 4u; j++) s[j] = fma(sq[row * LD + i], skv[(lane + 8u * j) * LD + i], s[j]);
            barrier();
        }
        for (uint j = 0u; j < 4u; j++) sp[row * LD + lane + 8u * j] = k0 + lane + 8u * j < n_keys ? s[j] * p.scale : LOWEST;
        barrier();
        float tile_top = top;
        BY_EIGHTS(i, KEYS) tile_top = max(tile_top, sp[row * LD + i]);
        barrier();
        const bool any = tile_top > LOWEST;
        for (uint j = 0u; j < 4u; j++) {
            const uint i = row * LD + lane + 8u * j;
            sp[i] = any ? exp2(sp[i] - tile_top) : 0.0;
        }
        const float shrink = any ? exp2(top - tile_top) : 1.0;
        top = tile_top;
        barrier();
        sum *= shrink;
        BY_EIGHTS(i, KEYS) sum += sp[row * LD + i];
        [[unroll]] for (uint c = 0u; c < CHUNKS; c++) { // so that acc lies in registers
            const uint entry = v_start + (k0 + row) * p.v_entry, at = c * 32u + lane * 4u;
            store(row, lane, there ? read_v(entry, at, CHUNKS) : vec4(0.0));
            barrier();
            vec4 a = acc[c] * shrink;
            BY_EIGHTS(i, KEYS) {
                const uint from = i * LD + lane * 4u;
                a += sp[row * LD + i] * vec4(skv[from], skv[from + 1u], skv[from + 2u], skv[from + 3u]);
            }
            acc[c] = a;
            barrier();
        }
    }
    if (row0 + row >= p.n) return;
    for (uint c = 0u; c < CHUNKS; c++)
        for (uint j = 0u; j < 4u; j++) {
            const uint channel = c * 32u + lane * 4u + j;
            if (channel < p.d) result[p.at[4] + (row0 + row) * p.ld + h * p.d + channel] = acc[c][j] / sum;
        }
}
#endif
