// How a store holds an entry: its channels, padded to a multiple of 32 with zeros, in words: F32 one a channel, F16 and BF16 two in a word (the
// first low), Q8_0 the fp32 scales (each rounded to a half) of every 32 channels and then four bytes a word.
const uint KV_F32 = 0u, KV_F16 = 1u, KV_BF16 = 2u, KV_Q8_0 = 3u; // enum fkv_kv_elem

// With HALF the same buffer is seen as halves too, which the device turns to floats.
#ifdef HALF
#extension GL_EXT_shader_16bit_storage : require
#define KV_BUFFER(number, Name, words)                                                                                                \
    layout(std430, set = 0, binding = number) readonly buffer Name { uint words[]; };                                                 \
    layout(std430, set = 0, binding = number) readonly buffer Name##Halves { f16vec4 words##_halves[]; };
#define FOUR_HALVES(words, i) return vec4(words##_halves[(i) / 2u]);
#else
#define KV_BUFFER(number, Name, words) layout(std430, set = 0, binding = number) readonly buffer Name { uint words[]; };
#define FOUR_HALVES(words, i)                                                                                                         \
    const uint c01 = words[i], c23 = words[i + 1u];                                                                                   \
    return vec4(float_of_half(c01 & 0xffffu), float_of_half(c01 >> 16), float_of_half(c23 & 0xffffu), float_of_half(c23 >> 16));
#endif

// Defines vec4 name(entry, c, chunks): channels c .. c + 3 (c divides by 4) of the entry that begins at word `entry` of `buffer`.
#define KV_READER(name, type, buffer)                                                                                                 \
    vec4 name(uint entry, uint c, uint chunks)                                                                                        \
    {                                                                                                                                 \
        if (type == KV_F32) {                                                                                                         \
            const uint i = entry + c;                                                                                                 \
            return uintBitsToFloat(uvec4(buffer[i], buffer[i + 1u], buffer[i + 2u], buffer[i + 3u]));                                 \
        }                                                                                                                             \
        if (type == KV_Q8_0) {                                                                                                        \
            const int q = int(buffer[entry + chunks + c / 4u]);                                                                       \
            return uintBitsToFloat(buffer[entry + c / 32u]) * vec4(ivec4(q << 24, q << 16, q << 8, q) >> 24);                         \
        }                                                                                                                             \
        if (type == KV_BF16) {                                                                                                        \
            const uint a = buffer[entry + c / 2u], b = buffer[entry + c / 2u + 1u];                                                   \
            return uintBitsToFloat(uvec4(a << 16, a & 0xffff0000u, b << 16, b & 0xffff0000u));                                        \
        }                                                                                                                             \
        FOUR_HALVES(buffer, entry + c / 2u)                                                                                           \
    }
