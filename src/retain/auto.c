/* FastKV that keeps more where less does not do: its window is the question, its scores are maxima with spans, and a
   layer keeps its best entries until they hold a share `mass` of the window's attention on the rows before it but the
   first, which takes what heads have no use for; from kv-retain on to `most` times that. Of the rows, the same multiple
   of tsp-rate goes on that the layers before needed on average. Between the two ends a layer's count is found by
   halving, to a 64th. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "retain/policy.h"
#include "simd/simd.h"

enum { MASS, MOST };
static const struct fkv_own_option options[] = {
    [MASS] = {"mass", FKV_OPTION_NUMBER, 0.9, 0, 1,
              "share of the window's attention that a layer keeps, on average over its heads; 0 is fastkv"},
    [MOST] = {"most", FKV_OPTION_NUMBER, 4, 1, 1000, "most times kv-retain that a layer keeps for it"},
    {0},
};
enum { SPAN = 16, HALVINGS = 6 };

struct state {
    double raised; /* sum over the layers so far of what they kept, as a multiple of the least */
    int n;
    float *copy;    /* [n_prompt] */
    uint32_t *keys; /* [n_prompt] */
    int32_t *rows;  /* [n_prompt] */
};

static void settle(struct fkv_kv_params *p)
{
    p->question = true;
    p->score = FKV_KV_SCORE_MAX;
    if (p->span == 0) p->span = SPAN;
}

static void end(void *state)
{
    struct state *t = state;
    free(t->copy);
    free(t->keys);
    free(t->rows);
    free(t);
}

static fkv_status begin(void **state, const struct fkv_kv_params *p, int n_layer, int n_prompt)
{
    (void)p, (void)n_layer;
    struct state *t = calloc(1, sizeof *t);
    const size_t n = (size_t)n_prompt;
    if (!t) return FKV_ERROR_MEMORY;
    t->copy = calloc(n, sizeof *t->copy);
    t->keys = calloc(n, sizeof *t->keys);
    t->rows = calloc(n, sizeof *t->rows);
    if (!t->copy || !t->keys || !t->rows) {
        end(t);
        return FKV_ERROR_MEMORY;
    }
    *state = t;
    return FKV_OK;
}

static int times(int count, double by, int most)
{
    const double x = (double)count * by;
    return x < (double)most ? (int)x : most;
}

/* What a layer keeps, and what goes on, at least: shares of the prompt, whatever is left of it. */
static int least_kept(const struct fkv_kv_params *p, const struct fkv_layer_state *s)
{
    struct fkv_layer_state whole = *s;
    whole.n_rows = s->n_prompt;
    const int n = fkv_budget(&whole, p->kv_retain, p->kv_budget, p->kv_floor);
    return n < s->n_rows ? n : s->n_rows;
}

static int least_on(const struct fkv_kv_params *p, const struct fkv_layer_state *s)
{
    return fkv_budget(s, p->tsp_rate, p->tsp_budget, p->tsp_floor);
}

static void layer(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s,
                  struct fkv_layer_plan *plan)
{
    (void)state;
    const double most = fkv_own_option(&fkv_policy_auto, p, MOST);
    const bool raises = fkv_own_option(&fkv_policy_auto, p, MASS) > 0;
    const int kept = least_kept(p, s), on = least_on(p, s);
    plan->ranking = FKV_RANK_WINDOW;
    plan->keep = raises ? times(kept, most, s->n_rows) : kept;
    plan->wants_scores = plan->wants_looked = raises && kept < s->n_rows;
    if (s->layer == p->tsp_layer) plan->propagate = plan->wants_scores ? times(on, most, s->n_rows) : on;
}

/* The share of a head's attention that its best k of n rows hold. */
static double mass_of(const struct state *t, const float *g, const float *even, const float *odd, int n, int k)
{
    double all = 0, on = 0;
    for (int i = 1; i < n; i++) all += (double)even[i] + (double)odd[i];
    fkv_simd_kernels(fkv_simd_find_level(NULL))->top_k(g, n, k, t->keys, t->rows);
    for (int i = 0; i < k; i++)
        if (t->rows[i] > 0) on += (double)even[t->rows[i]] + (double)odd[t->rows[i]];
    return all > 0 ? on / all : 1;
}

/* The mean over the heads, when each keeps `keep`. */
static double mass(const struct state *t, const struct fkv_layer_state *s, const struct fkv_layer_plan *plan,
                   const float *g, int keep)
{
    const int n = s->n_rows - plan->scoring.window, sinks = plan->sinks;
    const size_t all = (size_t)s->n_kv_head * (size_t)n;
    double sum = 0;
    for (int h = 0; h < s->n_kv_head; h++) {
        const size_t at = (size_t)h * (size_t)n;
        memcpy(t->copy, g + at, (size_t)n * sizeof *t->copy);
        for (int i = 0; i < sinks && i < n; i++) t->copy[i] = INFINITY;
        sum += mass_of(t, t->copy, s->looked + at, s->looked + all + at, n, keep - plan->scoring.window);
    }
    return sum / s->n_kv_head;
}

static void scored(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s, const float *g,
                   struct fkv_layer_plan *plan)
{
    struct state *t = state;
    const double wanted = fkv_own_option(&fkv_policy_auto, p, MASS);
    const int least = least_kept(p, s);
    int low = least, high = plan->keep < s->n_rows ? plan->keep : s->n_rows; /* high is enough, or the most there is */
    if (mass(t, s, plan, g, low) >= wanted) high = low;
    for (int i = 0; i < HALVINGS && low < high; i++) {
        const int middle = low + (high - low) / 2;
        if (mass(t, s, plan, g, middle) >= wanted)
            high = middle;
        else
            low = middle;
    }
    plan->keep = high;
    t->raised += (double)high / least;
    t->n++;
    if (s->layer == p->tsp_layer) plan->propagate = times(least_on(p, s), t->raised / t->n, s->n_rows);
}

const struct fkv_policy fkv_policy_auto = {.name = "auto",
                                           .about = "fastkv by the question's attention, which keeps more entries and "
                                                    "rows of prompts that need them",
                                           .options = options,
                                           .settle = settle,
                                           .begin = begin,
                                           .end = end,
                                           .layer = layer,
                                           .scored = scored};
