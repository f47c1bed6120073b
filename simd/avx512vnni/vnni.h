/* vnni.h: products of block-quantised weights by int8 dot products (vpdpbusd: unsigned by signed bytes, fours summed to
   int32).

   Weights become unsigned bytes w + 128 with one scale per row and 32 k; X becomes signed bytes with one scale per row
   and 32 k. sum(w x) = sum((w + 128) x) - 128 sum(x): the last term depends on X alone, so accumulators start from it
   and it costs nothing.

   The scale of X must not cost a multiplication, since vpdpbusd needs the same ports. It is row_scale 2^(t/4), t
   integer: the panel holds its weight scales four times, times 2^0, 2^(1/4), 2^(1/2), 2^(3/4); t mod 4 picks one of
   them by address, the rest of t is added to its exponent as an integer. At most 16 % of a byte's range is lost by
   it. */
#ifndef FKV_AVX512VNNI_VNNI_H
#define FKV_AVX512VNNI_VNNI_H

#include "simd/avx512/panel.h"
#include "simd/avx512vnni/dpbusd.h"
#include "simd/level.h"

#define KERNEL(result, name, args) result fkv_##name##_avx512vnni args;
#include "simd/kernels.def"
#undef KERNEL

enum { X8_GROUP = 6, X8_CHUNK = 512 };

/* 32 k of 6 rows of X. */
struct x8_block {
    int8_t x[8][X8_GROUP][4];   /* step of 4 k, row, k */
    int32_t start[X8_GROUP];    /* -128 sum(x) */
    int32_t exponent[X8_GROUP]; /* floor(t / 4), in place to be added to a float's bits */
    int32_t copy[X8_GROUP];     /* t mod 4, as an index of floats into panel8.scale of the block */
    float total[X8_GROUP];      /* 2^(t/4) sum(x): what a weight's constant part is multiplied by */
};

/* Packed X: [chunk of 512 k][group][block of the chunk], so that a panel reads it front to back; then row_scale[groups
   * 6]. */
INLINE size_t x8_block_index(int groups, int k, int group, int block)
{
    const int chunk_blocks = X8_CHUNK / 32, chunk = block / chunk_blocks;
    const int here = k / 32 - chunk * chunk_blocks < chunk_blocks ? k / 32 - chunk * chunk_blocks : chunk_blocks;
    return (size_t)(chunk * chunk_blocks) * groups + (size_t)group * here + block % chunk_blocks;
}
INLINE int x8_groups(int m) { return (m + X8_GROUP - 1) / X8_GROUP; }
INLINE float *x8_row_scales(const void *packed, int m, int k)
{
    return (float *)((struct x8_block *)(uintptr_t)packed + (size_t)x8_groups(m) * (k / 32));
}

/* An unpacked chunk of 32 weight rows. */
struct panel8 {
    uint8_t w[X8_CHUNK / 4][2][64];    /* step of 4 k, half of the rows, [16 rows][4 k] */
    float scale[X8_CHUNK / 32][4][32]; /* block, times 2^(copy / 4), row */
    float constant[X8_CHUNK / 32]
                  [32]; /* block, row: added to every value of the block; fkv_x8_tile_constant_avx512vnni() only */
};

void fkv_x8_tile_avx512vnni(const struct panel_tile *t);
void fkv_x8_tile_constant_avx512vnni(const struct panel_tile *t);

/* One vector as matvec reads it, padded to a multiple of 256, all zero past k. Kernels load weights whole and want the
   values in the matching order; blocks are of 32:
       q           in order
       halves      of every 4 blocks, the first 16 values of each, then the second 16 of each (Q4_0, Q4_1, Q5_0)
       alternate   of every 8 blocks, the first 16 of each even one, the second 16 of each even one, then the odd ones
       (Q4_K, Q5_K)
   scale per 32; sum = scale x sum(q) per 32; sum16 the same per 16. */
struct v8 {
    int8_t *q, *halves, *alternate; /* [padded] each */
    float *scale, *sum, *sum16;     /* [padded / 32], [padded / 32], [padded / 16] */
};
INLINE int v8_padded(int k) { return (k + 255) & ~255; }
INLINE struct v8 v8_view(const void *packed, int k)
{
    const int padded = v8_padded(k), blocks = padded / 32;
    int8_t *q = (int8_t *)(uintptr_t)packed;
    float *scale = (float *)(q + 3 * padded);
    return (struct v8){q, q + padded, q + 2 * padded, scale, scale + blocks, scale + 2 * blocks};
}

/* One row of k weights times a vector. */
typedef float dot_row_fn(const uint8_t *row, int k, const struct v8 *v);

/* All rows by all vectors. The rows' places and lengths are read once, not after every result. */
INLINE void dot_rows(dot_row_fn dot, const struct fkv_matvec *p)
{
    const size_t stride = p->w_stride;
    const int n = p->n, k = p->k;
    for (int j = 0; j < p->m; j++) {
        const struct v8 view = v8_view(fkv_matvec_vector(p, j), k);
        const uint8_t *row = p->w;
        float *y = fkv_matvec_result(p, j);
        for (int i = 0; i < n; i++, row += stride) y[i] = dot(row, k, &view);
    }
}

/* A type's matvec by its file's dot_row(); the arguments are what that takes between the block's size and the row. */
#define MATVEC_BY_ROWS(type, ...)                                                            \
    INLINE float dot_##type(const uint8_t *row, int k, const struct v8 *v)                   \
    {                                                                                        \
        return dot_row(add_##type, sizeof(struct fkv_block_##type), __VA_ARGS__, row, k, v); \
    }                                                                                        \
    static void few_##type(const struct fkv_matvec *p) { dot_rows(dot_##type, p); }          \
    void fkv_matvec_##type##_avx512vnni(const struct fkv_matvec *p) { fkv_matvec_by_few(p, few_##type); }

INLINE fkv_f16 load_f16(const void *p)
{
    fkv_f16 h;
    memcpy(&h, p, sizeof h);
    return h;
}

/* mask ? a : b, bit by bit */
INLINE __m512i select_bits(__m512i mask, __m512i a, __m512i b) { return _mm512_ternarylogic_epi32(mask, a, b, 0xca); }

/* Q4_K and Q5_K: the 6-bit scales and minima times d and dmin: d sc[8], then dmin m[8]. b: the block; its first 16
   bytes are d, dmin and 12 bytes s: sc[j] = s[j] & 63 and m[j] = s[j + 4] & 63 for j < 4; after that the low four bits
   are halves of s[j + 4], the upper two the top bits of s[j - 4] and s[j]. */
INLINE __m512 k_scales(const uint8_t *b)
{
    const __m128i head = _mm_loadu_si128((const __m128i *)b);
    const __m128i s = _mm_shuffle_epi32(head, _MM_SHUFFLE(3, 2, 3, 1)); /* s[0..3] s[8..11], s[4..7] s[8..11] */
    const __m128i low =
        _mm_multishift_epi64_epi8(_mm_setr_epi8(0, 8, 16, 24, 32, 40, 48, 56, 0, 8, 16, 24, 36, 44, 52, 60), s);
    const __m128i top = _mm_multishift_epi64_epi8(_mm_setr_epi8(0, 0, 0, 0, 2, 10, 18, 26, 0, 0, 0, 0, 2, 10, 18, 26),
                                                  s);
    const __m128i mask = _mm_set1_epi64x(0x0f0f0f0f3f3f3f3f);
    const __m128i bytes = _mm_and_si128(_mm_ternarylogic_epi32(mask, low, top, 0xca), _mm_set1_epi8(63));
    const __m512i which = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512 d = _mm512_permutexvar_ps(which, _mm512_castps128_ps512(_mm_cvtph_ps(head)));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), d);
}

#endif
