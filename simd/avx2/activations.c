/* Packing of X: as it is, or in whole numbers (rounding.h). */
#include "simd/avx2/activations.h"
#include "simd/avx2/rounding.h"
#include "simd/avx2/v8.h"

/* Four rows of 8 dwords to 8 steps of 4 dwords, two steps per vector. */
INLINE void interleave_rows(const __m256i row[4], __m256i out[4])
{
    const __m256i a = _mm256_unpacklo_epi32(row[0], row[1]), b = _mm256_unpacklo_epi32(row[2], row[3]);
    const __m256i c = _mm256_unpackhi_epi32(row[0], row[1]), d = _mm256_unpackhi_epi32(row[2], row[3]);
    const __m256i s04 = _mm256_unpacklo_epi64(a, b), s15 = _mm256_unpackhi_epi64(a, b);
    const __m256i s26 = _mm256_unpacklo_epi64(c, d), s37 = _mm256_unpackhi_epi64(c, d);
    out[0] = _mm256_permute2x128_si256(s04, s15, 0x20);
    out[1] = _mm256_permute2x128_si256(s26, s37, 0x20);
    out[2] = _mm256_permute2x128_si256(s04, s15, 0x31);
    out[3] = _mm256_permute2x128_si256(s26, s37, 0x31);
}

/* Sums of neighbouring bytes over the four steps in a and b: 4 rows x 2. */
INLINE __m128i sums_of_pairs(__m256i a, __m256i b)
{
    const __m256i ones = _mm256_set1_epi8(1);
    const __m256i s = _mm256_add_epi16(_mm256_maddubs_epi16(ones, a), _mm256_maddubs_epi16(ones, b));
    return _mm_add_epi16(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

INLINE void store_block8(const __m256i q[4], __m128 scale, struct x_block8 *o)
{
    __m256i steps[4];
    interleave_rows(q, steps);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) _mm256_storeu_si256((__m256i *)o->q[2 * i], steps[i]);
    const __m128i first = sums_of_pairs(steps[0], steps[1]), second = sums_of_pairs(steps[2], steps[3]),
                  both = _mm_add_epi16(first, second);
    _mm_storeu_si128((__m128i *)o->start, _mm_mullo_epi16(both, _mm_set1_epi16(-8)));
    _mm_storeu_si128((__m128i *)o->start_16[0], _mm_mullo_epi16(first, _mm_set1_epi16(-32)));
    _mm_storeu_si128((__m128i *)o->start_16[1], _mm_mullo_epi16(second, _mm_set1_epi16(-32)));
    _mm_storeu_ps(o->scale, scale);
    _mm_storeu_ps(o->scaled_sum, _mm_mul_ps(scale, _mm_cvtepi32_ps(_mm_madd_epi16(both, _mm_set1_epi16(1)))));
}

/* One block of 4 rows; rows from `rows` on are zero. x points to the first row's block. */
static void pack_block(const float *x, size_t ldx, int rows, struct x_block8 *o8, struct x_block16 *o16)
{
    __m256 v[X_ROWS][4];
    __m128 largest[X_ROWS], scale, inverse;
    for (int r = 0; r < X_ROWS; r++) {
        if (r < rows)
            load_32(x + (size_t)r * ldx, v[r]);
        else
            v[r][0] = v[r][1] = v[r][2] = v[r][3] = _mm256_setzero_ps();
        largest[r] = _mm_castsi128_ps(largest_of_32(v[r]));
    }
    _MM_TRANSPOSE4_PS(largest[0], largest[1], largest[2], largest[3]);
    const __m128i m01 = _mm_max_epi32(_mm_castps_si128(largest[0]), _mm_castps_si128(largest[1]));
    const __m128i m23 = _mm_max_epi32(_mm_castps_si128(largest[2]), _mm_castps_si128(largest[3]));
    const __m128 top = _mm_castsi128_ps(_mm_max_epi32(m01, m23));

    float by[X_ROWS];
    __m256i narrow[2][X_ROWS], wide[4], steps[4];
    scale_of(top, 127.0f, &scale, &inverse);
    _mm_storeu_ps(by, inverse);
    for (int r = 0; r < X_ROWS; r++) {
        round_32(v[r], by[r], wide);
        narrow[0][r] = narrow_to_8(wide);
    }
    store_block8(narrow[0], scale, o8);

    scale_of(top, 32767.0f, &scale, &inverse);
    _mm_storeu_ps(by, inverse);
    for (int r = 0; r < X_ROWS; r++) {
        round_32(v[r], by[r], wide);
        narrow[0][r] = narrow_to_16(wide[0], wide[1]);
        narrow[1][r] = narrow_to_16(wide[2], wide[3]);
    }
    for (int h = 0; h < 2; h++) {
        interleave_rows(narrow[h], steps);
        for (int i = 0; i < 4; i++) _mm256_storeu_si256((__m256i *)o16->q[8 * h + 2 * i], steps[i]);
    }
    _mm_storeu_ps(o16->scale, scale);
}

size_t fkv_x8_bytes_avx2(int m, int k)
{
    return (x8_first_plane_bytes(m, k) + (size_t)x8_groups(m) * (size_t)(k / 32) * sizeof(struct x_block16) + 63) &
           ~(size_t)63;
}

void fkv_x8_pack_avx2(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed)
{
    const int blocks = k / 32;
    struct x_block8 *plane8 = packed;
    struct x_block16 *plane16 = (struct x_block16 *)((char *)packed + x8_first_plane_bytes(m, k));
    for (int row = row0; row < row1; row += X_ROWS) {
        const size_t group = (size_t)(row / X_ROWS) * (size_t)blocks;
        const int rows = row1 - row < X_ROWS ? row1 - row : X_ROWS;
        for (int b = 0; b < blocks; b++)
            pack_block(x + (size_t)row * ldx + 32 * (size_t)b, ldx, rows, &plane8[group + (size_t)b],
                       &plane16[group + (size_t)b]);
    }
}

size_t fkv_x16_bytes_avx2(int m, int k) { return ((size_t)m * x16_stride(k) * 4 + 63) & ~(size_t)63; }

void fkv_x16_pack_avx2(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed)
{
    (void)m;
    for (int row = row0; row < row1; row++)
        memcpy((float *)packed + (size_t)row * x16_stride(k), x + (size_t)row * ldx, (size_t)k * 4);
}

size_t fkv_v8_bytes_avx2(int k)
{
    const size_t floats = (size_t)v8_padded_blocks(k) * 2 * sizeof(float);
    return ((size_t)k + floats + (size_t)v8_n_256(k) * 2 * sizeof(struct v8_256) + 63) & ~(size_t)63;
}

/* Eight blocks of 32 to the order of lanes: block[c] + more g is that of lane c in group g. */
INLINE void arrange_256(const int8_t *q, const float *scale, const int block[4], int more, struct v8_256 *o)
{
    for (int g = 0; g < 2; g++) {
        __m256i v[4];
        for (int c = 0; c < 4; c++) {
            v[c] = _mm256_loadu_si256((const __m256i *)(q + 32 * (block[c] + more * g)));
            o->scale[4 * g + c] = scale[block[c] + more * g];
        }
        transpose_halves(v);
        for (int u = 0; u < 4; u++) _mm256_storeu_si256((__m256i *)o->q[4 * g + u], v[u]);
    }
}

/* sum: of 16 values each. */
static void pack_256(const int8_t *q, const float *scale, const float *scaled_sum, const int32_t sum[8][2],
                     struct v8_256 *pairs, struct v8_256 *sixes)
{
    static const int even[4] = {0, 2, 4, 6}, lower[4] = {0, 1, 4, 5};
    arrange_256(q, scale, even, 1, pairs);
    arrange_256(q, scale, lower, 2, sixes);
    for (int lane = 0; lane < 8; lane++) {
        const int six = lower[lane % 4] + 2 * (lane / 4);
        pairs->scaled_sum[lane] = scaled_sum[even[lane % 4] + lane / 4];
        for (int h = 0; h < 2; h++) sixes->sum_16[lane][h] = (int16_t)sum[six][h];
    }
}

void fkv_v8_pack_avx2(const float *x, int k, void *packed)
{
    const struct v8 o = v8_view(packed, k);
    int32_t sum[8][2];
    for (int b = 0; b < k / 32; b++) {
        const struct rounded q = round_to_8(x + 32 * b);
        _mm256_storeu_si256((__m256i *)(o.q + 32 * b), q.bytes);
        o.scale[b] = q.scale;
        o.scaled_sum[b] = q.scale * (float)(q.sum[0] + q.sum[1]);
        memcpy(sum[b % 8], q.sum, sizeof q.sum);
        if (b % 8 == 7)
            pack_256(o.q + 32 * (b - 7), o.scale + b - 7, o.scaled_sum + b - 7, sum, o.pairs + b / 8, o.sixes + b / 8);
    }
    for (int b = k / 32; b < v8_padded_blocks(k); b++) o.scale[b] = o.scaled_sum[b] = 0;
}
