/* Scores of the rows of a prefill by what its last rows attend to. */
#include "backend/cpu/score.h"

#include <math.h>
#include <string.h>

static float larger(float a, float b) { return a > b ? a : b; }

/* The first entries that the window's rows see; NULL when they see all. */
static const int32_t *first_seen(const struct cpu_scored *x, const struct fkv_rows *window,
                                 int32_t first[FKV_MAX_WINDOW])
{
    if (!x->how->window) return NULL;
    const struct kv_head *h = &x->s->head[x->head];
    for (int i = 0; i < x->scoring->window; i++)
        first[i] = cpu_first_at(h->pos, h->n, window->pos[i] - x->how->window + 1);
    return first;
}

/* x[i] becomes the largest of x[i - span] .. x[i] (van Herk): in blocks of span + 1, the largest from i - span to the
   end of its block, or from the beginning of its own block to i. behind: [n] scratch. */
static void spread(float *x, int n, int span, float *behind)
{
    const int block = span + 1;
    for (int i = n - 1; i >= 0; i--) behind[i] = i + 1 < n && (i + 1) % block ? larger(x[i], behind[i + 1]) : x[i];
    float before = 0;
    for (int i = 0; i < n; i++) {
        before = i % block ? larger(before, x[i]) : x[i];
        x[i] = i < span ? before : larger(before, behind[i - span]);
    }
}

static void pool(const struct cpu_scored *x, const float *from, float *to)
{
    (x->scoring->pool_avg ? x->k->pool_avg : x->k->pool_max)(from, x->scored, x->scoring->pool_kernel, to);
}

static float sum_of(const float *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)x[i];
    return (float)sum;
}

/* Adds what the n-th of the rows that count attends to, or all those of its half. */
static void add_to_half(const struct cpu_scored *x, int n, const float *row, float by)
{
    float *half = x->looked[n % 2];
    for (int e = 0; e < x->scored && half; e++) half[e] += row[e] * by;
}

/* DefensiveKV's average: of each row, which keeps its sum. g takes the largest. */
static void take_averaged_rows(const struct cpu_scored *x, const struct cpu_scored_query *q, float *g)
{
    const float *weight = x->scoring->weight;
    float *row = x->scratch->sums + x->base, *pooled = x->scratch->pooled;
    for (int i = 0, n = 0; i < x->scoring->window; i++) {
        if (weight && weight[i] == 0) continue;
        cpu_row_attention(x, q, i);
        add_to_half(x, n++, row, weight ? weight[i] : 1);
        pool(x, row, pooled);
        const float sum = sum_of(pooled, x->scored), by = sum > 0 ? sum_of(row, x->scored) / sum : 0;
        for (int e = 0; e < x->scored; e++) g[e] = larger(g[e], pooled[e] * by * (weight ? weight[i] : 1));
    }
}

/* No entry of a head is worth less than the mean by its attention alone (DefensiveKV). */
static void raise_to_mean(float *g, int n)
{
    const float mean = n ? sum_of(g, n) / (float)n : 0;
    for (int i = 0; i < n; i++) g[i] = larger(g[i], mean);
}

/* What a query head adds to the scores so far. */
static void take_query_head(const struct cpu_scored *x, const struct cpu_scored_query *q, bool by_rows, float *g)
{
    const struct fkv_scoring *scoring = x->scoring;
    struct cpu_scratch *s = x->scratch;
    const bool largest = scoring->reduce == FKV_REDUCE_MAX;
    if (by_rows) {
        take_averaged_rows(x, q, g);
        return;
    }
    if (scoring->reduce == FKV_REDUCE_DROP) {
        cpu_drop_scores(x, q);
        for (int i = 0, n = 0; i < scoring->window; i++) {
            const float by = scoring->weight ? scoring->weight[i] : 1;
            if (by > 0) add_to_half(x, n++, s->logits + (size_t)i * x->apart + x->base, by);
        }
    } else {
        x->k->window_sums(s->logits, x->apart, scoring->window, x->all, x->first, q->sink, scoring->weight, largest,
                          s->sums, x->looked[0] ? s->halves : NULL);
        for (int half = 0; half < 2; half++)
            add_to_half(x, half, s->halves + half * (x->base + x->scored) + x->base, 1);
    }
    if (largest) {
        for (int i = 0; i < x->scored; i++) g[i] = larger(s->sums[x->base + i], g[i]);
    } else {
        pool(x, s->sums + x->base, s->pooled);
        x->k->add(s->pooled, x->scored, g);
    }
}

/* g[scored] of one KV head. */
static void score_head(const struct cpu_scored *x, const float *q, size_t ld, float *g)
{
    const struct fkv_scoring *scoring = x->scoring;
    const struct kv_part keys = cpu_kv_part(x->s, x->head, true, 0);
    const int query_heads = x->how->n_head / x->s->shape.heads, d = x->s->shape.d;
    const bool largest = scoring->reduce == FKV_REDUCE_MAX,
               by_rows = largest && scoring->value_norm && scoring->pool_avg;
    float *group = largest && !by_rows ? x->scratch->pooled : g; /* what its query heads come to */
    memset(group, 0, (size_t)x->scored * sizeof *group);
    for (int j = 0; j < query_heads; j++) {
        const int h = x->head * query_heads + j;
        const struct cpu_scored_query query = {q + (size_t)h * (size_t)d, ld,
                                               fkv_tensor_is(x->how->sinks) ? cpu_floats(x->how->sinks)[h] : -INFINITY};
        x->k->window_logits(query.q, ld, scoring->window, keys.tiles, keys.type, d, x->all, x->how->scale,
                            x->scratch->logits, x->apart);
        take_query_head(x, &query, by_rows, group);
    }
    if (largest && !by_rows) pool(x, group, g);
    if (largest && scoring->value_norm) raise_to_mean(g, x->scored);
    if (scoring->value_norm) cpu_times_value_norms(x, g);
    if (scoring->span) spread(g, x->scored, scoring->span, x->scratch->sums);
}

void cpu_row_attention(const struct cpu_scored *x, const struct cpu_scored_query *q, int i)
{
    /* as a window of its own, in which it sees all up to itself */
    const int seen = x->all - x->scoring->window + i + 1;
    x->k->window_sums(x->scratch->logits + (size_t)i * x->apart, x->apart, 1, seen, x->first ? x->first + i : NULL,
                      q->sink, NULL, false, x->scratch->sums, NULL);
}

void cpu_score(struct fkv_run *r, const struct fkv_kv_store *s, const struct fkv_attention *how,
               const struct fkv_scoring *scoring, struct fkv_tensor q, size_t ld, const struct fkv_rows *window, int n,
               struct fkv_tensor g, struct fkv_tensor looked)
{
    const double t0 = fkv_clock_s();
    const int scored = n - scoring->window;
    struct cpu_scored x = {cpu_of(r)->k, cpu_scratch_of(r), s, how, scoring, .scored = scored};
    while ((x.head = fkv_team_take(r->b->team, r->thread, s->shape.heads)) >= 0) {
        int32_t first[FKV_MAX_WINDOW];
        x.base = s->head[x.head].base;
        x.all = x.base + n;
        x.apart = cpu_logits_apart(x.all);
        x.first = first_seen(&x, window, first);
        for (int half = 0; half < 2 && fkv_tensor_is(looked); half++) {
            x.looked[half] = cpu_floats(looked) + (size_t)(half * s->shape.heads + x.head) * (size_t)scored;
            memset(x.looked[half], 0, (size_t)scored * sizeof *x.looked[half]);
        }
        score_head(&x, cpu_floats(q), ld, cpu_floats(g) + (size_t)x.head * (size_t)scored);
    }
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_SELECT, t0);
}
