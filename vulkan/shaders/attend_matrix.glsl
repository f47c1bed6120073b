// Four matrices of rows (SIDE each), a quarter for each of four subgroups, which share only the tiles of SIDE keys: queries, sums and their softmax are
// their own. GROWS: do the sums shrink? CHANNELS: a name and a number for each matrix of 128 channels.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "kv.glsl"
layout(local_size_x_id = 5) in;
#define SUBGROUPS 4u
#include "matrix.glsl"
#extension GL_KHR_shader_subgroup_vote : require
#include "attend.glsl"

const uint ROWS = 4u * SIDE, KEYS = SIDE, EIGHTS = 4u * CHUNKS, ACROSS = 32u * CHUNKS / SIDE; // EIGHTS of channels, which ACROSS matrices hold
const uint LD = EIGHTS + 1u, SIDE_EIGHTS = SIDE / 8u;                         // of shared rows, in eights; odd, so that rows fall on different banks
const uint S_LD = SIDE_FOURS + 1u, P_LD = SIDE_FOURS + 2u;                    // the same in fours
const uint TILE = KEYS * EIGHTS, SHARE = (TILE + INVOCATIONS - 1u) / INVOCATIONS; // eights of a tile of K or V, and an invocation's
const uint LANES = SUBGROUP / SIDE, LANE_FOURS = SIDE_FOURS / LANES;          // invocations of a row; fours of its logits that each has
shared uvec4 skv[2u * KEYS * LD];  // halves of K and V [key][channel]; first of the queries [row][channel]
shared f16vec4 sp[ROWS * P_LD];    // weights [row][key]
shared vec4 ss[ROWS * S_LD];       // logits [row][key]; what the row's sums shrink by, SIDE times; at last results

// Channels c .. c + 7 of the entry that begins at word `entry`.
#define EIGHT_READER(name, type, eights, read)                                                                                                 \
    uvec4 name(uint entry, uint c)                                                                                                             \
    {                                                                                                                                          \
        if (type == KV_F16) return eights[(entry + c / 2u) / 4u];                                                                              \
        return uvec4(halves(read(entry, c, CHUNKS)), halves(read(entry, c + 4u, CHUNKS)));                                                     \
    }
layout(std430, set = 0, binding = 1) readonly buffer KEights { uvec4 k_eights[]; };
layout(std430, set = 0, binding = 2) readonly buffer VEights { uvec4 v_eights[]; };
EIGHT_READER(eight_k, K_TYPE, k_eights, read_k)
EIGHT_READER(eight_v, V_TYPE, v_eights, read_v)

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
    const uint h = p.h0 + GROUP % p.heads, row0 = ((p.n - 1u) / ROWS - GROUP / p.heads) * ROWS, kv = h / p.query_heads;
    const uint block = gl_SubgroupID * SIDE, row = block + gl_SubgroupInvocationID / LANES, lane = gl_SubgroupInvocationID % LANES;
    const uint most = end_of(min(row0 + ROWS, p.n) - 1u, kv), begin = first_of(row0, kv, end_of(row0, kv)) / KEYS * KEYS;
    const uint end = row0 + row < p.n ? end_of(row0 + row, kv) : 0u, first = row0 + row < p.n ? first_of(row0 + row, kv, end) : 0u;
    const uint k_start = p.at[1] + (kv - p.kv0) * p.k_head, v_start = p.at[2] + (kv - p.kv0) * p.v_head;
#define NO_MATRIX(_c, c) Left q##_c; Sums acc##_c = Sums(0.0);
    CHANNELS(NO_MATRIX)
    for (uint at = 0u; at < ROWS; at += 2u * KEYS) { // the queries, through the memory of K and V
        barrier();
        for (uint i = LANE; i < 2u * KEYS * EIGHTS; i += INVOCATIONS) {
            const uint r = row0 + at + i / EIGHTS, c = i % EIGHTS * 8u, from = p.at[0] + r * p.ld + h * p.d + c;
            vec4 v[2] = vec4[2](vec4(0.0), vec4(0.0));
            [[unroll]] for (uint j = 0u; j < 8u; j++)
                if (r < p.n && c + j < p.d) v[j / 4u][j % 4u] = q[from + j] * p.scale;
            skv[i / EIGHTS * LD + i % EIGHTS] = uvec4(halves(v[0]), halves(v[1]));
        }
        barrier();
        if (block < at || block >= at + 2u * KEYS) continue;
#define LOAD_Q(_c, c)                                                                                                                          \
        if (c < ACROSS) coopMatLoad(q##_c, skv, (block - at) * LD + SIDE_EIGHTS * c, LD, gl_CooperativeMatrixLayoutRowMajor);
        CHANNELS(LOAD_Q)
    }
    uvec4 next_k[SHARE], next_v[SHARE];
    float top = LOWEST, sum = 0.0; // sum: over this invocation's keys
    for (uint k0 = begin; k0 < most + KEYS; k0 += KEYS) { // the tile at k0 is fetched while the one before is used
        barrier();
        if (k0 > begin)
            [[unroll]] for (uint i = 0u; i < SHARE; i++) {
                const uint e = LANE + i * INVOCATIONS, to = e / EIGHTS * LD + e % EIGHTS;
                if (TILE % INVOCATIONS != 0u && e >= TILE) continue;
                skv[to] = next_k[i];
                skv[KEYS * LD + to] = next_v[i];
            }
        barrier();
        [[unroll]] for (uint i = 0u; i < SHARE; i++) {
            const uint e = LANE + i * INVOCATIONS, key = k0 + e / EIGHTS, c = e % EIGHTS * 8u;
            next_k[i] = next_v[i] = uvec4(0u); // what lies past the last may be no number
            if (key >= most) continue;
            next_k[i] = eight_k(k_start + key * p.k_entry, c);
            next_v[i] = eight_v(v_start + key * p.v_entry, c);
        }
        if (k0 == begin) continue;
        Sums s = Sums(0.0);
#define MULTIPLY_Q(_c, c)                                                                                                                      \
        if (c < ACROSS) {                                                                                                                      \
            Right some_k;                                                                                                                      \
            coopMatLoad(some_k, skv, SIDE_EIGHTS * c, LD, gl_CooperativeMatrixLayoutColumnMajor);                                              \
            s = coopMatMulAdd(q##_c, some_k, s);                                                                                               \
        }
        CHANNELS(MULTIPLY_Q)
        coopMatStore(s, ss, block * S_LD, S_LD, gl_CooperativeMatrixLayoutRowMajor);
        subgroupBarrier();
        vec4 w[LANE_FOURS];
        float tile_top = top;
        [[unroll]] for (uint i = 0u; i < LANE_FOURS; i++) {
            const uint four = lane * LANE_FOURS + i, key = k0 - KEYS + 4u * four - first;
            w[i] = mix(vec4(LOWEST), ss[row * S_LD + four], lessThan(uvec4(key, key + 1u, key + 2u, key + 3u), uvec4(end - first)));
            tile_top = max(tile_top, max(max(w[i].x, w[i].y), max(w[i].z, w[i].w)));
        }
        tile_top = row_max(tile_top);
        const bool any = tile_top > LOWEST;
        const float shrink = any ? exp2(top - tile_top) : 1.0;
        sum *= shrink;
        [[unroll]] for (uint i = 0u; i < LANE_FOURS; i++) {
            w[i] = any ? exp2(w[i] - tile_top) : vec4(0.0);
            sum += w[i].x + w[i].y + w[i].z + w[i].w;
            sp[row * P_LD + lane * LANE_FOURS + i] = f16vec4(w[i]);
        }
        top = tile_top;
        subgroupBarrier();
        if (GROWS) {
            [[unroll]] for (uint i = 0u; i < LANE_FOURS; i++) ss[row * S_LD + lane * LANE_FOURS + i] = vec4(shrink);
            subgroupBarrier();
            Sums factor;
            coopMatLoad(factor, ss, block * S_LD, S_LD, gl_CooperativeMatrixLayoutRowMajor);
#define SHRINK(_c, c) if (c < ACROSS) acc##_c = acc##_c * factor;
            CHANNELS(SHRINK)
        }
        Left weight;
        coopMatLoad(weight, sp, block * P_LD, P_LD, gl_CooperativeMatrixLayoutRowMajor);
#define MULTIPLY_V(_c, c)                                                                                                                      \
        if (c < ACROSS) {                                                                                                                      \
            Right some_v;                                                                                                                      \
            coopMatLoad(some_v, skv, KEYS * LD + SIDE_EIGHTS * c, LD, gl_CooperativeMatrixLayoutRowMajor);                                     \
            acc##_c = coopMatMulAdd(weight, some_v, acc##_c);                                                                                  \
        }
        CHANNELS(MULTIPLY_V)
    }
    sum = with_sink(row_sum(sum), top, h);
    subgroupBarrier();
#define STORE(_c, c)                                                                                                                           \
    if (c < ACROSS) {                                                                                                                          \
        coopMatStore(acc##_c, ss, block * S_LD, S_LD, gl_CooperativeMatrixLayoutRowMajor);                                                     \
        subgroupBarrier();                                                                                                                     \
        for (uint i = 0u; i < LANE_FOURS; i++) {                                                                                               \
            const uint four = lane * LANE_FOURS + i, channel = c * SIDE + 4u * four, to = p.at[4] + (row0 + row) * p.ld + h * p.d + channel;   \
            const vec4 v = ss[row * S_LD + four] / sum;                                                                                        \
            for (uint j = 0u; j < 4u; j++)                                                                                                     \
                if (row0 + row < p.n && channel + j < p.d) result[to + j] = v[j];                                                              \
        }                                                                                                                                      \
        subgroupBarrier();                                                                                                                     \
    }
    CHANNELS(STORE)
}
