/* Panels of the types with blocks of 32 values and one or two half floats: Q8_0, Q4_0, Q5_0 and Q4_1, all exact. */
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
    const __m512i q = join(_mm256_loadu_si256((const __m256i *)(b0 + 2)),
                           _mm256_loadu_si256((const __m256i *)(b1 + 2)));
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
    const __m512i base = _mm512_mask_blend_epi8((uint64_t)h1 << 32 | h0, _mm512_set1_epi8(128 - 16),
                                                _mm512_set1_epi8((char)128));
    return _mm512_add_epi8(join(nibbles(b0 + 6), nibbles(b1 + 6)), base);
}

INLINE __m512 f16_lanes(const fkv_f16 h[16]) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)h)); }

/* An odd last block is unpacked twice, the second time past the chunk's end. */
INLINE uint32_t unpack(values_fn values, size_t bytes, const uint8_t *const row[FKV_PANEL_ROWS], int k,
                       struct panel8 *o)
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

/* ---- Q4_1: w = d q + m = d (q - 8) + (m + 8 d) ----------------------------------------------- */

INLINE __m512i values_q4_1(const uint8_t *b0, const uint8_t *b1)
{
    return _mm512_add_epi8(join(nibbles(b0 + 4), nibbles(b1 + 4)), _mm512_set1_epi8(128 - 8));
}

static uint32_t unpack_q4_1(const uint8_t *const row[FKV_PANEL_ROWS], int k, void *panel)
{
    const size_t bytes = sizeof(struct fkv_block_q4_1);
    struct panel8 *o = panel;
    uint32_t broken = unpack(values_q4_1, bytes, row, k, o);
    for (int b = 0; b < k / 32; b++)
        for (int half = 0; half < 2; half++) {
            fkv_f16 d[16], m[16];
            for (int i = 0; i < 16; i++) {
                const uint8_t *r = row[16 * half + i] + b * bytes;
                d[i] = load_f16(r), m[i] = load_f16(r + 2);
            }
            const __m512 constant = _mm512_fmadd_ps(f16_lanes(d), _mm512_set1_ps(8), f16_lanes(m));
            _mm512_store_ps(o->constant[b] + 16 * half, constant);
            broken |= (uint32_t)_mm512_fpclass_ps_mask(constant, 0x99) << 16 * half;
        }
    return broken;
}

#define PANEL(type, tile)                                                                                              \
    static const struct panel_plan plan_##type = {X8_CHUNK, X8_CHUNK / 32 * sizeof(struct fkv_block_##type), X8_GROUP, \
                                                  unpack_##type, tile};                                                \
    void fkv_panel_##type##_avx512vnni(const struct fkv_panel *p) { fkv_panel_run_avx512(p, &plan_##type); }
#define UNPACK(type)                                                                            \
    static uint32_t unpack_##type(const uint8_t *const row[FKV_PANEL_ROWS], int k, void *panel) \
    {                                                                                           \
        return unpack(values_##type, sizeof(struct fkv_block_##type), row, k, panel);           \
    }
UNPACK(q8_0)
UNPACK(q4_0)
UNPACK(q5_0)
PANEL(q8_0, fkv_x8_tile_avx512vnni)
PANEL(q4_0, fkv_x8_tile_avx512vnni)
PANEL(q5_0, fkv_x8_tile_avx512vnni)
PANEL(q4_1, fkv_x8_tile_constant_avx512vnni)
