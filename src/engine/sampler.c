/* Sampling in llama.cpp's usual order: bias, penalties, top-k, top-p, min-p, temperature. Top-p and min-p both cut the
   ids, sorted by falling logit, at some place; so a heap gives the best ids one by one and the first cut ends it: no
   sort of the vocabulary. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

struct candidate {
    float logit;
    int32_t id;
};

struct fkv_sampler {
    struct fkv_sampler_params params;
    int n_vocab;
    bool penalises;
    float *bias; /* [n_vocab]; NULL: none */
    uint64_t rng[4];
    struct candidate *heap;   /* [n_vocab] */
    struct candidate *chosen; /* [n_vocab] best first */
    double *weight;           /* [n_vocab] of `chosen` */
    int *n_recent;            /* [n_vocab] how often an id is in `recent` */
    int32_t *recent;          /* [repeat_last_n] ring of the last ids */
    size_t n_accepted;
};

/* ---- random numbers: xoshiro256** seeded by splitmix64 (Blackman and Vigna, prng.di.unimi.it) --- */

static uint64_t rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static void rng_seed(uint64_t s[4], uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        s[i] = z ^ (z >> 31);
    }
}

static uint64_t rng_next(uint64_t s[4])
{
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

/* in [0, 1) */
static double rng_uniform(uint64_t s[4]) { return (double)(rng_next(s) >> 11) * 0x1p-53; }

/* ---- heap ------------------------------------------------------------------------------------ */

static bool better(const struct candidate *a, const struct candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static bool worse(const struct candidate *a, const struct candidate *b) { return better(b, a); }

typedef bool above_fn(const struct candidate *a, const struct candidate *b);

/* Restores heap order below i, whose children are heaps. */
static void sift_down(struct candidate *heap, int n, int i, above_fn *above)
{
    struct candidate moving = heap[i];
    for (int child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && above(&heap[child + 1], &heap[child])) child++;
        if (!above(&heap[child], &moving)) break;
        heap[i] = heap[child];
    }
    heap[i] = moving;
}

static void make_heap(struct candidate *heap, int n, above_fn *above)
{
    for (int i = n / 2 - 1; i >= 0; i--) sift_down(heap, n, i, above);
}

/* ---- one choice ------------------------------------------------------------------------------ */

static float penalised(const fkv_sampler *s, const float *logits, int id)
{
    const float penalty = s->params.repeat_penalty;
    const int n = s->n_recent[id];
    float x = s->bias ? logits[id] + s->bias[id] : logits[id];
    if (!n) return x;
    x = x > 0 ? x / penalty : x * penalty;
    return x - s->params.presence_penalty - s->params.frequency_penalty * (float)n;
}

/* -1: biases forbid all. */
static int32_t best_id(const fkv_sampler *s, const float *logits)
{
    int32_t best = 0;
    float most = penalised(s, logits, 0);
    for (int i = 1; i < s->n_vocab; i++) {
        float x = penalised(s, logits, i);
        if (x > most) most = x, best = i;
    }
    return most == -INFINITY ? -1 : best;
}

/* Leaves the top_k best in s->heap, in no order, and returns their number. */
static int take_top_k(fkv_sampler *s, const float *logits)
{
    int k = s->params.top_k, n = 0;
    if (!k || k > s->n_vocab) k = s->n_vocab;
    for (; n < k; n++) s->heap[n] = (struct candidate){penalised(s, logits, n), n};
    if (k == s->n_vocab) return k;
    make_heap(s->heap, k, worse);
    for (int i = k; i < s->n_vocab; i++) {
        struct candidate c = {penalised(s, logits, i), i};
        if (!better(&c, &s->heap[0])) continue;
        s->heap[0] = c;
        sift_down(s->heap, k, 0, worse);
    }
    return k;
}

/* Pops the best of the n in s->heap into s->chosen until top-p or min-p cuts. The first one always stays,
   unless biases forbid all. */
static int cut_tail(fkv_sampler *s, int n)
{
    double sum = 0, reached = 0;
    make_heap(s->heap, n, better);
    float most = s->heap[0].logit;
    if (most == -INFINITY) return 0;
    for (int i = 0; i < n; i++) sum += exp((double)s->heap[i].logit - most);
    int taken = 0;
    while (taken < n) {
        struct candidate c = s->heap[0];
        double p = exp((double)c.logit - most); /* relative to the likeliest */
        if (taken && (p < s->params.min_p || p == 0)) break;
        s->chosen[taken++] = c;
        reached += p;
        if (s->params.top_p < 1 && reached >= s->params.top_p * sum) break;
        s->heap[0] = s->heap[n - taken];
        sift_down(s->heap, n - taken, 0, better);
    }
    return taken;
}

static int32_t draw(fkv_sampler *s, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += s->weight[i] = exp(((double)s->chosen[i].logit - s->chosen[0].logit) / s->params.temperature);
    double u = rng_uniform(s->rng) * sum;
    int i = 0;
    while (i < n - 1 && u >= s->weight[i]) u -= s->weight[i++];
    return s->chosen[i].id;
}

int32_t fkv_sample(fkv_sampler *s, const float *logits)
{
    float most = -INFINITY;
    for (int i = 0; i < s->n_vocab; i++) {
        if (isnan(logits[i])) return -1;
        if (logits[i] > most) most = logits[i];
    }
    if (isinf(most)) return -1;
    if (s->params.temperature == 0) {
        const int32_t best = best_id(s, logits);
        fkv_sampler_accept(s, best);
        return best;
    }
    const int n = cut_tail(s, take_top_k(s, logits));
    const int32_t id = n ? draw(s, n) : -1;
    fkv_sampler_accept(s, id);
    return id;
}

void fkv_sampler_accept(fkv_sampler *s, int32_t id)
{
    size_t n = (size_t)s->params.repeat_last_n;
    if (!n || !s->penalises || id < 0 || id >= s->n_vocab) return;
    int32_t *slot = &s->recent[s->n_accepted % n];
    if (s->n_accepted++ >= n) s->n_recent[*slot]--;
    s->n_recent[id]++;
    *slot = id;
}

/* ---- open and close -------------------------------------------------------------------------- */

static fkv_status check(const struct fkv_sampler_params *p, struct fkv_error *e)
{
    if (!(p->temperature >= 0 && p->temperature < INFINITY))
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "temperature: expected 0 or more, found %g", (double)p->temperature);
    if (p->top_k < 0) return fkv_fail(e, FKV_ERROR_ARGUMENT, "top_k: expected 0 or more, found %d", p->top_k);
    if (!(p->top_p > 0 && p->top_p <= 1))
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "top_p: expected a share in (0, 1], found %g", (double)p->top_p);
    if (!(p->min_p >= 0 && p->min_p <= 1))
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "min_p: expected a share in [0, 1], found %g", (double)p->min_p);
    if (!(p->repeat_penalty > 0 && p->repeat_penalty < INFINITY))
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "repeat_penalty: expected a factor above 0, found %g",
                        (double)p->repeat_penalty);
    if (!isfinite(p->presence_penalty) || !isfinite(p->frequency_penalty))
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "%s: expected a number, found %g",
                        isfinite(p->presence_penalty) ? "frequency_penalty" : "presence_penalty",
                        (double)(isfinite(p->presence_penalty) ? p->frequency_penalty : p->presence_penalty));
    if (p->repeat_last_n < 0)
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "repeat_last_n: expected 0 or more, found %d", p->repeat_last_n);
    return FKV_OK;
}

static fkv_status check_bias(const struct fkv_sampler_params *p, int n_vocab, struct fkv_error *e)
{
    if (p->n_bias && !p->bias)
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "bias: expected %zu of them, found NULL", p->n_bias);
    for (size_t i = 0; i < p->n_bias; i++) {
        if (p->bias[i].id < 0 || p->bias[i].id >= n_vocab)
            return fkv_fail(e, FKV_ERROR_ARGUMENT, "bias %zu: expected an id from 0 to %d, found %d", i, n_vocab - 1,
                            p->bias[i].id);
        if (!(p->bias[i].bias < INFINITY))
            return fkv_fail(e, FKV_ERROR_ARGUMENT, "bias %zu: expected a number or -inf, found %g", i,
                            (double)p->bias[i].bias);
    }
    return FKV_OK;
}

/* Several of an id add up. */
static void add_biases(fkv_sampler *s, const struct fkv_sampler_params *p)
{
    for (size_t i = 0; i < p->n_bias; i++) s->bias[p->bias[i].id] += p->bias[i].bias;
    s->params.bias = NULL; /* the caller's */
}

static fkv_status open_sampler(fkv_sampler **sampler, const struct fkv_sampler_params *params, int n_vocab,
                               struct fkv_error *e)
{
    struct fkv_sampler_params p = FKV_SAMPLER_PARAMS_INIT;
    if (n_vocab < 1) return fkv_fail(e, FKV_ERROR_ARGUMENT, "n_vocab: expected 1 or more, found %d", n_vocab);
    fkv_status status = params ? fkv_take_params(&p, sizeof p, params, "sampler parameters", e) : FKV_OK;
    if (status == FKV_OK) status = check(&p, e);
    if (status == FKV_OK) status = check_bias(&p, n_vocab, e);
    if (status != FKV_OK) return status;
    fkv_sampler *s = calloc(1, sizeof *s);
    size_t n = (size_t)n_vocab;
    if (!s) goto error;
    *s = (fkv_sampler){.params = p,
                       .n_vocab = n_vocab,
                       .penalises = p.repeat_penalty != 1 || p.presence_penalty != 0 || p.frequency_penalty != 0,
                       .bias = p.n_bias ? calloc(n, sizeof *s->bias) : NULL,
                       .heap = calloc(n, sizeof *s->heap),
                       .chosen = calloc(n, sizeof *s->chosen),
                       .weight = calloc(n, sizeof *s->weight),
                       .n_recent = calloc(n, sizeof *s->n_recent),
                       .recent = calloc((size_t)p.repeat_last_n + 1, sizeof *s->recent)};
    if (!s->heap || !s->chosen || !s->weight || !s->n_recent || !s->recent || (p.n_bias && !s->bias)) goto error;
    add_biases(s, &p);
    rng_seed(s->rng, p.seed);
    *sampler = s;
    return FKV_OK;
error:
    fkv_sampler_close(s);
    return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for a sampler over %d ids", n_vocab);
}

fkv_status fkv_sampler_open(fkv_sampler **sampler, const struct fkv_sampler_params *params, int n_vocab, char *err)
{
    struct fkv_error e = {""};
    fkv_status status = open_sampler(sampler, params, n_vocab, &e);
    if (status != FKV_OK && err) memcpy(err, e.text, sizeof e.text);
    return status;
}

void fkv_sampler_close(fkv_sampler *s)
{
    if (!s) return;
    free(s->bias);
    free(s->heap);
    free(s->chosen);
    free(s->weight);
    free(s->n_recent);
    free(s->recent);
    free(s);
}
