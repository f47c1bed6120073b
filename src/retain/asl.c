/* ASL (arXiv 2601.07667): FastKV, but the TSP layer is the one from which on the best rows stay the same: where the
   variance of their ranks over the last layers has fallen to a share of what it was when first looked at, a third of
   the way up. At three quarters rows go on in any case. */
#include <stdlib.h>

#include "retain/policy.h"

enum { LAYERS, FALLEN };
static const struct fkv_own_option options[] = {
    [LAYERS] = {"layers", FKV_OPTION_COUNT, 8, 2, 64, "layers whose ranks are compared"},
    [FALLEN] = {"fallen", FKV_OPTION_NUMBER, 0.3, 0, 1, "share of the first variance that is low enough"},
    {0},
};

struct ranked {
    float score;
    int32_t row;
};

struct state {
    int n_prompt, layers;
    int32_t *rank;          /* [layers][n_prompt] a ring: of rows, 0 the best */
    struct ranked *ordered; /* [n_prompt] */
    double first;           /* the variance in the first layer that looks */
    bool fired;
};

static void end(void *state)
{
    struct state *t = state;
    free(t->rank);
    free(t->ordered);
    free(t);
}

static fkv_status begin(void **state, const struct fkv_kv_params *p, int n_layer, int n_prompt)
{
    (void)n_layer;
    struct state *t = calloc(1, sizeof *t);
    if (!t) return FKV_ERROR_MEMORY;
    t->n_prompt = n_prompt;
    t->layers = (int)fkv_own_option(&fkv_policy_asl, p, LAYERS);
    t->rank = calloc((size_t)t->layers * (size_t)n_prompt, sizeof *t->rank);
    t->ordered = calloc((size_t)n_prompt, sizeof *t->ordered);
    if (!t->rank || !t->ordered) {
        end(t);
        return FKV_ERROR_MEMORY;
    }
    *state = t;
    return FKV_OK;
}

/* The first layer that looks, and the last that may wait. */
static int first_look(const struct fkv_layer_state *s, int layers)
{
    return s->n_layer / 3 > layers - 1 ? s->n_layer / 3 : layers - 1;
}
static int last_look(const struct fkv_layer_state *s) { return 3 * s->n_layer / 4; }

static int rows_to_go_on(const struct fkv_kv_params *p, const struct fkv_layer_state *s)
{
    return fkv_budget(s, p->tsp_rate, p->tsp_budget, p->tsp_floor);
}

static void layer(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s,
                  struct fkv_layer_plan *plan)
{
    const struct state *t = state;
    const int layers = (int)fkv_own_option(&fkv_policy_asl, p, LAYERS);
    struct fkv_layer_state whole = *s;
    whole.n_rows = s->n_prompt;
    plan->ranking = FKV_RANK_WINDOW;
    plan->keep = fkv_budget(&whole, fkv_layer_share(p, s), p->kv_budget, p->kv_floor);
    if ((t && t->fired) || fkv_all_go_on(p, s)) return;
    if (s->layer == last_look(s)) plan->propagate = rows_to_go_on(p, s);
    plan->wants_scores = s->layer > first_look(s, layers) - layers && s->layer < last_look(s);
}

static int better_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score ? 1 : x->row < y->row ? -1 : 1;
}

static void take_ranks(struct state *t, const struct fkv_layer_state *s, const float *g, int n)
{
    int32_t *rank = t->rank + (size_t)(s->layer % t->layers) * (size_t)t->n_prompt;
    for (int i = 0; i < n; i++) {
        t->ordered[i] = (struct ranked){0, i};
        for (int h = 0; h < s->n_kv_head; h++) t->ordered[i].score += g[(size_t)h * (size_t)n + (size_t)i];
    }
    qsort(t->ordered, (size_t)n, sizeof *t->ordered, better_first);
    for (int i = 0; i < n; i++) rank[t->ordered[i].row] = i;
}

/* The mean variance of the ranks of all rows that are among the best `best` in one of the layers. */
static double variance(const struct state *t, int n, int best)
{
    double all = 0;
    int rows = 0;
    for (int i = 0; i < n; i++) {
        double sum = 0, squares = 0;
        bool among = false;
        for (int l = 0; l < t->layers; l++) {
            const int32_t rank = t->rank[(size_t)l * (size_t)t->n_prompt + (size_t)i];
            among |= rank < best;
            sum += rank;
            squares += (double)rank * rank;
        }
        if (!among) continue;
        const double mean = sum / t->layers;
        all += squares / t->layers - mean * mean;
        rows++;
    }
    return rows ? all / rows : 0;
}

static void scored(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s, const float *g,
                   struct fkv_layer_plan *plan)
{
    struct state *t = state;
    const int n = s->n_rows - plan->scoring.window, go_on = rows_to_go_on(p, s);
    take_ranks(t, s, g, n);
    if (s->layer < first_look(s, t->layers)) return;
    const double now = variance(t, n, go_on - plan->scoring.window);
    if (s->layer == first_look(s, t->layers)) {
        t->first = now;
        return;
    }
    t->fired = now == 0 || now < fkv_own_option(&fkv_policy_asl, p, FALLEN) * t->first;
    if (t->fired) plan->propagate = go_on;
}

const struct fkv_policy fkv_policy_asl = {.name = "asl",
                                          .about = "fastkv, but rows go on where their ranks have settled",
                                          .options = options,
                                          .begin = begin,
                                          .end = end,
                                          .layer = layer,
                                          .scored = scored};
