/* StructKV (arXiv 2604.06746), with the pivot at a fixed layer, the TSP layer: rows go on by a decayed sum of the
   scores of all layers up to it, C <- decay C + S; every layer keeps entries by its own scores, as FastKV does. */
#include <stdlib.h>

#include "retain/policy.h"

enum { DECAY };
static const struct fkv_own_option options[] = {
    [DECAY] = {"decay", FKV_OPTION_NUMBER, 0.9, 0, 1, "what a layer's scores count in the next one; 0 is fastkv"},
    {0},
};

struct state {
    float *sum; /* [n_prompt] */
};

static fkv_status begin(void **state, const struct fkv_kv_params *p, int n_layer, int n_prompt)
{
    (void)p, (void)n_layer;
    struct state *t = calloc(1, sizeof *t);
    if (!t) return FKV_ERROR_MEMORY;
    t->sum = calloc((size_t)n_prompt, sizeof *t->sum);
    if (!t->sum) {
        free(t);
        return FKV_ERROR_MEMORY;
    }
    *state = t;
    return FKV_OK;
}

static void end(void *state)
{
    struct state *t = state;
    free(t->sum);
    free(t);
}

static void layer(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s,
                  struct fkv_layer_plan *plan)
{
    (void)state;
    fkv_propagate_at_tsp(p, s, plan);
    plan->wants_scores = s->layer <= p->tsp_layer;
}

/* S is the window's attention, pooled, summed over the heads and the window's rows, divided by their number. */
static void scored(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s, const float *g,
                   struct fkv_layer_plan *plan)
{
    struct state *t = state;
    const float decay = (float)fkv_own_option(&fkv_policy_structkv, p, DECAY), rows = (float)plan->scoring.window;
    const int n = s->n_rows - plan->scoring.window;
    for (int i = 0; i < n; i++) {
        float sum = 0;
        for (int h = 0; h < s->n_kv_head; h++) sum += g[(size_t)h * (size_t)n + (size_t)i];
        t->sum[i] = decay * t->sum[i] + sum / rows;
    }
    plan->rank = t->sum;
}

const struct fkv_policy fkv_policy_structkv = {.name = "structkv",
                                               .about = "fastkv, but rows go on by the scores of all layers so far",
                                               .options = options,
                                               .begin = begin,
                                               .end = end,
                                               .layer = layer,
                                               .scored = scored};
