#version 450
// Writes entries of every head of a store, from rows of floats or from another store: an invocation makes 32 channels of one entry.
//   lists: to_first[heads], from_first[heads], count[heads], then, when there are rows, rows[heads][row_ld]
//   entry to_first[h] + i of head h = entry from_first[h] + (rows[h][i], or i), for i < count[h] <= n; their positions alike
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "kv.glsl"
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint FROM = 0u;
layout(constant_id = 1) const uint TO = 0u;
// head0: of the first head here in the lists, which are for all_heads. Strides in words.
PUSH(uint n; uint heads; uint head0; uint all_heads; uint d; uint chunks; uint row_ld; uint from_entry; uint from_head; uint to_entry; uint to_head;
     uint has_pos; uint from_positions; uint to_positions;)
layout(std430, set = 0, binding = 0) readonly buffer From { uint from[]; };
layout(std430, set = 0, binding = 1) buffer To { uint to[]; };
layout(std430, set = 0, binding = 2) readonly buffer Lists { uint lists[]; };
layout(std430, set = 0, binding = 3) readonly buffer FromPositions { uint from_pos[]; };
layout(std430, set = 0, binding = 4) writeonly buffer ToPositions { uint to_pos[]; };
KV_READER(read, FROM, from)

// Channels c .. c + 3; past d they are zero, and rows of floats do not have them (d is even).
vec4 value(uint entry, uint c)
{
    if (c + 3u < p.d) return read(entry, c, p.chunks);
    if (c >= p.d) return vec4(0.0);
    if (FROM == KV_F32) return vec4(uintBitsToFloat(uvec2(from[entry + c], from[entry + c + 1u])), 0.0, 0.0);
    return read(entry, c, p.chunks);
}

uint two(float a, float b)
{
    if (TO == KV_F16) return half_of_float(a) | half_of_float(b) << 16;
    return bf16_of_float(a) | bf16_of_float(b) << 16;
}

void write_q8_0(uint source, uint entry, uint chunk)
{
    float largest = 0.0;
    [[dont_unroll]] for (uint c = 0u; c < 32u; c += 4u) {
        const vec4 v = abs(value(source, chunk * 32u + c));
        largest = max(largest, max(max(v.x, v.y), max(v.z, v.w)));
    }
    const float scale = float_of_half(half_of_float(min(largest / 127.0, 65504.0)));
    to[entry + chunk] = floatBitsToUint(scale);
    [[dont_unroll]] for (uint c = 0u; c < 32u; c += 4u) {
        const vec4 v = value(source, chunk * 32u + c);
        const ivec4 q = scale > 0.0 ? ivec4(clamp(roundEven(v / scale), -127.0, 127.0)) & 255 : ivec4(0);
        to[entry + p.chunks + chunk * 8u + c / 4u] = uint(q.x | q.y << 8 | q.z << 16 | q.w << 24);
    }
}

void main()
{
    const uint chunk = INVOCATION % p.chunks, i = INVOCATION / p.chunks % p.n, h = INVOCATION / (p.chunks * p.n);
    if (h >= p.heads) return;
    const uint list = p.at[2] + p.head0 + h;
    if (i >= lists[list + 2u * p.all_heads]) return;
    const uint row = p.row_ld != 0u ? lists[p.at[2] + 3u * p.all_heads + (p.head0 + h) * p.row_ld + i] : i;
    const uint from_entry = lists[list + p.all_heads] + row, to_entry = lists[list] + i;
    const uint source = p.at[0] + h * p.from_head + from_entry * p.from_entry, entry = p.at[1] + h * p.to_head + to_entry * p.to_entry;
    if (p.has_pos != 0u && chunk == 0u) to_pos[p.at[4] + h * p.to_positions + to_entry] = from_pos[p.at[3] + h * p.from_positions + from_entry];
    if (TO == KV_Q8_0) {
        write_q8_0(source, entry, chunk);
        return;
    }
    BY_EIGHTS(i, 8u) {
        const uint c = chunk * 32u + 4u * i;
        const vec4 v = value(source, c);
        if (TO == KV_F32) {
            for (uint j = 0u; j < 4u; j++) to[entry + c + j] = floatBitsToUint(v[j]);
        } else {
            to[entry + c / 2u] = two(v.x, v.y);
            to[entry + c / 2u + 1u] = two(v.z, v.w);
        }
    }
}
