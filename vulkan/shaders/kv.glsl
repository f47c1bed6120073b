// How a store holds an entry: its channels, padded to a multiple of 32 with zeros, in words: F32 one a channel, F16 and BF16 two in a word (the
// first low), Q8_0 the fp32 scales (each rounded to a half) of every 32 channels and then four bytes a word.
const uint KV_F32 = 0u, KV_F16 = 1u, KV_BF16 = 2u, KV_Q8_0 = 3u; // enum fkv_kv_elem

// Defines vec2 name(entry, c, chunks): channels c and c + 1 (c even) of the entry that begins at word `entry` of `buffer`.
#define KV_READER(name, type, buffer)                                                                                      \
    vec2 name(uint entry, uint c, uint chunks)                                                                             \
    {                                                                                                                      \
        if (type == KV_F32) return uintBitsToFloat(uvec2(buffer[entry + c], buffer[entry + c + 1u]));                      \
        if (type == KV_Q8_0) {                                                                                             \
            const int q = int(buffer[entry + chunks + c / 4u] >> c % 4u * 8u);                                             \
            return uintBitsToFloat(buffer[entry + c / 32u]) * vec2(float(q << 24 >> 24), float(q << 16 >> 24));            \
        }                                                                                                                  \
        const uint word = buffer[entry + c / 2u];                                                                          \
        if (type == KV_BF16) return uintBitsToFloat(uvec2(word << 16, word & 0xffff0000u));                                \
        return vec2(float_of_half(word & 0xffffu), float_of_half(word >> 16));                                             \
    }
