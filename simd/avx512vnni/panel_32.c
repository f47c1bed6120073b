/* Panels of the types with blocks of 32 values and one or two half floats: Q8_0, Q4_0, Q5_0 exact, Q4_1 rounded to bytes. */
#include "simd/avx512vnni/unpack.h"

/* 64 values, of two blocks, as unsigned bytes w + 128. */
typedef __m512i values_fn(const uint8_t *b0, const uint8_t *b1);

INLINE __m512i join(__m256i a, __m256i b) { return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1); }

/* 16 bytes: low nibbles, then high ones. */
INLINE __m256i nibbles(const uint8_t *p)
{
    const __m128i v = _mm_loadu_si128((const __m128i *)p);
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(v, 4), v), _mm256_set1_epi8(15));
}

INLINE __m512i values_q8_0(const uint8_t *b0, const uint8_t *b1)
{
    const __m512i q = join(_mm256_loadu_si256((const __m256i *)(b0 + 2)), _mm256_loadu_si256((const __m256i *)(b1 + 2)));
    return _mm512_xor_si512(q, _mm512_set1_epi8((char)0x80));
}

INLINE __m512i values_q4_0(const uint8_t *b0, const uint8_t *b1)
{
    return _mm512_add_epi8(join(nibbles(b0 + 2), nibbles(b1 + 2)), _mm512_set1_epi8(128 - 8));
}

INLINE __m512i values_q5_0(const uint8_t *b0, const uint8_t *b1)
{
    uint32_t h0, h1;
    memcpy(&h0, b0 + 2, sizeof h0);
    memcpy(&h1, b1 + 2, sizeof h1);
    const __m512i base = _mm512_mask_blend_epi8((uint64_t)h1 << 32 | h0, _mm512_set1_epi8(128 - 16), _mm512_set1_epi8((char)128));
    return _mm512_add_epi8(join(nibbles(b0 + 6), nibbles(b1 + 6)), base);
}

INLINE __m512 f16_lanes(const fkv_f16 h[16]) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)h)); }

/* An odd last block is unpacked twice, the second time past the chunk's end. */
INLINE uint32_t unpack(values_fn values, size_t bytes, const uint8_t *const row[FKV_PANEL_ROWS], int k, struct panel8 *o)
{
    uint32_t broken = 0;
    for (int b = 0; b < k / 32; b += 2) {
        const size_t at = b * bytes, next = b + 1 < k / 32 ? at + bytes : at;
        for (int half = 0; half < 2; half++) {
            __m512i v[16];
            fkv_f16 d[2][16];
            for (int i = 0; i < 16; i++) {
                const uint8_t *r = row[16 * half + i];
                v[i] = values(r + at, r + next);
                d[0][i] = load_f16(r + at);
                d[1][i] = load_f16(r + next);
            }
            store_values(o, 32 * b, half, v);
            broken |= store_scales(o, b, half, f16_lanes(d[0])) | store_scales(o, b + 1, half, f16_lanes(d[1]));
        }
    }
    return broken;
}

/* ---- Q4_1: w = d q + m ---- */

/* step and base of byte_table() for 16 rows of one block, as words in the low half of each lane; *scale of the bytes. */
INLINE void table_lines(__m512 d, __m512 m, __m512i *step, __m512i *base, __m512 *scale)
{
    const __m512 last = _mm512_fmadd_ps(d, _mm512_set1_ps(15), m);
    const __m512 top = _mm512_max_ps(_mm512_max_ps(_mm512_abs_ps(m), _mm512_abs_ps(last)), _mm512_set1_ps(1e-30f));
    const __m512 unit = _mm512_div_ps(_mm512_set1_ps(127 * 256), top);
    *step = _mm512_cvtps_epi32(_mm512_mul_ps(d, unit));
    *base = _mm512_cvtps_epi32(_mm512_fmadd_ps(m, unit, _mm512_set1_ps(128 * 256 + 128)));
    *scale = _mm512_mul_ps(top, _mm512_set1_ps(1.0f / 127));
}

INLINE __m512i two_words(__m512i low, __m512i high) { return _mm512_mask_blend_epi16(0xaaaaaaaa, low, _mm512_slli_epi32(high, 16)); }

/* The tables of two blocks are one: 16 entries each. */
INLINE __m512i values_q4_1(const uint8_t *b0, const uint8_t *b1, uint32_t steps, uint32_t bases)
{
    const __m512i word = _mm512_set_epi64(0, 0, 0, 0, 0x0302030203020302, 0x0302030203020302, 0x0100010001000100, 0x0100010001000100);
    const __m512i step = _mm512_shuffle_epi8(_mm512_set1_epi32((int)steps), word), base = _mm512_shuffle_epi8(_mm512_set1_epi32((int)bases), word);
    const __m512i q = _mm512_broadcast_i32x4(_mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7));
    const __m512i index = _mm512_or_si512(join(nibbles(b0 + 4), nibbles(b1 + 4)), join(_mm256_setzero_si256(), _mm256_set1_epi8(16)));
    return _mm512_permutexvar_epi8(index, byte_table(step, base, q));
}

static uint32_t unpack_q4_1(const uint8_t *const row[FKV_PANEL_ROWS], int k, void *panel)
{
    const size_t bytes = sizeof(struct fkv_block_q4_1);
    uint32_t broken = 0;
    for (int b = 0; b < k / 32; b += 2) {
        const size_t at = b * bytes, next = b + 1 < k / 32 ? at + bytes : at;
        for (int half = 0; half < 2; half++) {
            fkv_f16 d[2][16], m[2][16];
            for (int i = 0; i < 16; i++) {
                const uint8_t *r = row[16 * half + i];
                d[0][i] = load_f16(r + at), m[0][i] = load_f16(r + at + 2);
                d[1][i] = load_f16(r + next), m[1][i] = load_f16(r + next + 2);
            }
            __m512i v[16], step[2], base[2];
            __m512 scale[2];
            for (int j = 0; j < 2; j++) {
                table_lines(f16_lanes(d[j]), f16_lanes(m[j]), &step[j], &base[j], &scale[j]);
                broken |= store_scales(panel, b + j, half, scale[j]);
            }
            uint32_t steps[16], bases[16];
            _mm512_storeu_si512(steps, two_words(step[0], step[1]));
            _mm512_storeu_si512(bases, two_words(base[0], base[1]));
            for (int i = 0; i < 16; i++) v[i] = values_q4_1(row[16 * half + i] + at, row[16 * half + i] + next, steps[i], bases[i]);
            store_values(panel, 32 * b, half, v);
        }
    }
    return broken;
}

#define PANEL(type) \
    void fkv_panel_##type##_avx512vnni(const struct fkv_panel *p) \
    { \
        static const struct panel_plan plan = {X8_CHUNK, X8_CHUNK / 32 * sizeof(struct fkv_block_##type), X8_GROUP, unpack_##type, fkv_x8_tile_avx512vnni}; \
        fkv_panel_run_avx512(p, &plan); \
    }
#define UNPACK(type) \
    static uint32_t unpack_##type(const uint8_t *const row[FKV_PANEL_ROWS], int k, void *panel) \
    { \
        return unpack(values_##type, sizeof(struct fkv_block_##type), row, k, panel); \
    }
UNPACK(q8_0)
UNPACK(q4_0)
UNPACK(q5_0)
PANEL(q8_0)
PANEL(q4_0)
PANEL(q5_0)
PANEL(q4_1)
