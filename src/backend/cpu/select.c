/* Scores of the rows of a prefill, and the choice among them. */
#include "backend/cpu/select.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_backend.h"

int fkv_select_rows(const struct fkv_kernels *k, const float *scores, int n, int w, int cap, int sinks, uint32_t *keys,
                    float *copy, int32_t *rows)
{
    if (cap >= n) {
        for (int i = 0; i < n; i++) rows[i] = i;
        return n;
    }
    assert(w <= cap && sinks <= cap - w);
    const float *ranked = scores;
    if (sinks > 0) {
        memcpy(copy, scores, (size_t)(n - w) * sizeof *copy);
        for (int i = 0; i < sinks; i++) copy[i] = INFINITY;
        ranked = copy;
    }
    k->top_k(ranked, n - w, cap - w, keys, rows);
    for (int i = 0; i < w; i++) rows[cap - w + i] = n - w + i;
    return cap;
}

/* g[n - w] of one KV head: the softmax rows of the window's queries summed, pooled, summed over the query heads that
   share the KV head. Entries before `base` take part in the softmax and are not scored. */
static void score_head(const struct fkv_kernels *k, struct cpu_scratch *s, const struct fkv_kv_store *store, int head,
                       const struct fkv_scoring *how, int query_heads, const float *q, size_t ld, int n, float *g)
{
    const int base = store->head[head].base, all = base + n, scored = n - how->window;
    memset(g, 0, (size_t)scored * sizeof *g);
    for (int j = 0; j < query_heads; j++) {
        const float *qj = q + (size_t)(head * query_heads + j) * (size_t)store->d;
        k->window_logits(qj, ld, how->window, store->head[head].k, store->k_type, store->d, all, how->scale, s->logits,
                         (size_t)all);
        k->window_sums(s->logits, (size_t)all, how->window, all, NULL, -INFINITY, s->sums);
        (how->pool_avg ? k->pool_avg : k->pool_max)(s->sums + base, scored, how->pool_kernel, s->pooled);
        k->add(s->pooled, scored, g);
    }
}

void cpu_score(struct fkv_run *r, const struct fkv_kv_store *store, const struct fkv_scoring *how, int n_head,
               const float *q, size_t ld, int n, float *g)
{
    const double t0 = fkv_clock_s();
    for (int head; (head = fkv_team_take(r->b->team, r->thread, store->heads)) >= 0;)
        score_head(cpu_of(r)->k, cpu_scratch_of(r), store, head, how, n_head / store->heads, q, ld, n,
                   g + (size_t)head * (size_t)(n - how->window));
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_SELECT, t0);
}

void cpu_select(struct fkv_run *r, const float *g, int heads, int n, int window, int sinks, int cap, int32_t *rows)
{
    const double t0 = fkv_clock_s();
    struct cpu_scratch *s = cpu_scratch_of(r);
    for (int head; (head = fkv_team_take(r->b->team, r->thread, heads)) >= 0;)
        fkv_select_rows(cpu_of(r)->k, g + (size_t)head * (size_t)(n - window), n, window, cap, sinks, s->keys, s->copy,
                        rows + (size_t)head * (size_t)cap);
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_SELECT, t0);
}

void cpu_select_common(struct fkv_run *r, const float *g, int heads, int n, int window, int sinks, int cap,
                       int32_t *rows)
{
    const double t0 = fkv_clock_s();
    if (r->thread == 0) {
        struct cpu_scratch *s = cpu_scratch_of(r);
        const struct fkv_kernels *k = cpu_of(r)->k;
        const size_t scored = (size_t)(n - window);
        float *sum = s->sums;
        memset(sum, 0, scored * sizeof *sum);
        for (int head = 0; head < heads; head++) k->add(g + (size_t)head * scored, (int)scored, sum);
        fkv_select_rows(k, sum, n, window, cap, sinks, s->keys, s->copy, rows);
    }
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_SELECT, t0);
}
