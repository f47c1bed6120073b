/* Signals: how well a prompt compresses, as far as the window tells. In a few layers the scoring also says what the
   window attends to, by every other of its rows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/choose.h"
#include "model/prefill.h"

enum {
    EVERY = 4, /* layers from one that is measured to the next */
    BEST = 32, /* tokens of a head that heads agree on, or not */
    HEADS = 16 /* a layer with more of them is not asked */
};

static size_t n_scored(const struct fkv_prefill_pass *p) { return (size_t)(p->state.n_rows - p->plan->scoring.window); }

/* What even (0) or odd (1) rows of the window, of those that count, attend to. */
static const float *looked_by(const struct fkv_prefill_pass *p, int half)
{
    return p->state.looked + (size_t)half * (size_t)p->state.n_kv_head * n_scored(p);
}

void fkv_signals_begin(struct fkv_prefill_pass *p)
{
    p->measured = !p->params->kv->no_signals && p->state.layer % EVERY == EVERY - 1 && !fkv_prefill_layer(p)->window &&
                  n_scored(p) > 1;
}

/* Could the window's rows be halved? */
static bool is_halved(const struct fkv_prefill_pass *p)
{
    const struct fkv_scoring *scoring = &p->plan->scoring;
    int n = 0;
    for (int i = 0; i < scoring->window; i++) n += !scoring->weight || scoring->weight[i] > 0;
    return n > 1;
}

/* ---- sets of rows -------------------------------------------------------------------------------- */

/* Of two ascending lists. */
static double jaccard(const int32_t *a, int n_a, const int32_t *b, int n_b)
{
    int both = 0;
    for (int i = 0, j = 0; i < n_a && j < n_b;) {
        both += a[i] == b[j];
        const bool step_a = a[i] <= b[j], step_b = b[j] <= a[i];
        i += step_a;
        j += step_b;
    }
    return n_a + n_b > both ? (double)both / (n_a + n_b - both) : 1;
}

/* Scratch of choices, of [n] each, over what a head's choice takes. */
struct lists {
    uint32_t *keys;
    int32_t *a, *b;
};

static struct lists lists_of(const struct fkv_prefill_pass *p)
{
    const size_t n = (size_t)p->state.n_rows;
    uint32_t *keys = p->ws->choosing;
    return (struct lists){keys, (int32_t *)keys + n, (int32_t *)keys + 2 * n};
}

static void best(const float *x, size_t n, size_t k, uint32_t *keys, int32_t *rows)
{
    fkv_simd_kernels(fkv_simd_find_level(NULL))->top_k(x, (int)n, (int)k, keys, rows);
}

/* ---- rows that go on ----------------------------------------------------------------------------- */

fkv_status fkv_signals_rank(struct fkv_prefill_pass *p)
{
    const struct fkv_ops *ops = p->at->b->ops;
    const size_t n = n_scored(p), all = n * (size_t)p->state.n_kv_head;
    if (p->params->kv->no_signals || p->state.layer + 1 != p->params->kv->tsp_layer) return FKV_OK;
    fkv_turns_take(&p->ws->turn);
    const float *g = ops->read(p->at->b, p->at->scores, all, p->ws->copy);
    const fkv_status status = ops->wait(p->at->b);
    const double t0 = fkv_clock_s();
    for (size_t i = 0; status == FKV_OK && i < all; i++)
        p->ws->ranked[i % n] = i < n ? g[i] : p->ws->ranked[i % n] + g[i];
    fkv_turns_leave(&p->ws->turn);
    p->ranked = status == FKV_OK;
    fkv_prefill_took(p, t0);
    return status;
}

/* Of the rows that go on, but the window's: with those that the layer before would have chosen. */
static void take_overlap(const struct fkv_prefill_pass *p)
{
    const struct lists l = lists_of(p);
    const int32_t *chosen = p->at->b->ops->choice_read(p->at->going_on, 0);
    const int n = p->at->b->ops->choice_count(p->at->going_on, 0) - p->plan->scoring.window, sinks = p->plan->sinks;
    for (int i = 0; i < sinks && i < n; i++) p->ws->ranked[i] = INFINITY;
    best(p->ws->ranked, n_scored(p), (size_t)n, l.keys, l.a);
    p->report->signals.overlap = jaccard(chosen, n, l.a, n);
}

/* ---- heads --------------------------------------------------------------------------------------- */

/* x[n] = what a head attends to; the first token gets what no other wants, and counts as nothing. */
static void join_halves(const struct fkv_prefill_pass *p, int head, float *x)
{
    const size_t n = n_scored(p);
    const float *even = looked_by(p, 0) + (size_t)head * n, *odd = looked_by(p, 1) + (size_t)head * n;
    x[0] = 0;
    for (size_t i = 1; i < n; i++) x[i] = even[i] + odd[i];
}

static double entropy_of(const float *x, size_t n, double sum)
{
    double h = 0;
    for (size_t i = 0; i < n; i++)
        if (x[i] > 0) h -= (double)x[i] / sum * (double)logf(x[i] / (float)sum);
    return n > 2 ? h / log((double)n - 1) : 0;
}

/* Which entries a head keeps, of the scored ones. */
static int kept_of(const struct fkv_prefill_pass *p, int head, const int32_t **rows)
{
    const struct fkv_ops *ops = p->at->b->ops;
    *rows = ops->choice_read(p->at->kept, head);
    return ops->choice_count(p->at->kept, head) - p->plan->scoring.window;
}

static void take_head(const struct fkv_prefill_pass *p, int head, float *x, int32_t top[BEST])
{
    struct fkv_signal_sums *s = &p->report->signals;
    const struct lists l = lists_of(p);
    const size_t n = n_scored(p);
    const int32_t *rows;
    const int kept = fkv_prefill_keeps_all(p) ? (int)n : kept_of(p, head, &rows);
    double sum = 0, on = 0;
    join_halves(p, head, x);
    for (size_t i = 0; i < n; i++) sum += (double)x[i];
    for (int i = 0; i < kept && kept < (int)n; i++) on += (double)x[rows[i]];
    s->mass[s->n_mass++] = kept < (int)n && sum > 0 ? (float)(on / sum) : 1;
    s->entropy += sum > 0 ? entropy_of(x, n, sum) : 0;
    best(x, n, n < BEST ? n : BEST, l.keys, top);
    if (kept < (int)n && is_halved(p)) {
        best(looked_by(p, 0) + (size_t)head * n, n, (size_t)kept, l.keys, l.a);
        best(looked_by(p, 1) + (size_t)head * n, n, (size_t)kept, l.keys, l.b);
        s->halves += jaccard(l.a, kept, l.b, kept);
        s->n_halves++;
    }
}

static void take_agreement(const struct fkv_prefill_pass *p, int32_t (*top)[BEST], int heads)
{
    struct fkv_signal_sums *s = &p->report->signals;
    const int third = p->state.layer * 3 / p->state.n_layer, n = n_scored(p) < BEST ? (int)n_scored(p) : BEST;
    if (third == 1) return;
    for (int a = 0; a < heads; a++)
        for (int b = a + 1; b < heads; b++, s->n_agreement[third / 2]++)
            s->agreement[third / 2] += jaccard(top[a], n, top[b], n);
}

static void take_layer(const struct fkv_prefill_pass *p)
{
    int32_t top[HEADS][BEST];
    float *x = (float *)p->ws->choosing + 3 * (size_t)p->state.n_rows;
    const int heads = p->state.n_kv_head;
    for (int h = 0; h < heads; h++) take_head(p, h, x, top[h < HEADS ? h : 0]);
    if (heads <= HEADS) take_agreement(p, top, heads);
    p->report->signals.n_layers++;
}

fkv_status fkv_signals_take(struct fkv_prefill_pass *p)
{
    const bool overlap = p->ranked && p->state.layer == p->params->kv->tsp_layer && p->going_on == FKV_CHOSEN_ROWS;
    if (!p->measured && !overlap) return FKV_OK;
    fkv_turns_take(&p->ws->turn);
    const fkv_status status = p->at->b->ops->wait(p->at->b);
    const double t0 = fkv_clock_s();
    if (status == FKV_OK && p->measured) take_layer(p);
    if (status == FKV_OK && overlap) take_overlap(p);
    fkv_prefill_took(p, t0);
    fkv_turns_leave(&p->ws->turn);
    return status;
}
