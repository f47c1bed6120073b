/* weights.h: stored weights of every type as bf16, rounded once, in the order tdpbf16ps takes as b: [16 pairs of
   k][16 rows][2].

   16 rows are unpacked at a time: first what the blocks say of their scales (`heads`), then 32 k after 32 k. A row's 32
   values become a vector of 16 pairs, 16 such vectors are transposed. Types of up to 5 bits look their values up in a
   table of what a block can hold, 16 or 32 words. Infinite scales, or ones that are not numbers, come out as such. */
#ifndef FKV_AMX_WEIGHTS_H
#define FKV_AMX_WEIGHTS_H

#include "simd/avx512vnni/vnni.h"
#include "simd/types/all.h"

enum { MOST_PARTS = 9 }; /* 32s of k that are unpacked together, a chunk: 8 of the K types, whose blocks have as many */

/* Of a row and chunk: a scale for each part and, from 16 on, a minimum; or, of the K types, 8 scales, then 8 minima, or
   16 scales. */
typedef float head_of_row[32];

struct weight_type {
    int values; /* of a block */
    size_t bytes;
    void (*heads)(const uint8_t *const row[16], int parts,
                  head_of_row *heads); /* of the 32s 0 .. parts - 1 of a chunk */
    void (*unpack)(const uint8_t *const row[16], int part, const head_of_row *heads,
                   char *tile); /* one 32 of a chunk, to 1 KiB */
};

/* Bytes of k values of a row. */
static size_t row_bytes(const struct weight_type *type, int k) { return (size_t)(k / type->values) * type->bytes; }

/* ---- heads ----------------------------------------------------------------------------------- */

typedef void head_fn(const uint8_t *row, int parts, float *head);

/* The first four bytes of each block, which are a half float and something, or two. */
INLINE __m512i starts_of_blocks(const uint8_t *row, int parts, int bytes)
{
    const __m512i at = _mm512_mullo_epi32(_mm512_set1_epi32(bytes),
                                          _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    return _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), (__mmask16)((1 << parts) - 1), at, row, 1);
}

INLINE __m512 half_of_each(__m512i dwords) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(dwords)); }

INLINE void head_of_scales(const uint8_t *row, int parts, int bytes, float *head)
{
    _mm512_storeu_ps(head, half_of_each(starts_of_blocks(row, parts, bytes)));
}

INLINE void head_q8_0(const uint8_t *row, int parts, float *head)
{
    head_of_scales(row, parts, sizeof(struct fkv_block_q8_0), head);
}
INLINE void head_q4_0(const uint8_t *row, int parts, float *head)
{
    head_of_scales(row, parts, sizeof(struct fkv_block_q4_0), head);
}
INLINE void head_q5_0(const uint8_t *row, int parts, float *head)
{
    head_of_scales(row, parts, sizeof(struct fkv_block_q5_0), head);
}
INLINE void head_q4_1(const uint8_t *row, int parts, float *head)
{
    const __m512i d_m = starts_of_blocks(row, parts, sizeof(struct fkv_block_q4_1));
    _mm512_storeu_ps(head, half_of_each(d_m));
    _mm512_storeu_ps(head + 16, half_of_each(_mm512_srli_epi32(d_m, 16)));
}
INLINE void head_q4_k(const uint8_t *row, int parts, float *head)
{
    (void)parts;
    _mm512_storeu_ps(head, k_scales(row));
}
INLINE void head_q5_k(const uint8_t *row, int parts, float *head) { head_q4_k(row, parts, head); }
INLINE void head_q6_k(const uint8_t *row, int parts, float *head)
{
    const struct fkv_block_q6_k *b = (const struct fkv_block_q6_k *)row;
    const __m512 sc = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)b->scales)));
    (void)parts;
    _mm512_storeu_ps(head, _mm512_mul_ps(sc, _mm512_cvtph_ps(_mm256_set1_epi16((short)load_f16(&b->d)))));
}
INLINE void head_f16(const uint8_t *row, int parts, float *head) { (void)row, (void)parts, (void)head; }
INLINE void head_bf16(const uint8_t *row, int parts, float *head) { (void)row, (void)parts, (void)head; }

/* ---- 32 values of a row ---------------------------------------------------------------------- */

typedef __m512i pairs_fn(const uint8_t *row, int part, const float *head);

INLINE __m512i to_bf16(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }
INLINE __m512 counting(float first)
{
    return _mm512_add_ps(_mm512_set1_ps(first), _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/* q: words below 16, or 32. */
INLINE __m512i look_up_16(__m512i q, __m512 values)
{
    return _mm512_permutexvar_epi16(q, _mm512_castsi256_si512((__m256i)_mm512_cvtneps_pbh(values)));
}
INLINE __m512i look_up_32(__m512i q, __m512 low, __m512 high)
{
    return _mm512_permutexvar_epi16(q, to_bf16(low, high));
}

INLINE __m512i low_nibbles(__m512i words) { return _mm512_and_si512(words, _mm512_set1_epi16(15)); }

/* 16 bytes: their low nibbles, then the high ones. */
INLINE __m512i nibbles_of_16(const uint8_t *qs)
{
    const __m512i twice = _mm512_cvtepu8_epi16(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)qs)));
    return low_nibbles(_mm512_srlv_epi16(twice, _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1)));
}

/* 32 bytes: the low nibbles of even parts, the high ones of odd parts. */
INLINE __m512i nibbles_of_32(const uint8_t *qs, int part)
{
    const __m512i words = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(qs + 32 * (part / 2))));
    return low_nibbles(_mm512_srl_epi16(words, _mm_cvtsi32_si128(part % 2 * 4)));
}

INLINE __m512i with_fifth_bits(__m512i nibbles, __mmask32 fifth)
{
    return _mm512_or_si512(nibbles, _mm512_maskz_set1_epi16(fifth, 16));
}

/* 16 signed bytes times a scale. */
INLINE __m512 scaled(__m128i bytes, float scale)
{
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), _mm512_set1_ps(scale));
}

INLINE __m512i pairs_q8_0(const uint8_t *row, int part, const float *head)
{
    const __m128i *q = (const __m128i *)((const struct fkv_block_q8_0 *)row)[part].qs;
    return to_bf16(scaled(_mm_loadu_si128(q), head[part]), scaled(_mm_loadu_si128(q + 1), head[part]));
}

INLINE __m512i pairs_q4_0(const uint8_t *row, int part, const float *head)
{
    const struct fkv_block_q4_0 *b = (const struct fkv_block_q4_0 *)row + part;
    return look_up_16(nibbles_of_16(b->qs), _mm512_mul_ps(counting(-8), _mm512_set1_ps(head[part])));
}

INLINE __m512i pairs_q4_1(const uint8_t *row, int part, const float *head)
{
    const struct fkv_block_q4_1 *b = (const struct fkv_block_q4_1 *)row + part;
    return look_up_16(nibbles_of_16(b->qs),
                      _mm512_fmadd_ps(counting(0), _mm512_set1_ps(head[part]), _mm512_set1_ps(head[16 + part])));
}

INLINE __m512i pairs_q5_0(const uint8_t *row, int part, const float *head)
{
    const struct fkv_block_q5_0 *b = (const struct fkv_block_q5_0 *)row + part;
    const __m512 d = _mm512_set1_ps(head[part]);
    uint32_t fifth;
    memcpy(&fifth, b->qh, sizeof fifth);
    return look_up_32(with_fifth_bits(nibbles_of_16(b->qs), fifth), _mm512_mul_ps(counting(-16), d),
                      _mm512_mul_ps(counting(0), d));
}

INLINE __m512i pairs_q4_k(const uint8_t *row, int part, const float *head)
{
    const struct fkv_block_q4_k *b = (const struct fkv_block_q4_k *)row;
    return look_up_16(nibbles_of_32(b->qs, part),
                      _mm512_fmsub_ps(counting(0), _mm512_set1_ps(head[part]), _mm512_set1_ps(head[8 + part])));
}

INLINE __m512i pairs_q5_k(const uint8_t *row, int part, const float *head)
{
    const struct fkv_block_q5_k *b = (const struct fkv_block_q5_k *)row;
    const __m512 d = _mm512_set1_ps(head[part]), m = _mm512_set1_ps(head[8 + part]);
    const __mmask32 fifth = _mm256_test_epi8_mask(_mm256_loadu_si256((const __m256i *)b->qh),
                                                  _mm256_set1_epi8((char)(1 << part)));
    return look_up_32(with_fifth_bits(nibbles_of_32(b->qs, part), fifth), _mm512_fmsub_ps(counting(0), d, m),
                      _mm512_fmsub_ps(counting(16), d, m));
}

INLINE __m512i pairs_q6_k(const uint8_t *row, int part, const float *head)
{
    const struct fkv_block_q6_k *b = (const struct fkv_block_q6_k *)row;
    const int quarter = part % 4;
    const __m256i low = _mm256_loadu_si256((const __m256i *)(b->ql + 64 * (part / 4) + 32 * (quarter % 2)));
    const __m256i high = _mm256_loadu_si256((const __m256i *)(b->qh + 32 * (part / 4)));
    const __m256i four = _mm256_and_si256(_mm256_srl_epi16(low, _mm_cvtsi32_si128(quarter / 2 * 4)),
                                          _mm256_set1_epi8(15));
    const __m256i two = _mm256_and_si256(_mm256_srl_epi16(high, _mm_cvtsi32_si128(2 * quarter)), _mm256_set1_epi8(3));
    const __m256i q = _mm256_sub_epi8(_mm256_or_si256(four, _mm256_slli_epi16(two, 4)), _mm256_set1_epi8(32));
    return to_bf16(scaled(_mm256_castsi256_si128(q), head[2 * part]),
                   scaled(_mm256_extracti128_si256(q, 1), head[2 * part + 1]));
}

INLINE __m512i pairs_f16(const uint8_t *row, int part, const float *head)
{
    const __m256i *h = (const __m256i *)row + 2 * part;
    (void)head;
    return to_bf16(_mm512_cvtph_ps(_mm256_loadu_si256(h)), _mm512_cvtph_ps(_mm256_loadu_si256(h + 1)));
}

INLINE __m512i pairs_bf16(const uint8_t *row, int part, const float *head)
{
    (void)head;
    return _mm512_loadu_si512(row + 64 * part);
}

/* ---- unpacked.def: as the K types, 8 or 16 scales, from 16 on offsets --------------------------- */

INLINE void head_unpacked(scales_fn *scales, size_t bytes, int values, int n_scales, bool has_offset,
                          const uint8_t *row, int parts, float *head)
{
    struct block_scales s;
    for (int i = 0; i < parts && values == 32; i++) {
        scales(row + (size_t)i * bytes, &s);
        head[i] = s.d;
        if (has_offset) head[16 + i] = s.offset;
    }
    if (values == 32) return;
    scales(row, &s);
    for (int i = 0; i < 8 * n_scales; i++) {
        head[i] = s.d * (float)s.scale[i];
        if (has_offset) head[16 + i] = s.offset * (float)s.minimum[i];
    }
}

INLINE __m512 scaled_moved(__m128i bytes, const float *head, bool has_offset)
{
    const __m512 w = scaled(bytes, head[0]);
    return has_offset ? _mm512_add_ps(w, _mm512_set1_ps(head[16])) : w;
}

#define UNPACKED(NAME, name, values, bits, scales, has_offset)                                                       \
    INLINE void head_##name(const uint8_t *row, int parts, float *head)                                              \
    {                                                                                                                \
        head_unpacked(scales_##name, sizeof(struct fkv_block_##name), values, scales, has_offset, row, parts, head); \
    }                                                                                                                \
    INLINE __m512i pairs_##name(const uint8_t *row, int part, const float *head)                                     \
    {                                                                                                                \
        const uint8_t *block = row + ((values) == 32 ? (size_t)part * sizeof(struct fkv_block_##name) : 0);          \
        struct block_scales s;                                                                                       \
        scales_##name(block, &s);                                                                                    \
        const struct bytes32 v = values_##name(block, &s, (values) == 32 ? 0 : part);                                \
        const float *first = head + (scales)*part, *second = first + (scales) / 2;                                   \
        return to_bf16(scaled_moved(v.low, first, has_offset), scaled_moved(v.high, second, has_offset));            \
    }
#include "simd/unpacked.def"

/* ---- 16 rows --------------------------------------------------------------------------------- */

INLINE void unpack(pairs_fn pairs, const uint8_t *const row[16], int part, const head_of_row *heads, char *tile)
{
    __m512i v[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++) v[r] = pairs(row[r], part, heads[r]);
    transpose_16x16(v);
#pragma GCC unroll 16
    for (int j = 0; j < 16; j++) _mm512_store_si512(tile + 64 * j, v[j]);
}

#define WEIGHT_TYPE(type, values, bytes)                                                                    \
    static void heads_##type(const uint8_t *const row[16], int parts, head_of_row *heads)                   \
    {                                                                                                       \
        for (int r = 0; r < 16; r++) head_##type(row[r], parts, heads[r]);                                  \
    }                                                                                                       \
    static void unpack_##type(const uint8_t *const row[16], int part, const head_of_row *heads, char *tile) \
    {                                                                                                       \
        unpack(pairs_##type, row, part, heads, tile);                                                       \
    }                                                                                                       \
    static const struct weight_type weights_##type = {values, bytes, heads_##type, unpack_##type};
WEIGHT_TYPE(q8_0, 32, sizeof(struct fkv_block_q8_0))
WEIGHT_TYPE(q4_0, 32, sizeof(struct fkv_block_q4_0))
WEIGHT_TYPE(q4_1, 32, sizeof(struct fkv_block_q4_1))
WEIGHT_TYPE(q5_0, 32, sizeof(struct fkv_block_q5_0))
WEIGHT_TYPE(q4_k, 256, sizeof(struct fkv_block_q4_k))
WEIGHT_TYPE(q5_k, 256, sizeof(struct fkv_block_q5_k))
WEIGHT_TYPE(q6_k, 256, sizeof(struct fkv_block_q6_k))
WEIGHT_TYPE(f16, 1, sizeof(fkv_f16))
WEIGHT_TYPE(bf16, 1, sizeof(fkv_bf16))
#define UNPACKED(NAME, name, values, bits, scales, has_offset) \
    WEIGHT_TYPE(name, values, sizeof(struct fkv_block_##name))
#include "simd/unpacked.def"
#undef WEIGHT_TYPE

#endif
