#include "support/plain_forward.h"

#include <math.h>
#include <string.h>

#include "support/plain_model.h"

struct state {
    struct plain_model m;
    int capacity;
    double *k, *v; /* [layer][most_kv][capacity][most_d] kept entries, k rotated */
    int32_t *pos;  /* [layer][most_kv][capacity] */
    int *count;    /* [layer][most_kv] */
};

static size_t kept_at(const struct state *s, int layer, int head, int entry)
{
    return ((size_t)layer * (size_t)s->m.most_kv + (size_t)head) * (size_t)s->capacity + (size_t)entry;
}

static double *kept_row(const struct state *s, double *base, int layer, int head, int entry)
{
    return base + kept_at(s, layer, head, entry) * (size_t)s->m.most_d;
}

static void keep(struct state *s, int layer, int head, const double *k, const double *v, int32_t pos)
{
    const int i = s->count[layer * s->m.most_kv + head]++;
    const size_t bytes = (size_t)s->m.layer[layer].d * sizeof *k;
    memcpy(kept_row(s, s->k, layer, head, i), k, bytes);
    memcpy(kept_row(s, s->v, layer, head, i), v, bytes);
    s->pos[kept_at(s, layer, head, i)] = pos;
}

/* Keys at positions pos[keys], `stride` apart. */
struct keys {
    const double *k;
    const int32_t *pos;
    int stride;
};

/* p[n] = softmax of a query at position `at` over the first n keys. */
static void probabilities(const struct plain_layer *l, int head, const double *q, int32_t at, struct keys keys, int n,
                          double *p)
{
    double top = l->sink[head], sum = 0;
    for (int j = 0; j < n; j++) {
        p[j] = 0;
        for (int c = 0; c < l->d; c++) p[j] += q[c] * keys.k[j * keys.stride + c] * l->scale;
        if (l->window && at - keys.pos[j] >= l->window) p[j] = -INFINITY;
        top = fmax(top, p[j]);
    }
    sum = exp(l->sink[head] - top);
    for (int j = 0; j < n; j++) sum += p[j] = exp(p[j] - top);
    for (int j = 0; j < n; j++) p[j] /= sum;
}

static void weigh(const struct plain_layer *l, const double *p, const double *v, int stride, int keys, double *out)
{
    for (int c = 0; c < l->d; c++) {
        out[c] = 0;
        for (int j = 0; j < keys; j++) out[c] += p[j] * v[j * stride + c];
    }
}

/* g[n_kv][n - w]: fastkv paper, section 3.2, with max pooling. */
static double *window_scores(const struct plain_layer *l, const double *q, const double *k, const int32_t *pos, int n,
                             int w, int kernel)
{
    double *g = doubles((size_t)(l->n_kv * n)), *p = doubles((size_t)n), *sum = doubles((size_t)n);
    for (int h = 0; h < l->n_head; h++) {
        const int kv = h / (l->n_head / l->n_kv);
        const struct keys keys = {k + kv * l->d, pos, l->n_kv * l->d};
        for (int j = 0; j < n; j++) sum[j] = 0;
        for (int i = n - w; i < n; i++) {
            probabilities(l, h, q + (i * l->n_head + h) * l->d, pos[i], keys, i + 1, p);
            for (int j = 0; j < n - w; j++) sum[j] += p[j];
        }
        for (int j = 0; j < n - w; j++) {
            double best = -INFINITY;
            for (int t = j - kernel / 2; t <= j + kernel / 2; t++)
                if (t >= 0 && t < n - w) best = fmax(best, sum[t]);
            g[kv * (n - w) + j] += best;
        }
    }
    free(p), free(sum);
    return g;
}

/* rows[cap]: the cap - w best of score[n - w] and the window, ascending; by repeated search for the best. */
static void choose(const double *score, int n, int w, int cap, int sinks, int32_t *rows)
{
    char *taken = calloc((size_t)n, 1);
    for (int i = n - w; i < n; i++) taken[i] = 1;
    for (int c = 0; c < cap - w; c++) {
        int best = -1;
        for (int i = 0; i < n - w; i++)
            if (!taken[i] && (best < 0 || (i >= sinks && best >= sinks && (float)score[i] > (float)score[best])))
                best = i;
        taken[best] = 1;
    }
    for (int i = 0, r = 0; i < n; i++)
        if (taken[i]) rows[r++] = i;
    free(taken);
}

static int budget(int n, double rate, int w, int sinks)
{
    const int count = (int)trunc(n * rate);
    return count < w + sinks ? w + sinks : count;
}

/* Retention of one layer: what is kept goes to the state and the result. */
static void retain(struct state *s, struct plain_result *r, int layer, const double *k, const double *v,
                   const int32_t *pos, int n, const double *g, const struct plain_policy *p)
{
    const struct plain_layer *l = &s->m.layer[layer];
    const int cap = budget(n, layer <= p->tsp_layer ? p->kv_rate : p->kv_rate / p->tsp_rate, p->window, p->sinks),
              count = l->window ? l->window : cap, kept = cap < n && count < n ? count : n;
    int32_t *rows = malloc((size_t)n * sizeof *rows);
    for (int h = 0; h < l->n_kv; h++) {
        for (int i = 0; i < n; i++) rows[i] = l->window ? n - kept + i : i;
        if (cap < n && !l->window) choose(g + h * (n - p->window), n, p->window, cap, p->sinks, rows);
        for (int i = 0; i < kept; i++) {
            const int at = (rows[i] * l->n_kv + h) * l->d;
            keep(s, layer, h, k + at, v + at, pos[rows[i]]);
            r->kept[(layer * r->n_kv_head + h) * r->n + i] = pos[rows[i]];
        }
    }
    r->n_kept[layer] = kept;
    free(rows);
}

/* Rows that go past the TSP layer, moved to the front; returns their number. */
static int propagate(const struct plain_model *m, int heads, struct plain_result *r, double *x, int32_t *pos, int n,
                     const double *g, const struct plain_policy *p)
{
    const int cap = budget(n, p->tsp_rate, p->window, p->sinks), scored = n - p->window;
    if (cap >= n) return n;
    double *sum = doubles((size_t)scored);
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < scored; i++) sum[i] += g[h * scored + i];
    choose(sum, n, p->window, cap, p->sinks, r->propagated);
    for (int i = 0; i < cap; i++) {
        const int row = r->propagated[i];
        memmove(x + i * m->d_model, x + row * m->d_model, (size_t)m->d_model * sizeof *x);
        pos[i] = pos[row];
        r->propagated[i] = pos[i];
    }
    r->n_propagated = cap;
    free(sum);
    return cap;
}

static int prefill_layer(struct state *s, struct plain_result *r, int layer, double *x, int32_t *pos, int n,
                         const struct plain_policy *p)
{
    const struct plain_model *m = &s->m;
    const struct plain_layer *l = &m->layer[layer];
    const int kv_stride = l->n_kv * l->d, q_stride = l->n_head * l->d;
    double *q = doubles((size_t)(n * q_stride)), *k = doubles((size_t)(n * kv_stride)),
           *v = doubles((size_t)(n * kv_stride));
    double *att = doubles((size_t)(n * q_stride)), *prob = doubles((size_t)n);
    plain_first_half(m, layer, x, n, pos, q, k, v);
    for (int i = 0; i < n; i++)
        for (int h = 0; h < l->n_head; h++) {
            const int kv = h / (l->n_head / l->n_kv), at = i * q_stride + h * l->d;
            probabilities(l, h, q + at, pos[i], (struct keys){k + kv * l->d, pos, kv_stride}, i + 1, prob);
            weigh(l, prob, v + kv * l->d, kv_stride, i + 1, att + at);
        }
    double *g = n > p->window ? window_scores(l, q, k, pos, n, p->window, p->kernel) : NULL;
    retain(s, r, layer, k, v, pos, n, g, p);
    plain_second_half(m, layer, x, n, att);
    if (layer == p->tsp_layer && layer < m->n_layer - 1 && g) n = propagate(m, l->n_kv, r, x, pos, n, g, p);
    free(q), free(k), free(v), free(att), free(prob), free(g);
    return n;
}

static void decode_layer(struct state *s, int layer, double *x, int32_t pos)
{
    const struct plain_model *m = &s->m;
    const struct plain_layer *l = &m->layer[layer];
    double *q = doubles((size_t)(l->n_head * l->d)), *k = doubles((size_t)(l->n_kv * l->d)),
           *v = doubles((size_t)(l->n_kv * l->d));
    double *att = doubles((size_t)(l->n_head * l->d)), *prob = doubles((size_t)s->capacity);
    plain_first_half(m, layer, x, 1, &pos, q, k, v);
    for (int h = 0; h < l->n_kv; h++) keep(s, layer, h, k + h * l->d, v + h * l->d, pos);
    for (int h = 0; h < l->n_head; h++) {
        const int kv = h / (l->n_head / l->n_kv), count = s->count[layer * m->most_kv + kv];
        const struct keys keys = {kept_row(s, s->k, layer, kv, 0), s->pos + kept_at(s, layer, kv, 0), m->most_d};
        probabilities(l, h, q + h * l->d, pos, keys, count, prob);
        weigh(l, prob, kept_row(s, s->v, layer, kv, 0), m->most_d, count, att + h * l->d);
    }
    plain_second_half(m, layer, x, 1, att);
    free(q), free(k), free(v), free(att), free(prob);
}

struct plain_result *plain_forward(const struct fkv_gguf *g, const int32_t *ids, int n, int n_more,
                                   const struct plain_policy *p)
{
    struct state s = {.m = plain_read(g), .capacity = n + n_more};
    const struct plain_model *m = &s.m;
    const size_t entries = (size_t)(m->n_layer * m->most_kv) * (size_t)s.capacity;
    struct plain_result *r = calloc(1, sizeof *r);
    double *x = doubles((size_t)(n * m->d_model)), *y = doubles((size_t)m->d_model);
    int32_t *pos = malloc((size_t)n * sizeof *pos);
    const int n_vocab = (int)fkv_gguf_find_tensor(g, "token_embd.weight")->dims[1];
    s.k = doubles(entries * (size_t)m->most_d), s.v = doubles(entries * (size_t)m->most_d);
    s.pos = calloc(entries, sizeof *s.pos);
    s.count = calloc((size_t)(m->n_layer * m->most_kv), sizeof(int));
    *r = (struct plain_result){doubles((size_t)n_vocab),
                               -1,
                               calloc((size_t)n, sizeof(int32_t)),
                               calloc((size_t)(m->n_layer * m->most_kv * n), sizeof(int32_t)),
                               calloc((size_t)m->n_layer, sizeof(int)),
                               m->most_kv,
                               n};
    for (int i = 0; i < n; i++) pos[i] = i;
    plain_embed(m, ids, n, x);
    int alive = n;
    for (int l = 0; l < m->n_layer; l++) alive = prefill_layer(&s, r, l, x, pos, alive, p);
    double *last = x + (alive - 1) * m->d_model;
    for (int i = 0; i < n_more; i++) {
        last = x;
        plain_embed(m, ids + n + i, 1, x);
        for (int l = 0; l < m->n_layer; l++) decode_layer(&s, l, x, n + i);
    }
    plain_norm(m, -1, "output_norm.weight", last, 1, m->d_model, y);
    plain_multiply(m, -1, fkv_gguf_find_tensor(g, "output.weight") ? "output.weight" : "token_embd.weight",
                   "output.bias", y, 1, n_vocab, m->d_model, r->logits);
    free(x), free(y), free(pos), free(s.k), free(s.v), free(s.pos), free(s.count);
    return r;
}

void plain_free(struct plain_result *r)
{
    free(r->logits), free(r->propagated), free(r->kept), free(r->n_kept), free(r);
}
