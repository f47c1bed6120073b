/* Panels of the K types, which have blocks of 256 with scales of their own inside. Values are rounded to bytes with one
   scale per 32: this adds 0.5 % relative RMS, less than rounding X does (0.7 %), and removes Q4_K's and Q5_K's minimum
   and Q6_K's scales of 16 from the inner loop. Scales are computed a row at a time, 8 blocks of 32 in a vector; the
   transpose that serves the values puts them into the panel's order. */
#include "simd/avx512vnni/unpack.h"

/* Scales of 16 rows, a vector per row, its first 8 lanes the blocks of 32 from k0 on. */
INLINE uint32_t store_k_scales(struct panel8 *o, int k0, int half, __m512i s[16])
{
    uint32_t broken = 0;
    transpose_16x16(s);
    for (int j = 0; j < 8; j++) broken |= store_scales(o, k0 / 32 + j, half, _mm512_castsi512_ps(s[j]));
    return broken;
}

/* ---- Q4_K, Q5_K: w = d sc q - dmin m, q <= last ---------------------------------------------- */

/* steps[8] and bases[8] of byte_table() for a block's eight 32s; *scale of the bytes in its first 8 lanes. */
INLINE __m256i table_lines(const uint8_t *b, float last, __m512i *scale)
{
    const __m512 s = k_scales(b);
    const __m256 d = _mm512_castps512_ps256(s), m = _mm512_extractf32x8_ps(s, 1), sign = _mm256_set1_ps(-0.0f);
    const __m256 end = _mm256_fmsub_ps(d, _mm256_set1_ps(last), m);
    const __m256 top = _mm256_max_ps(_mm256_max_ps(_mm256_andnot_ps(sign, m), _mm256_andnot_ps(sign, end)),
                                     _mm256_set1_ps(1e-30f));
    const __m256 unit = _mm256_div_ps(_mm256_set1_ps(127 * 256), top), offset = _mm256_set1_ps(128 * 256 + 128);
    const __m512 steps_bases = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_mul_ps(d, unit)),
                                                  _mm256_fnmadd_ps(m, unit, offset), 1);
    *scale = _mm512_castps_si512(_mm512_castps256_ps512(_mm256_mul_ps(top, _mm256_set1_ps(1.0f / 127))));
    return _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(steps_bases));
}

/* Words of a vector with a 128-bit lane each for a, b, c and d. */
INLINE __m512i lanes(int a, int b, int c, int d)
{
    return _mm512_set_epi64(d * 0x1000100010001, d * 0x1000100010001, c * 0x1000100010001, c * 0x1000100010001,
                            b * 0x1000100010001, b * 0x1000100010001, a * 0x1000100010001, a * 0x1000100010001);
}

/* The table of four (Q4_K) or two (Q5_K) blocks of 32: lane i serves block[i], from the multiple of 8 or 16 in
   first_q. */
INLINE __m512i block_table(__m256i lines, __m512i block, __m512i first_q)
{
    const __m512i l = _mm512_castsi256_si512(lines),
                  q = _mm512_add_epi16(first_q, _mm512_broadcast_i32x4(_mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7)));
    const __m512i step = _mm512_permutexvar_epi16(block, l),
                  base = _mm512_permutexvar_epi16(_mm512_add_epi16(block, _mm512_set1_epi16(8)), l);
    return byte_table(step, base, q);
}

/* 32 bytes: two blocks' nibbles, low and high, still with other bits above. */
INLINE __m512i nibble_pair(const uint8_t *qs)
{
    const __m256i v = _mm256_loadu_si256((const __m256i *)qs);
    return _mm512_inserti64x4(_mm512_castsi256_si512(v), _mm256_srli_epi16(v, 4), 1);
}

INLINE __m512i halves(char low, char high)
{
    return _mm512_inserti64x4(_mm512_set1_epi8(low), _mm256_set1_epi8(high), 1);
}

INLINE __m512i values_q4_k(const uint8_t *b, int part, __m256i lines)
{
    const int first = part & 2; /* the table serves parts `first` and the next: blocks 2 first .. 2 first + 3 */
    const __m512i table = block_table(lines, lanes(2 * first, 2 * first + 1, 2 * first + 2, 2 * first + 3),
                                      _mm512_setzero_si512());
    const __m512i block = part & 1 ? halves(32, 48) : halves(0, 16);
    const __m512i q = nibble_pair(((const struct fkv_block_q4_k *)b)->qs + 32 * part);
    return _mm512_permutexvar_epi8(select_bits(_mm512_set1_epi8(15), q, block), table);
}

INLINE __m512i values_q5_k(const uint8_t *b, int part, __m256i lines)
{
    const struct fkv_block_q5_k *w = (const struct fkv_block_q5_k *)b;
    const __m512i table = block_table(lines, lanes(2 * part, 2 * part, 2 * part + 1, 2 * part + 1),
                                      lanes(0, 16, 0, 16));
    /* the fifth bit, bit 2 part or 2 part + 1 of qh, to bit 4 */
    const int64_t r0 = (4 - 2 * part) & 63, r1 = (3 - 2 * part) & 63;
    const __m512i high = _mm512_rolv_epi64(_mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)w->qh)),
                                           _mm512_setr_epi64(r0, r0, r0, r0, r1, r1, r1, r1));
    const __m512i q = select_bits(_mm512_set1_epi8(15), nibble_pair(w->qs + 32 * part), high);
    return _mm512_permutexvar_epi8(select_bits(_mm512_set1_epi8(31), q, halves(0, 32)), table);
}

typedef __m512i values_fn(const uint8_t *b, int part, __m256i lines);

INLINE uint32_t unpack(values_fn values, size_t bytes, float last, const uint8_t *const row[FKV_PANEL_ROWS], int k,
                       struct panel8 *o)
{
    uint32_t broken = 0;
    for (int k0 = 0; k0 < k; k0 += 256)
        for (int half = 0; half < 2; half++) {
            const size_t at = k0 / 256 * bytes;
            __m512i v[4][16], scale[16];
            for (int i = 0; i < 16; i++) {
                const uint8_t *b = row[16 * half + i] + at;
                const __m256i lines = table_lines(b, last, &scale[i]);
#pragma GCC unroll 4
                for (int part = 0; part < 4; part++) v[part][i] = values(b, part, lines);
            }
            for (int part = 0; part < 4; part++) store_values(o, k0 + 64 * part, half, v[part]);
            broken |= store_k_scales(o, k0, half, scale);
        }
    return broken;
}

static uint32_t unpack_q4_k(const uint8_t *const row[FKV_PANEL_ROWS], int k, void *panel)
{
    return unpack(values_q4_k, sizeof(struct fkv_block_q4_k), 15, row, k, panel);
}

static uint32_t unpack_q5_k(const uint8_t *const row[FKV_PANEL_ROWS], int k, void *panel)
{
    return unpack(values_q5_k, sizeof(struct fkv_block_q5_k), 31, row, k, panel);
}

/* ---- Q6_K: w = d sc q, q in [-32, 31], a scale sc per 16 ----
   top = the larger |sc| of two; q sc / top in units of 32 / 127 is a byte, scaled by 32 d top / 127. In 16 bits:
   mulhrs(4 q, 32512 sc / top), which is 4 q sc / top 32512 / 32768 rounded. */

/* Words 32512 sc / top for the 16 sixteens; *scale of the bytes in even lanes. */
INLINE __m256i ratios(const struct fkv_block_q6_k *b, __m512 *scale)
{
    const __m512i sc = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)b->scales)), a = _mm512_abs_epi32(sc);
    const __m512i top = _mm512_max_epi32(_mm512_max_epi32(a, _mm512_shuffle_epi32(a, _MM_PERM_CDAB)),
                                         _mm512_set1_epi32(1));
    const __m512 ftop = _mm512_cvtepi32_ps(top), d = _mm512_cvtph_ps(_mm256_set1_epi16((short)load_f16(&b->d)));
    *scale = _mm512_mul_ps(ftop, _mm512_mul_ps(d, _mm512_set1_ps(32.0f / 127)));
    return _mm512_cvtepi32_epi16(
        _mm512_cvtps_epi32(_mm512_div_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sc), _mm512_set1_ps(32512)), ftop)));
}

/* q + 32 of one quarter: values l of 64 part .., low four bits in ql, high two in qh. */
INLINE __m512i values_q6_k(const struct fkv_block_q6_k *b, int part)
{
    const __m512i ql = _mm512_loadu_si512(b->ql + 64 * (part / 2)), low = part & 1 ? _mm512_srli_epi16(ql, 4) : ql;
    const __m512i qh = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(b->qh + 32 * (part / 2))));
    const int64_t r0 = part & 1 ? 0 : 4,
                  r1 = part & 1 ? 62 : 2; /* bits 4 (part & 1) .. to bits 4 and 5; the next two for the second 32 */
    const __m512i high = _mm512_rolv_epi64(qh, _mm512_setr_epi64(r0, r0, r0, r0, r1, r1, r1, r1));
    return _mm512_and_si512(select_bits(_mm512_set1_epi8(15), low, high), _mm512_set1_epi8(63));
}

INLINE __m512i scaled_q6_k(__m512i q, __m512i ratio)
{
    const __m512i s = _mm512_sub_epi8(q, _mm512_set1_epi8(32));
    const __m512i even = _mm512_srai_epi16(_mm512_slli_epi16(s, 8), 6),
                  odd = _mm512_slli_epi16(_mm512_srai_epi16(s, 8), 2);
    const __m512i e = _mm512_mulhrs_epi16(even, ratio), o = _mm512_slli_epi16(_mm512_mulhrs_epi16(odd, ratio), 8);
    return _mm512_xor_si512(_mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaa, e, o), _mm512_set1_epi8((char)0x80));
}

static uint32_t unpack_q6_k(const uint8_t *const row[FKV_PANEL_ROWS], int k, void *panel)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    uint32_t broken = 0;
    for (int k0 = 0; k0 < k; k0 += 256)
        for (int half = 0; half < 2; half++) {
            __m512i v[4][16], scale[16];
            for (int i = 0; i < 16; i++) {
                const struct fkv_block_q6_k *b = (const struct fkv_block_q6_k *)row[16 * half + i] + k0 / 256;
                __m512 s;
                const __m512i r = _mm512_castsi256_si512(ratios(b, &s));
                scale[i] = _mm512_permutexvar_epi32(even, _mm512_castps_si512(s));
#pragma GCC unroll 4
                for (int part = 0; part < 4; part++)
                    v[part][i] =
                        scaled_q6_k(values_q6_k(b, part),
                                    _mm512_permutexvar_epi16(lanes(4 * part, 4 * part + 1, 4 * part + 2, 4 * part + 3),
                                                             r));
            }
            for (int part = 0; part < 4; part++) store_values(panel, k0 + 64 * part, half, v[part]);
            broken |= store_k_scales(panel, k0, half, scale);
        }
    return broken;
}

#define PANEL(type)                                                                                           \
    static const struct panel_plan plan_##type = {X8_CHUNK, X8_CHUNK / 256 * sizeof(struct fkv_block_##type), \
                                                  X8_GROUP, unpack_##type, fkv_x8_tile_avx512vnni};           \
    void fkv_panel_##type##_avx512vnni(const struct fkv_panel *p) { fkv_panel_run_avx512(p, &plan_##type); }
PANEL(q4_k)
PANEL(q5_k)
PANEL(q6_k)
