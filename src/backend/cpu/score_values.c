/* Scores that look at the values: what their projection weighs, and what rows lose with an entry. Entries are read a
   tile at a time, and lie as keys do, so that the product of queries with keys is that of anything with values. */
#include <math.h>
#include <string.h>

#include "backend/cpu/score.h"

/* Values of n entries of the head, at most a tile of them, as floats and as a tile of keys. */
static void read_values(const struct cpu_scored *x, int entry, int n)
{
    const int d = x->s->shape.d;
    cpu_kv_read(x->s, x->head, false, entry, n, x->scratch->values);
    x->k->kv_pack(&(struct fkv_kv_rows){.k = x->scratch->values,
                                        .ld = (size_t)d,
                                        .n = n,
                                        .d = d,
                                        .k_tiles = x->scratch->value_tile,
                                        .k_type = FKV_ELEM_F32});
}

/* dots[rows][FKV_TILE] of the scratch: rows of floats, [rows][d], times the tile's n values. */
static void multiply_values(const struct cpu_scored *x, const float *with, int rows, int n)
{
    const int d = x->s->shape.d;
    for (int row = 0; row < rows; row += FKV_MAX_WINDOW) {
        const int here = rows - row < FKV_MAX_WINDOW ? rows - row : FKV_MAX_WINDOW;
        x->k->window_logits(with + (size_t)row * (size_t)d, (size_t)d, here, x->scratch->value_tile, FKV_ELEM_F32, d, n,
                            1, x->scratch->dots + row * FKV_TILE, FKV_TILE);
    }
}

static float square(const float *x, int n)
{
    float sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}

/* sqrt(v' M v) with M, the mean over the query heads of W W'. */
void cpu_times_value_norms(const struct cpu_scored *x, float *g)
{
    const int d = x->s->shape.d;
    const float *m = cpu_floats(x->how->value_gram) + (size_t)x->head * (size_t)d * (size_t)d;
    for (int first = 0; first < x->scored; first += FKV_TILE) {
        const int n = x->scored - first < FKV_TILE ? x->scored - first : FKV_TILE;
        read_values(x, x->base + first, n);
        multiply_values(x, m, d, n);
        for (int e = 0; e < n; e++) {
            const float *v = x->scratch->values + e * d;
            float sum = 0;
            for (int c = 0; c < d; c++) sum += x->scratch->dots[c * FKV_TILE + e] * v[c];
            g[first + e] *= sum > 0 ? sqrtf(sum) : 0;
        }
    }
}

/* outputs[window][d] of the scratch: what the rows make of all they see. */
static void attend_window(const struct cpu_scored *x, const struct cpu_scored_query *q)
{
    const int w = x->scoring->window, d = x->s->shape.d;
    const struct kv_part k = cpu_kv_part(x->s, x->head, true, 0), v = cpu_kv_part(x->s, x->head, false, 0);
    int32_t n_keys[FKV_MAX_WINDOW];
    float max[FKV_MAX_WINDOW], sum[FKV_MAX_WINDOW];
    for (int i = 0; i < w; i++) n_keys[i] = x->all - w + i + 1;
    x->k->attend(&(struct fkv_attend){.q = q->q,
                                      .ldq = q->ld,
                                      .first_keys = x->first,
                                      .n_keys = n_keys,
                                      .n_rows = w,
                                      .d = d,
                                      .scale = x->how->scale,
                                      .k = k.tiles,
                                      .v = v.tiles,
                                      .k_type = k.type,
                                      .v_type = v.type,
                                      .last = x->all,
                                      .out = x->scratch->outputs,
                                      .ldo = (size_t)d,
                                      .max = max,
                                      .sum = sum,
                                      .scratch = x->scratch->attend});
    for (int i = 0; i < w; i++) {
        const float inverse = cpu_normaliser(max[i], sum[i], q->sink);
        for (int c = 0; c < d; c++) x->scratch->outputs[i * d + c] *= inverse;
    }
}

/* The rows' attention to the scored entries in place of their logits; rows that do not count attend to nothing. */
static void take_attention(const struct cpu_scored *x, const struct cpu_scored_query *q)
{
    for (int i = 0; i < x->scoring->window; i++) {
        float *row = x->scratch->logits + (size_t)i * x->apart + x->base;
        const bool counts = !x->scoring->weight || x->scoring->weight[i] > 0;
        if (counts) cpu_row_attention(x, q, i);
        for (int e = 0; e < x->scored; e++) row[e] = counts ? x->scratch->sums[x->base + e] : 0;
    }
}

/* Without entry j a row's output o = sum of p v moves by p / (1 - p) (o - v): the score is the square of that, summed
   over the rows (DropKV). */
void cpu_drop_scores(const struct cpu_scored *x, const struct cpu_scored_query *q)
{
    const int w = x->scoring->window, d = x->s->shape.d;
    const float *weight = x->scoring->weight;
    attend_window(x, q);
    take_attention(x, q);
    memset(x->scratch->sums, 0, (size_t)(x->base + x->scored) * sizeof *x->scratch->sums);
    for (int first = 0; first < x->scored; first += FKV_TILE) {
        const int n = x->scored - first < FKV_TILE ? x->scored - first : FKV_TILE;
        read_values(x, x->base + first, n);
        multiply_values(x, x->scratch->outputs, w, n);
        for (int i = 0; i < w; i++) {
            const float *p = x->scratch->logits + (size_t)i * x->apart + x->base + first;
            const float output = square(x->scratch->outputs + i * d, d), by = weight ? weight[i] : 1;
            for (int e = 0; e < n && by > 0; e++) {
                const float odds = p[e] / fmaxf(1 - p[e], 1e-6f), value = square(x->scratch->values + e * d, d);
                const float apart = value - 2 * x->scratch->dots[i * FKV_TILE + e] + output;
                x->scratch->sums[x->base + first + e] += by * odds * odds * fmaxf(apart, 0);
            }
        }
    }
}
