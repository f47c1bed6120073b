// Weights in the file's blocks, binding 0: eight consecutive values of a row. Rows and blocks begin at even bytes. A value of the types in blocks is
// a byte that factors() turns to a float.
layout(constant_id = 0) const uint TYPE = 0u; // enum fkv_type
const uint F32 = 0u, F16 = 1u, Q4_0 = 2u, Q4_1 = 3u, Q5_0 = 6u, Q5_1 = 7u, Q8_0 = 8u, Q4_K = 12u, Q5_K = 13u, Q6_K = 14u, BF16 = 30u;

layout(std430, set = 0, binding = 0) readonly buffer Weights { uint w[]; };

// a: a byte within the binding's data; even but for u8.
uint u8(uint a) { return w[p.at[0] + (a >> 2)] >> (a & 3u) * 8u & 255u; }
uint u16(uint a) { return w[p.at[0] + (a >> 2)] >> (a & 2u) * 8u & 0xffffu; }
uint u32(uint a)
{
    const uint i = p.at[0] + (a >> 2);
    return (a & 2u) == 0u ? w[i] : w[i] >> 16 | w[i + 1u] << 16;
}
float half_at(uint a) { return float_of_half(u16(a)); }

struct Eight { vec4 lo, hi; };

vec4 bytes(uint q) { return vec4(float(q & 255u), float(q >> 8 & 255u), float(q >> 16 & 255u), float(q >> 24)); }
vec4 signed_bytes(uint q)
{
    const int s = int(q);
    return vec4(float(s << 24 >> 24), float(s << 16 >> 24), float(s << 8 >> 24), float(s >> 24));
}

// Four low bits of h to the fifth bits of four bytes.
uint fifth_bits(uint h) { return (h & 1u) << 4 | (h & 2u) << 11 | (h & 4u) << 18 | (h & 8u) << 25; }

// Scale and minimum of sub-block j of 8 in Q4_K and Q5_K.
uvec2 scale_min(uint scales, uint j)
{
    if (j < 4u) return uvec2(u8(scales + j), u8(scales + j + 4u)) & 63u;
    const uint low = u8(scales + j + 4u);
    return uvec2(low & 15u | u8(scales + j - 4u) >> 6 << 4, low >> 4 | u8(scales + j) >> 6 << 4);
}

// Of the types in blocks, the words that hold values k .. k + 7 of the row that begins at byte `row` (k divides by 8); and where apart() is more than 8,
// also those that many values on.
struct Words { uvec2 q, high; };

Words words(uint row, uint k)
{
    const uint i = k % 32u, block = k / 32u;
    Words v;
    v.high = uvec2(0u);
    if (TYPE == Q8_0) {
        v.q = uvec2(u32(row + block * 34u + 2u + i), u32(row + block * 34u + 6u + i));
    } else if (TYPE == Q4_K || TYPE == Q5_K) {
        const uint b = row + k / 256u * (TYPE == Q4_K ? 144u : 176u), a = b + (TYPE == Q4_K ? 16u : 48u) + block % 8u / 2u * 32u + i;
        v.q = uvec2(u32(a), u32(a + 4u));
        if (TYPE == Q5_K) v.high = uvec2(u32(b + 16u + i), u32(b + 20u + i));
    } else if (TYPE == Q6_K) {
        const uint b = row + k / 256u * 210u, low = b + block % 8u / 4u * 64u + block % 2u * 32u + i, high = b + 128u + block % 8u / 4u * 32u + i;
        v.q = uvec2(u32(low), u32(low + 4u));
        v.high = uvec2(u32(high), u32(high + 4u));
    } else {
        const uint bytes = TYPE == Q4_0 ? 18u : TYPE == Q4_1 ? 20u : TYPE == Q5_0 ? 22u : 24u, b = row + block * bytes, a = b + bytes - 16u + i % 16u;
        v.q = uvec2(u32(a), u32(a + 4u));
        if (TYPE == Q5_0 || TYPE == Q5_1) v.high = uvec2(u32(b + bytes - 20u), 0u);
    }
    return v;
}

// Values k .. k + 7 of what words() brought: one a byte, of Q8_0 with its sign.
uvec2 bytes_of(Words v, uint k)
{
    const uint j = k / 32u % 8u; // sub-block of 32
    if (TYPE == Q8_0) return v.q;
    if (TYPE == Q4_K || TYPE == Q5_K) {
        const uvec2 q = v.q >> 4u * (j % 2u) & 0x0f0f0f0fu;
        return TYPE == Q4_K ? q : q | (v.high >> j & 0x01010101u) << 4;
    }
    if (TYPE == Q6_K) return v.q >> 4u * (j % 4u / 2u) & 0x0f0f0f0fu | (v.high >> 2u * (j % 4u) & 0x03030303u) << 4;
    const uint h = v.high.x >> k % 32u; // the fifth bits
    const uvec2 q = v.q >> (k & 16u) / 4u & 0x0f0f0f0fu;
    return TYPE == Q4_0 || TYPE == Q4_1 ? q : q | uvec2(fifth_bits(h), fifth_bits(h >> 4));
}

uvec2 quants(uint row, uint k) { return bytes_of(words(row, k), k); }

// A value is f.x (byte - middle()) + f.y, where f = factors(row, k).
uint middle() { return TYPE == Q4_0 ? 8u : TYPE == Q5_0 ? 16u : TYPE == Q6_K ? 32u : 0u; }

vec2 factors(uint row, uint k)
{
    const uint block = k / 32u;
    if (TYPE == Q8_0) return vec2(half_at(row + block * 34u), 0.0);
    if (TYPE == Q4_0) return vec2(half_at(row + block * 18u), 0.0);
    if (TYPE == Q4_1) return vec2(half_at(row + block * 20u), half_at(row + block * 20u + 2u));
    if (TYPE == Q5_0) return vec2(half_at(row + block * 22u), 0.0);
    if (TYPE == Q5_1) return vec2(half_at(row + block * 24u), half_at(row + block * 24u + 2u));
    if (TYPE == Q4_K || TYPE == Q5_K) {
        const uint b = row + k / 256u * (TYPE == Q4_K ? 144u : 176u);
        const uvec2 s = scale_min(b + 4u, block % 8u);
        return vec2(half_at(b) * float(s.x), -half_at(b + 2u) * float(s.y));
    }
    const uint b = row + k / 256u * 210u; // Q6_K
    return vec2(half_at(b + 208u) * float(int(u8(b + 192u + k % 256u / 16u) << 24) >> 24), 0.0);
}

bool in_blocks() { return TYPE != F32 && TYPE != F16 && TYPE != BF16; }

vec4 unpacked(uint q) { return TYPE == Q8_0 ? signed_bytes(q) : bytes(q); }

Eight of_bytes(uvec2 q, vec2 f)
{
    const float plus = f.y - f.x * float(middle());
    return Eight(f.x * unpacked(q.x) + plus, f.x * unpacked(q.y) + plus);
}

// Values k .. k + 7 of the row that begins at byte `row`; k divides by 8.
Eight weights(uint row, uint k)
{
    if (in_blocks()) return of_bytes(quants(row, k), factors(row, k));
    if (TYPE == F32) {
        const uint i = p.at[0] + (row >> 2) + k;
        return Eight(uintBitsToFloat(uvec4(w[i], w[i + 1u], w[i + 2u], w[i + 3u])), uintBitsToFloat(uvec4(w[i + 4u], w[i + 5u], w[i + 6u], w[i + 7u])));
    }
    const uint a = row + 2u * k;
    const uvec4 q = uvec4(u32(a), u32(a + 4u), u32(a + 8u), u32(a + 12u));
    if (TYPE == BF16)
        return Eight(uintBitsToFloat(uvec4(q.x << 16, q.x & 0xffff0000u, q.y << 16, q.y & 0xffff0000u)),
                     uintBitsToFloat(uvec4(q.z << 16, q.z & 0xffff0000u, q.w << 16, q.w & 0xffff0000u)));
    return Eight(vec4(float_of_half(q.x & 0xffffu), float_of_half(q.x >> 16), float_of_half(q.y & 0xffffu), float_of_half(q.y >> 16)),
                 vec4(float_of_half(q.z & 0xffffu), float_of_half(q.z >> 16), float_of_half(q.w & 0xffffu), float_of_half(q.w >> 16)));
}

// How far apart the two eights of a pair lie: in most blocks, where the same bytes hold them.
uint apart() { return TYPE == Q4_K || TYPE == Q5_K ? 32u : TYPE == Q6_K ? 64u : TYPE == Q8_0 || !in_blocks() ? 8u : 16u; }
// Where the first eight of a row's i-th pair begins.
uint pair_start(uint i) { return i / (apart() / 8u) * 2u * apart() + i % (apart() / 8u) * 8u; }

// What the dot product of values k .. k + 7 of a row takes of x: the values, and their sum.
struct Vector { vec4 lo, hi; float sum; };

float dot_bytes(uvec2 q, vec2 f, Vector x)
{
    return f.x * (dot(unpacked(q.x), x.lo) + dot(unpacked(q.y), x.hi)) + (f.y - f.x * float(middle())) * x.sum;
}

// The dot product of the i-th pair of eights, k = pair_start(i), with those of x. Rows divide by 32.
float dot_pair(uint row, uint k, Vector x, Vector y)
{
    const uint second = k + apart();
    if (!in_blocks()) {
        const Eight a = weights(row, k), b = weights(row, second);
        return dot(a.lo, x.lo) + dot(a.hi, x.hi) + dot(b.lo, y.lo) + dot(b.hi, y.hi);
    }
    Words v = words(row, k);
    const vec2 f = factors(row, k);
    const float sum = dot_bytes(bytes_of(v, k), f, x);
    if (TYPE == Q8_0) v = words(row, second);
    return sum + dot_bytes(bytes_of(v, second), apart() == 16u || TYPE == Q8_0 ? f : factors(row, second), y);
}
