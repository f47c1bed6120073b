#version 450
// A group serves 32 rows of one query head, 8 invocations a row; keys come in tiles of 32, channels in chunks of 32.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "kv.glsl"
layout(local_size_x = 256) in;
#include "attend.glsl"

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
    const uint h = p.h0 + GROUP % p.heads, row0 = ((p.n - 1u) / ROWS - GROUP / p.heads) * ROWS, kv = h / p.query_heads, row = LANE / 8u, lane = LANE % 8u;
    const uint most = end_of(min(row0 + ROWS, p.n) - 1u, kv), begin = first_of(row0, kv, end_of(row0, kv)) / KEYS * KEYS;
    const uint end = row0 + row < p.n ? end_of(row0 + row, kv) : 0u, first = row0 + row < p.n ? first_of(row0 + row, kv, end) : 0u;
    const uint k_start = p.at[1] + (kv - p.kv0) * p.k_head, v_start = p.at[2] + (kv - p.kv0) * p.v_head;
    vec4 acc[CHUNKS];
    for (uint c = 0u; c < CHUNKS; c++) acc[c] = vec4(0.0);
    float top = LOWEST, sum = 0.0;
    for (uint k0 = begin; k0 < most; k0 += KEYS) {
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
        for (uint j = 0u; j < 4u; j++) sp[row * LD + lane + 8u * j] = k0 + lane + 8u * j - first < end - first ? s[j] * p.scale : LOWEST;
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
    sum = with_sink(sum, top, h);
    for (uint c = 0u; c < CHUNKS; c++)
        for (uint j = 0u; j < 4u; j++) {
            const uint channel = c * 32u + lane * 4u + j;
            if (channel < p.d) result[p.at[4] + (row0 + row) * p.ld + h * p.d + channel] = acc[c][j] / sum;
        }
}
