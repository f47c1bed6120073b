#version 450
// Writes entries of every head of a store, from rows of floats or from another store: an invocation makes 32 channels of one entry.
//   lists: to_first[heads], from_first[heads], then, when has_rows, rows[heads][n]
//   entry to_first[h] + i of head h = entry from_first[h] + (rows[h][i], or i)
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "kv.glsl"
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint FROM = 0u;
layout(constant_id = 1) const uint TO = 0u;
// head0: of the first head here in the lists, which are for all_heads. Strides in words.
PUSH(uint n; uint heads; uint head0; uint all_heads; uint d; uint chunks; uint has_rows; uint from_entry; uint from_head; uint to_entry; uint to_head;)
layout(std430, set = 0, binding = 0) readonly buffer From { uint from[]; };
layout(std430, set = 0, binding = 1) buffer To { uint to[]; };
layout(std430, set = 0, binding = 2) readonly buffer Lists { uint lists[]; };
KV_READER(read, FROM, from)

// Channels c and c + 1; past d they are zero, and rows of floats do not have them.
vec2 value(uint entry, uint c)
{
    if (c + 1u < p.d) return read(entry, c, p.chunks);
    return vec2(0.0);
}

void write_q8_0(uint source, uint entry, uint chunk)
{
    float largest = 0.0;
    for (uint c = 0u; c < 32u; c += 2u) {
        const vec2 v = abs(value(source, chunk * 32u + c));
        largest = max(largest, max(v.x, v.y));
    }
    const float scale = float_of_half(half_of_float(min(largest / 127.0, 65504.0)));
    to[entry + chunk] = floatBitsToUint(scale);
    for (uint c = 0u; c < 32u; c += 4u) {
        const vec4 v = vec4(value(source, chunk * 32u + c), value(source, chunk * 32u + c + 2u));
        const ivec4 q = scale > 0.0 ? ivec4(clamp(roundEven(v / scale), -127.0, 127.0)) & 255 : ivec4(0);
        to[entry + p.chunks + chunk * 8u + c / 4u] = uint(q.x | q.y << 8 | q.z << 16 | q.w << 24);
    }
}

void main()
{
    const uint chunk = INVOCATION % p.chunks, i = INVOCATION / p.chunks % p.n, h = INVOCATION / (p.chunks * p.n);
    if (h >= p.heads) return;
    const uint list = p.at[2] + p.head0 + h;
    const uint row = p.has_rows != 0u ? lists[p.at[2] + 2u * p.all_heads + (p.head0 + h) * p.n + i] : i;
    const uint source = p.at[0] + h * p.from_head + (lists[list + p.all_heads] + row) * p.from_entry;
    const uint entry = p.at[1] + h * p.to_head + (lists[list] + i) * p.to_entry;
    if (TO == KV_Q8_0) {
        write_q8_0(source, entry, chunk);
        return;
    }
    for (uint c = chunk * 32u; c < chunk * 32u + 32u; c += 2u) {
        const vec2 v = value(source, c);
        if (TO == KV_F32) {
            to[entry + c] = floatBitsToUint(v.x);
            to[entry + c + 1u] = floatBitsToUint(v.y);
        } else if (TO == KV_F16) {
            to[entry + c / 2u] = half_of_float(v.x) | half_of_float(v.y) << 16;
        } else {
            to[entry + c / 2u] = bf16_of_float(v.x) | bf16_of_float(v.y) << 16;
        }
    }
}
