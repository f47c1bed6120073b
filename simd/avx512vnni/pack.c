/* Activations to int8. See vnni.h for the scales and both layouts; rounding is to nearest even.

   x8 works on 6 rows x 32 k at once. Largest magnitudes are compared as integers, so that a NaN outdoes infinity and
   makes its row's scale, and with it the row's results, NaN. Rows below 2^-120 everywhere become zero; below 2^-90 they
   have one scale only (t = 0), so that no reciprocal overflows. */
#include "simd/avx512vnni/vnni.h"

#include <math.h>

static const float LEAST = 0x1p-120f, ONE_SCALE = 0x1p-90f;

INLINE __m512i magnitude(__m512 x) { return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)); }

static float row_top(const float *x, int k)
{
    __m512i a = _mm512_setzero_si512(), b = a;
    for (int i = 0; i < k; i += 32) {
        a = _mm512_max_epi32(a, magnitude(_mm512_loadu_ps(x + i)));
        b = _mm512_max_epi32(b, magnitude(_mm512_loadu_ps(x + i + 16)));
    }
    return fkv_f32_from_bits((uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(a, b)));
}

/* ---- x8 -------------------------------------------------------------------------------------- */

/* What six rows share while they are packed; vectors have a lane per row. */
struct packer {
    const float *x;
    size_t ldx;
    __mmask16 exists[X8_GROUP]; /* all lanes or none */
    __m512 inverse;             /* 127 / largest magnitude of the row */
    __m512i least_exponent;
    /* Where each dword of x8_block.x comes from: rows 0-3, then rows 4 and 5 (index 16 on) */
    int32_t from_0123[48], from_45[48];
};

/* Lane c of the result is the sum or maximum of the four dwords per 128-bit lane that belong to row c, over all lanes;
   u has rows 0-3 as dwords of each 128-bit lane, v rows 4, 5, 4, 5. */
#define FOLD_LANES(op, u, v, result)                                                               \
    do {                                                                                           \
        const __m512i w_ = op(_mm512_shuffle_i32x4(u, v, 0x88), _mm512_shuffle_i32x4(u, v, 0xdd)); \
        const __m512i z_ = op(w_, _mm512_shuffle_i32x4(w_, w_, 0xb1));                             \
        (result) = _mm512_shuffle_i32x4(z_, z_, 0x08);                                             \
    } while (0)

INLINE __m512i max_of_pairs(__m512i a, __m512i b)
{
    return _mm512_max_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

INLINE __m512 block_tops(const __m512 x[X8_GROUP][2])
{
    __m512i m[X8_GROUP], u, v, top;
#pragma GCC unroll 6
    for (int c = 0; c < X8_GROUP; c++) m[c] = _mm512_max_epi32(magnitude(x[c][0]), magnitude(x[c][1]));
    const __m512i a = max_of_pairs(m[0], m[1]), b = max_of_pairs(m[2], m[3]), c = max_of_pairs(m[4], m[5]);
    u = _mm512_max_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    v = _mm512_max_epi32(c, _mm512_shuffle_epi32(c, _MM_PERM_BADC));
    FOLD_LANES(_mm512_max_epi32, u, v, top);
    return _mm512_castsi512_ps(top);
}

/* a[i] = t of row i: the least integer with top <= row's top x 2^(t/4), within [-96, 0]. */
INLINE __m512i steps_of(const struct packer *p, __m512 top)
{
    const __m512 r = _mm512_mul_ps(_mm512_mul_ps(top, p->inverse), _mm512_set1_ps(1.0f / 127));
    const __m512 mantissa = _mm512_getmant_ps(r, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
    const __m512i e = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_getexp_ps(r)), p->least_exponent),
                  one = _mm512_set1_epi32(1);
    __m512i t = _mm512_slli_epi32(e, 2);
    t = _mm512_mask_add_epi32(t, _mm512_cmp_ps_mask(mantissa, _mm512_set1_ps(1.0f), _CMP_GT_OQ), t, one);
    t = _mm512_mask_add_epi32(t, _mm512_cmp_ps_mask(mantissa, _mm512_set1_ps(1.1892071f), _CMP_GT_OQ), t, one);
    t = _mm512_mask_add_epi32(t, _mm512_cmp_ps_mask(mantissa, _mm512_set1_ps(1.4142135f), _CMP_GT_OQ), t, one);
    t = _mm512_mask_add_epi32(t, _mm512_cmp_ps_mask(mantissa, _mm512_set1_ps(1.6817928f), _CMP_GT_OQ), t, one);
    return _mm512_min_epi32(t, _mm512_setzero_si512());
}

/* Bytes of two rows: dwords of four k; in each 128-bit lane l: row a's steps l and 4 + l, then row b's. */
INLINE __m512i round_rows(const __m512 a[2], const __m512 b[2], __m512 inverse_a, __m512 inverse_b)
{
    const __m512i a0 = _mm512_cvtps_epi32(_mm512_mul_ps(a[0], inverse_a)),
                  a1 = _mm512_cvtps_epi32(_mm512_mul_ps(a[1], inverse_a));
    const __m512i b0 = _mm512_cvtps_epi32(_mm512_mul_ps(b[0], inverse_b)),
                  b1 = _mm512_cvtps_epi32(_mm512_mul_ps(b[1], inverse_b));
    return _mm512_packs_epi16(_mm512_packs_epi32(a0, a1), _mm512_packs_epi32(b0, b1));
}

INLINE __m512i even_plus_odd(__m512i a, __m512i b)
{
    const __m512 x = _mm512_castsi512_ps(a), y = _mm512_castsi512_ps(b);
    return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(x, y, 0x88)),
                            _mm512_castps_si512(_mm512_shuffle_ps(x, y, 0xdd)));
}

/* -128 sum(x) per row, of three pairs of rows from round_rows(). */
INLINE __m512i starts_of(const __m512i q[3])
{
    const __m512i zero = _mm512_setzero_si512(), all = _mm512_set1_epi8((char)128);
    const __m512i a = dpbusd(zero, all, q[0]), b = dpbusd(zero, all, q[1]), c = dpbusd(zero, all, q[2]);
    __m512i sum;
    FOLD_LANES(_mm512_add_epi32, even_plus_odd(a, b), even_plus_odd(c, c), sum);
    return _mm512_sub_epi32(zero, sum);
}

INLINE void pack_block(const struct packer *p, int k0, struct x8_block *o)
{
    __m512 x[X8_GROUP][2];
#pragma GCC unroll 6
    for (int c = 0; c < X8_GROUP; c++) {
        const float *row = p->exists[c] ? p->x + c * p->ldx + k0 : p->x + k0;
        x[c][0] = _mm512_maskz_loadu_ps(p->exists[c], row);
        x[c][1] = _mm512_maskz_loadu_ps(p->exists[c], row + 16);
    }
    const __m512i t = steps_of(p, block_tops(x));
    const __m512i exponent = _mm512_slli_epi32(_mm512_srai_epi32(t, 2), 23),
                  step = _mm512_and_si512(t, _mm512_set1_epi32(3));
    const __m512 root = _mm512_permutexvar_ps(step, _mm512_setr_ps(1, 0.84089642f, 0.70710678f, 0.59460356f, 0, 0, 0, 0,
                                                                   0, 0, 0, 0, 0, 0, 0, 0));
    const __m512 inverse = _mm512_castsi512_ps(
        _mm512_sub_epi32(_mm512_castps_si512(_mm512_mul_ps(p->inverse, root)), exponent));
    __m512i q[3];
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++)
        q[i] = round_rows(x[2 * i], x[2 * i + 1], _mm512_permutexvar_ps(_mm512_set1_epi32(2 * i), inverse),
                          _mm512_permutexvar_ps(_mm512_set1_epi32(2 * i + 1), inverse));
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
        const __m512i rows_0123 = _mm512_permutex2var_epi32(q[0], _mm512_loadu_si512(p->from_0123 + 16 * i), q[1]);
        _mm512_storeu_si512((int32_t *)o->x + 16 * i,
                            _mm512_permutex2var_epi32(rows_0123, _mm512_loadu_si512(p->from_45 + 16 * i), q[2]));
    }
    const __m512i start = starts_of(q);
    const __m512 power = _mm512_permutexvar_ps(step, _mm512_setr_ps(1, 1.1892071f, 1.4142135f, 1.6817928f, 0, 0, 0, 0,
                                                                    0, 0, 0, 0, 0, 0, 0, 0));
    const __m512 scale = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(power), exponent));
    _mm512_mask_storeu_epi32(o->start, 0x3f, start);
    _mm512_mask_storeu_ps(o->total, 0x3f,
                          _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(start), _mm512_set1_ps(-1.0f / 128)), scale));
    _mm512_mask_storeu_epi32(o->exponent, 0x3f, exponent);
    _mm512_mask_storeu_epi32(o->copy, 0x3f, _mm512_slli_epi32(step, 5));
}

static void find_sources(struct packer *p)
{
    for (int i = 0; i < 48; i++) {
        const int step = i / X8_GROUP, row = i % X8_GROUP, in_pair = 4 * (step % 4) + 2 * (row % 2) + step / 4;
        p->from_0123[i] = row < 4 ? row / 2 * 16 + in_pair : 0;
        p->from_45[i] = row < 4 ? i % 16 : 16 + in_pair;
    }
}

/* The rows' scales and their inverses. rows: how many of the six exist. */
static void scale_rows(struct packer *p, int rows, int k, float *row_scale)
{
    float inverse[16] = {0};
    int32_t least[16] = {0};
    for (int c = 0; c < X8_GROUP; c++) {
        p->exists[c] = c < rows ? 0xffff : 0;
        const float top = c < rows ? row_top(p->x + c * p->ldx, k) : 0;
        row_scale[c] = top < LEAST ? 0 : top / 127;
        inverse[c] = top < LEAST ? 0 : 127 / top;
        least[c] = top < ONE_SCALE ? 0 : -24;
    }
    p->inverse = _mm512_loadu_ps(inverse);
    p->least_exponent = _mm512_loadu_si512(least);
}

size_t fkv_x8_bytes_avx512vnni(int m, int k)
{
    const size_t bytes = (size_t)x8_groups(m) * ((size_t)(k / 32) * sizeof(struct x8_block) + X8_GROUP * sizeof(float));
    return (bytes + 63) & ~(size_t)63;
}

void fkv_x8_pack_avx512vnni(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed)
{
    const int groups = x8_groups(m);
    struct packer p = {.ldx = ldx};
    find_sources(&p);
    for (int row = row0; row < row1; row += X8_GROUP) {
        p.x = x + row * ldx;
        scale_rows(&p, row1 - row, k, x8_row_scales(packed, m, k) + row);
        for (int b = 0; b < k / 32; b++)
            pack_block(&p, 32 * b, (struct x8_block *)packed + x8_block_index(groups, k, row / X8_GROUP, b));
    }
}

/* ---- v8 -------------------------------------------------------------------------------------- */

size_t fkv_v8_bytes_avx512vnni(int k) { return (size_t)v8_padded(k) * 7 / 2; /* three bytes and, of 32, four floats */ }

/* Block b, which exists. */
static void pack_v_block(const float *x, const struct v8 *v, int b)
{
    const float top = row_top(x, 32), scale = top < LEAST ? 0 : top / 127;
    const __m512 inverse = _mm512_set1_ps(top < LEAST ? 0 : 127 / top);
    for (int half = 0; half < 2; half++) {
        const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16 * half), inverse));
        const __m128i bytes = _mm512_cvtsepi32_epi8(q);
        _mm_storeu_si128((__m128i *)(v->q + 32 * b + 16 * half), bytes);
        v->sum16[2 * b + half] = scale * (float)_mm512_reduce_add_epi32(_mm512_cvtepi8_epi32(bytes));
    }
    v->scale[b] = scale;
    v->sum[b] = v->sum16[2 * b] + v->sum16[2 * b + 1];
}

/* Writes halves and alternate from q; qN has blocks 2N and 2N + 1, as 128-bit lanes first, second, first, second. */
static void reorder_256(const struct v8 *v, int i)
{
    const __m512i q0 = _mm512_load_si512(v->q + i), q1 = _mm512_load_si512(v->q + i + 64);
    const __m512i q2 = _mm512_load_si512(v->q + i + 128), q3 = _mm512_load_si512(v->q + i + 192);
    const __m512i first_a = _mm512_shuffle_i32x4(q0, q1, 0x88), second_a = _mm512_shuffle_i32x4(q0, q1, 0xdd);
    const __m512i first_b = _mm512_shuffle_i32x4(q2, q3, 0x88), second_b = _mm512_shuffle_i32x4(q2, q3, 0xdd);
    _mm512_store_si512(v->halves + i, first_a);
    _mm512_store_si512(v->halves + i + 64, second_a);
    _mm512_store_si512(v->halves + i + 128, first_b);
    _mm512_store_si512(v->halves + i + 192, second_b);
    _mm512_store_si512(v->alternate + i, _mm512_shuffle_i32x4(first_a, first_b, 0x88));
    _mm512_store_si512(v->alternate + i + 64, _mm512_shuffle_i32x4(second_a, second_b, 0x88));
    _mm512_store_si512(v->alternate + i + 128, _mm512_shuffle_i32x4(first_a, first_b, 0xdd));
    _mm512_store_si512(v->alternate + i + 192, _mm512_shuffle_i32x4(second_a, second_b, 0xdd));
}

void fkv_v8_pack_avx512vnni(const float *x, int k, void *packed)
{
    const struct v8 v = v8_view(packed, k);
    const int padded = v8_padded(k);
    for (int b = 0; b < k / 32; b++) pack_v_block(x + 32 * b, &v, b);
    for (int b = k / 32; b < padded / 32; b++) v.scale[b] = v.sum[b] = v.sum16[2 * b] = v.sum16[2 * b + 1] = 0;
    memset(v.q + k, 0, padded - k);
    for (int i = 0; i < padded; i += 256) reorder_256(&v, i);
}
