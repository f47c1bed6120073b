#include "vulkan/plain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct plain_store *plain_create(int heads, int d)
{
    struct plain_store *s = calloc(1, sizeof *s);
    s->heads = heads;
    s->d = d;
    for (int h = 0; h < heads; h++) {
        s->head[h].k = malloc(PLAIN_ENTRIES * (size_t)d * sizeof(float));
        s->head[h].v = malloc(PLAIN_ENTRIES * (size_t)d * sizeof(float));
    }
    return s;
}

void plain_destroy(struct plain_store *s)
{
    for (int h = 0; h < s->heads; h++) {
        free(s->head[h].k);
        free(s->head[h].v);
    }
    free(s);
}

static void add(struct plain_head *h, int d, const float *k, const float *v, int32_t pos)
{
    memcpy(h->k + h->n * d, k, (size_t)d * sizeof *k);
    memcpy(h->v + h->n * d, v, (size_t)d * sizeof *v);
    h->pos[h->n++] = pos;
}

void plain_append(struct plain_store *s, const float *k, const float *v, const int32_t *pos, int n)
{
    for (int i = 0; i < n; i++)
        for (int h = 0; h < s->heads; h++) {
            const int at = (i * s->heads + h) * s->d;
            add(&s->head[h], s->d, k + at, v + at, pos[i]);
        }
}

void plain_retain(struct plain_store *to, const struct plain_store *from, const int32_t *count, const int32_t *rows)
{
    for (int h = 0; h < to->heads; h++) {
        const struct plain_head *f = &from->head[h];
        const int n = rows ? count[h] : f->n - f->base;
        for (int i = 0; i < n; i++) {
            const int entry = f->base + (rows ? rows[i] : i);
            add(&to->head[h], to->d, f->k + entry * to->d, f->v + entry * to->d, f->pos[entry]);
        }
        if (rows) rows += n;
    }
}

void plain_rebase(struct plain_store *s)
{
    for (int h = 0; h < s->heads; h++) s->head[h].base = s->head[h].n;
}

void plain_cut(struct plain_store *s, int32_t pos)
{
    for (int h = 0; h < s->heads; h++) {
        struct plain_head *p = &s->head[h];
        while (p->n > 0 && p->pos[p->n - 1] >= pos) p->n--;
        if (p->base > p->n) p->base = p->n;
    }
}

/* The softmax weights of a query over the first n entries of a head, within the window of position pos. */
static void weigh(const struct plain_head *h, int d, const struct fkv_attention *how, const float *q, int n,
                  int32_t pos, double sink, double *weight)
{
    double top = sink, sum = 0;
    for (int e = 0; e < n; e++) {
        double logit = 0;
        for (int c = 0; c < d; c++) logit += (double)q[c] * (double)h->k[e * d + c];
        weight[e] = how->window && h->pos[e] <= pos - how->window ? -INFINITY : logit * (double)how->scale;
        top = fmax(top, weight[e]);
    }
    for (int e = 0; e < n; e++) sum += weight[e] = exp(weight[e] - top);
    sum += exp(sink - top);
    for (int e = 0; e < n; e++) weight[e] /= sum;
}

void plain_attend(const struct plain_store *s, const struct fkv_attention *how, const float *sinks, const float *q,
                  const struct fkv_rows *rows, float *out)
{
    const int group = how->n_head / s->heads, d = s->d;
    double weight[PLAIN_ENTRIES];
    for (int i = 0; i < rows->n; i++)
        for (int j = 0; j < how->n_head; j++) {
            const struct plain_head *h = &s->head[j / group];
            const int at = (i * how->n_head + j) * d, n = h->n - (rows->hidden ? rows->hidden[i] : 0);
            weigh(h, d, how, q + at, n, rows->pos[i], sinks ? (double)sinks[j] : -INFINITY, weight);
            for (int c = 0; c < d; c++) {
                double sum = 0;
                for (int e = 0; e < n; e++) sum += weight[e] * (double)h->v[e * d + c];
                out[at + c] = (float)sum;
            }
        }
}

static double pooled(const double *x, int n, int i, const struct fkv_scoring *how)
{
    double largest = -INFINITY, sum = 0;
    for (int j = i - how->pool_kernel / 2; j <= i + how->pool_kernel / 2; j++)
        if (j >= 0 && j < n) {
            largest = fmax(largest, x[j]);
            sum += x[j];
        }
    return how->pool_avg ? sum / how->pool_kernel : largest;
}

void plain_score(const struct plain_store *s, const struct fkv_attention *how, const float *sinks,
                 const struct fkv_scoring *scoring, const float *q, const struct fkv_rows *window, int n, float *g)
{
    const int group = how->n_head / s->heads, w = scoring->window, scored = n - w;
    double weight[PLAIN_ENTRIES], sum[PLAIN_ENTRIES];
    memset(g, 0, (size_t)(s->heads * scored) * sizeof *g);
    for (int j = 0; j < how->n_head; j++) {
        const struct plain_head *h = &s->head[j / group];
        const bool joins = scoring->reduce == FKV_REDUCE_MAX && j % group; /* the head before, of the same group */
        if (!joins) memset(sum, 0, sizeof sum);
        for (int i = 0; i < w; i++) {
            const double by = scoring->weight ? (double)scoring->weight[i] : 1;
            if (by == 0) continue;
            weigh(h, s->d, how, q + (i * how->n_head + j) * s->d, h->base + scored + i + 1, window->pos[i],
                  sinks ? (double)sinks[j] : -INFINITY, weight);
            for (int e = 0; e < scored; e++) {
                const double x = by * weight[h->base + e];
                sum[e] = scoring->reduce == FKV_REDUCE_MAX ? fmax(sum[e], x) : sum[e] + x;
            }
        }
        for (int e = 0; e < scored; e++) {
            float *to = &g[j / group * scored + e];
            *to = (joins ? 0 : *to) + (float)pooled(sum, scored, e, scoring);
        }
    }
    for (int h = 0; h < s->heads; h++)
        for (int e = scored - 1; e >= 0; e--)
            for (int back = 1; back <= scoring->span && back <= e; back++)
                g[h * scored + e] = fmaxf(g[h * scored + e], g[h * scored + e - back]);
}
