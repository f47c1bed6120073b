/* FastKV's scores, pooling and selection. */
#include "simd/reference/reference.h"
#include "simd/seen.h"

#include <math.h>

void fkv_window_logits_reference(const float *q, size_t ldq, int w, const void *k, int k_type, int d, int n,
                                 float scale, float *logits, size_t ld)
{
    fkv_k_floats tile;
    for (int first = 0; first < n; first += FKV_TILE) {
        fkv_expand_k(k, k_type, d, first / FKV_TILE, tile);
        for (int i = 0; i < w; i++) {
            float dots[FKV_TILE];
            fkv_dot_tile(q + i * ldq, d, tile, dots);
            for (int j = 0; j < FKV_TILE && first + j < n; j++) logits[i * ld + first + j] = dots[j] * scale;
        }
    }
}

/* x = softmax(x), with the sink in the sum. A row of -inf alone has no softmax: it counts for nothing. */
static void softmax(float *x, int n, float sink)
{
    float max = sink;
    for (int j = 0; j < n; j++) max = fmaxf(max, x[j]);
    double sum = sink == -INFINITY ? 0 : (double)expf(sink - max);
    for (int j = 0; j < n; j++) {
        x[j] = max == -INFINITY ? 0 : expf(x[j] - max);
        sum += (double)x[j];
    }
    const float divisor = sum > 0 ? (float)sum : 1;
    for (int j = 0; j < n; j++) x[j] /= divisor;
}

void fkv_window_sums_reference(float *logits, size_t ld, int w, int n, const int32_t *first, float sink,
                               const float *weight, bool largest, float *sums, float *halves)
{
    int rows[FKV_MAX_WINDOW];
    float by[FKV_MAX_WINDOW];
    const int n_rows = fkv_rows_that_count(weight, w, rows, by);
    for (int j = 0; j < n - w; j++) sums[j] = 0;
    for (int j = 0; halves && j < 2 * (n - w); j++) halves[j] = 0;
    for (int r = 0; r < n_rows; r++) {
        float *row = logits + rows[r] * ld;
        const struct fkv_span seen = fkv_seen_in_window(first, rows[r], w, n);
        softmax(row + seen.from, seen.to - seen.from, sink);
        for (int j = seen.from; j < n - w; j++) {
            const float x = row[j] * by[r];
            sums[j] = largest ? fmaxf(sums[j], x) : sums[j] + x;
            if (halves) halves[r % 2 * (n - w) + j] += x;
        }
    }
}

void fkv_pool_max_reference(const float *x, int n, int kernel, float *y)
{
    for (int i = 0; i < n; i++) {
        y[i] = x[i];
        for (int j = i - kernel / 2; j <= i + kernel / 2; j++)
            if (j >= 0 && j < n && x[j] > y[i]) y[i] = x[j];
    }
}

void fkv_pool_avg_reference(const float *x, int n, int kernel, float *y)
{
    for (int i = 0; i < n; i++) {
        float sum = 0;
        for (int j = i - kernel / 2; j <= i + kernel / 2; j++)
            if (j >= 0 && j < n) sum += x[j];
        y[i] = sum / (float)kernel;
    }
}

/* Unsigned keys in the order of the floats: all bits of a negative number flipped, the sign bit of the others. A NaN is
   0, which no number is: -inf has 0x007fffff. */
static uint32_t key_of(float x)
{
    if (isnan(x)) return 0;
    const uint32_t bits = fkv_bits_from_f32(x + 0.0f); /* -0 becomes +0 */
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static int count_from(const uint32_t *keys, int n, uint32_t least)
{
    int count = 0;
    for (int i = 0; i < n; i++) count += keys[i] >= least;
    return count;
}

/* The k-th largest key is found bit by bit from the top: a bit stays when k keys reach it. */
void fkv_top_k_reference(const float *x, int n, int k, uint32_t *keys, int32_t *indices)
{
    if (k == 0) return;
    for (int i = 0; i < n; i++) keys[i] = key_of(x[i]);
    uint32_t least = 0;
    for (int bit = 31; bit >= 0; bit--) {
        const uint32_t candidate = least | 1u << bit;
        if (count_from(keys, n, candidate) >= k) least = candidate;
    }
    int ties = k - count_from(keys, n, least + 1); /* least is below the key of +NaN, so this does not wrap round */
    for (int i = 0, out = 0; i < n; i++)
        if (keys[i] > least || (keys[i] == least && ties-- > 0)) indices[out++] = i;
}
