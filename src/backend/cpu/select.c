/* Scores of the rows of a prefill, and the choice among them. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/choose.h"
#include "backend/cpu/cpu_backend.h"
#include "base/memory.h"

/* ---- scores -------------------------------------------------------------------------------------- */

/* What one KV head is scored by. */
struct scored_head {
    const struct fkv_kv_store *s;
    const struct fkv_attention *how;
    const struct fkv_scoring *scoring;
    const struct fkv_rows *window;
    int head, n; /* rows of this prefill */
};

/* The first entries that the window's rows see; NULL when they see all. */
static const int32_t *first_seen(const struct scored_head *x, int32_t first[FKV_MAX_WINDOW])
{
    if (!x->how->window) return NULL;
    const struct kv_head *h = &x->s->head[x->head];
    for (int i = 0; i < x->scoring->window; i++)
        first[i] = cpu_first_at(h->pos, h->n, x->window->pos[i] - x->how->window + 1);
    return first;
}

static float larger(float a, float b) { return a > b ? a : b; }

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

/* g[n - w] of one KV head. Entries before `base` take part in the softmax and are not scored. */
static void score_head(const struct fkv_kernels *k, struct cpu_scratch *s, const struct scored_head *x, const float *q,
                       size_t ld, float *g)
{
    const struct fkv_scoring *scoring = x->scoring;
    const struct kv_part keys = cpu_kv_part(x->s, x->head, true, 0);
    const int base = x->s->head[x->head].base, w = scoring->window, all = base + x->n, scored = x->n - w;
    const int query_heads = x->how->n_head / x->s->shape.heads;
    const bool largest = scoring->reduce == FKV_REDUCE_MAX;
    void (*const pool)(const float *, int, int, float *) = scoring->pool_avg ? k->pool_avg : k->pool_max;
    int32_t first_keys[FKV_MAX_WINDOW];
    const int32_t *first = first_seen(x, first_keys);
    float *group = largest ? s->pooled : g; /* what its query heads come to */
    memset(group, 0, (size_t)scored * sizeof *group);
    for (int j = 0; j < query_heads; j++) {
        const int h = x->head * query_heads + j;
        const float *qj = q + (size_t)h * (size_t)x->s->shape.d;
        const float sink = fkv_tensor_is(x->how->sinks) ? cpu_floats(x->how->sinks)[h] : -INFINITY;
        k->window_logits(qj, ld, w, keys.tiles, keys.type, x->s->shape.d, all, x->how->scale, s->logits, (size_t)all);
        k->window_sums(s->logits, (size_t)all, w, all, first, sink, scoring->weight, largest, s->sums);
        if (largest) {
            for (int i = 0; i < scored; i++) group[i] = larger(s->sums[base + i], group[i]);
        } else {
            pool(s->sums + base, scored, scoring->pool_kernel, s->pooled);
            k->add(s->pooled, scored, group);
        }
    }
    if (largest) pool(group, scored, scoring->pool_kernel, g);
    if (scoring->span) spread(g, scored, scoring->span, s->sums);
}

void cpu_score(struct fkv_run *r, const struct fkv_kv_store *s, const struct fkv_attention *how,
               const struct fkv_scoring *scoring, struct fkv_tensor q, size_t ld, const struct fkv_rows *window, int n,
               struct fkv_tensor g)
{
    const double t0 = fkv_clock_s();
    struct scored_head x = {s, how, scoring, window, 0, n};
    while ((x.head = fkv_team_take(r->b->team, r->thread, s->shape.heads)) >= 0)
        score_head(cpu_of(r)->k, cpu_scratch_of(r), &x, cpu_floats(q), ld,
                   cpu_floats(g) + (size_t)x.head * (size_t)(n - scoring->window));
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_SELECT, t0);
}

/* ---- choices --------------------------------------------------------------------------------------- */

uint64_t cpu_choice_bytes(const struct fkv_backend *b, int lists, int n)
{
    (void)b;
    return (uint64_t)lists * (uint64_t)(n + 1) * sizeof(int32_t);
}

fkv_status cpu_choice_create(struct fkv_backend *b, struct fkv_choice **choice, int lists, int n)
{
    struct fkv_choice *c = calloc(1, sizeof *c);
    if (!c) return FKV_ERROR_MEMORY;
    *c = (struct fkv_choice){.lists = lists, .n = n};
    c->bytes = cpu_choice_bytes(b, lists, n);
    c->memory = fkv_reserve(c->bytes);
    if (!c->memory) {
        free(c);
        return FKV_ERROR_MEMORY;
    }
    c->count = c->memory;
    c->rows = c->count + lists;
    *choice = c;
    return FKV_OK;
}

void cpu_choice_destroy(struct fkv_choice *c)
{
    if (!c) return;
    fkv_unreserve(c->memory, c->bytes);
    free(c);
}

void cpu_choice_write(struct fkv_choice *c, int lists, const int32_t *count, const int32_t *rows)
{
    for (int l = 0; l < lists; l++) {
        c->count[l] = count[l];
        memcpy(cpu_choice_rows(c, l), rows, (size_t)count[l] * sizeof *rows);
        rows += count[l];
    }
}

int cpu_choice_count(const struct fkv_choice *c, int list) { return c->count[list]; }

const int32_t *cpu_choice_read(struct fkv_choice *c, int list) { return cpu_choice_rows(c, list); }

static void select_common(const struct fkv_kernels *k, struct cpu_scratch *s, const float *g, int heads,
                          const struct fkv_selection *how, struct fkv_choice *c)
{
    const size_t scored = (size_t)(how->n - how->window);
    memset(s->sums, 0, scored * sizeof *s->sums);
    for (int head = 0; head < heads; head++) k->add(g + (size_t)head * scored, (int)scored, s->sums);
    c->count[0] = fkv_select_rows(k, s->sums, how->n, how->window, how->keep, how->sinks, s->keys, s->copy, c->rows);
}

static void select_heads(struct fkv_run *r, const float *g, int heads, const struct fkv_selection *how,
                         struct fkv_choice *c)
{
    struct cpu_scratch *s = cpu_scratch_of(r);
    for (int head; (head = fkv_team_take(r->b->team, r->thread, heads)) >= 0;)
        c->count[head] = fkv_select_rows(cpu_of(r)->k, g + (size_t)head * (size_t)(how->n - how->window), how->n,
                                         how->window, how->keep, how->sinks, s->keys, s->copy,
                                         cpu_choice_rows(c, head));
}

bool cpu_select(struct fkv_run *r, struct fkv_tensor g, int heads, const struct fkv_selection *how,
                struct fkv_choice *c)
{
    const double t0 = fkv_clock_s();
    if (how->spread == FKV_SPREAD_POOLED) return false;
    assert(how->n <= c->n && (how->spread == FKV_SPREAD_COMMON || heads <= c->lists));
    if (how->spread == FKV_SPREAD_EQUAL)
        select_heads(r, cpu_floats(g), heads, how, c);
    else if (r->thread == 0)
        select_common(cpu_of(r)->k, cpu_scratch_of(r), cpu_floats(g), heads, how, c);
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_SELECT, t0);
    return true;
}
