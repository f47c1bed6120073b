/* CLAA (arXiv 2602.16054): rows go on by their best standing in any KV head of the last layers up to the TSP layer:
   per layer and head z = (g - mean) / (standard deviation + 1e-8), and the maximum over both. Entries as FastKV keeps
   them, but for the first layers, which may stay whole. */
#include <math.h>
#include <stdlib.h>

#include "retain/policy.h"

enum { LAYERS, WHOLE };
static const struct fkv_own_option options[] = {
    [LAYERS] = {"layers", FKV_OPTION_COUNT, 4, 1, 1024,
                "layers whose scores decide which rows go on, the TSP layer the last"},
    [WHOLE] = {"whole", FKV_OPTION_COUNT, 0, 0, 1024, "first layers that keep all entries; the paper: 4"},
    {0},
};

struct state {
    int n_prompt, layers;
    float *best; /* [layers][n_prompt] a ring: by layer, the largest z of any head */
    float *rank; /* [n_prompt] */
};

static void end(void *state)
{
    struct state *t = state;
    free(t->best);
    free(t->rank);
    free(t);
}

static fkv_status begin(void **state, const struct fkv_kv_params *p, int n_layer, int n_prompt)
{
    const int wanted = (int)fkv_own_option(&fkv_policy_claa, p, LAYERS);
    struct state *t = calloc(1, sizeof *t);
    if (!t) return FKV_ERROR_MEMORY;
    t->n_prompt = n_prompt;
    t->layers = wanted < n_layer ? wanted : n_layer;
    t->best = malloc((size_t)t->layers * (size_t)n_prompt * sizeof *t->best);
    t->rank = calloc((size_t)n_prompt, sizeof *t->rank);
    /* layers that are not scored say nothing */
    for (size_t i = 0; t->best && i < (size_t)t->layers * (size_t)n_prompt; i++) t->best[i] = -INFINITY;
    if (!t->best || !t->rank) {
        end(t);
        return FKV_ERROR_MEMORY;
    }
    *state = t;
    return FKV_OK;
}

static void layer(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s,
                  struct fkv_layer_plan *plan)
{
    (void)state;
    fkv_propagate_at_tsp(p, s, plan);
    if (s->layer < (int)fkv_own_option(&fkv_policy_claa, p, WHOLE)) plan->keep = s->n_rows;
    plan->wants_scores = s->layer <= p->tsp_layer &&
                         s->layer > p->tsp_layer - (int)fkv_own_option(&fkv_policy_claa, p, LAYERS);
}

/* best[i] = max(best[i], z of g[i]) */
static void take_standing(const float *g, int n, float *best)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) sum += (double)g[i];
    const double mean = sum / n;
    for (int i = 0; i < n; i++) squares += ((double)g[i] - mean) * ((double)g[i] - mean);
    const double deviation = n > 1 ? sqrt(squares / (n - 1)) : 0;
    for (int i = 0; i < n; i++) best[i] = fmaxf(best[i], (float)(((double)g[i] - mean) / (deviation + 1e-8)));
}

static void scored(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s, const float *g,
                   struct fkv_layer_plan *plan)
{
    struct state *t = state;
    const int n = s->n_rows - plan->scoring.window;
    float *best = t->best + (size_t)(s->layer % t->layers) * (size_t)t->n_prompt;
    for (int i = 0; i < n; i++) best[i] = -INFINITY;
    for (int h = 0; h < s->n_kv_head; h++) take_standing(g + (size_t)h * (size_t)n, n, best);
    if (s->layer < p->tsp_layer) return;
    const int seen = s->layer + 1 < t->layers ? s->layer + 1 : t->layers;
    for (int i = 0; i < n; i++) {
        t->rank[i] = -INFINITY;
        for (int l = 0; l < seen; l++)
            t->rank[i] = fmaxf(t->rank[i], t->best[(size_t)l * (size_t)t->n_prompt + (size_t)i]);
    }
    plan->rank = t->rank;
}

const struct fkv_policy fkv_policy_claa = {.name = "claa",
                                           .about = "fastkv, but rows go on by their best standing in the last layers",
                                           .options = options,
                                           .begin = begin,
                                           .end = end,
                                           .layer = layer,
                                           .scored = scored};
