/* FastKV that keeps more where less does not do: its window is the question, its scores are maxima with spans, and a
   layer keeps its best entries until they hold a share `mass` of the window's attention on the rows before it but the
   first, which takes what heads have no use for; from kv-retain on to `most` times that, in 64 steps. Of the rows, the
   same multiple of tsp-rate goes on that the layers before needed on average. After the prefill the last token is
   decoded again: where what it leads to is farther than `kl` from what it led to, all layers keep twice as much, four
   times, `back-off` times. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "retain/policy.h"

enum { MASS, MOST, BACK_OFF, KL };
static const struct fkv_own_option options[] = {
    [MASS] = {"mass", FKV_OPTION_NUMBER, 0.9, 0, 1,
              "share of the window's attention that a layer keeps, on average over its heads; 0 is fastkv"},
    [MOST] = {"most", FKV_OPTION_NUMBER, 4, 1, 1000, "most times kv-retain that a layer keeps for it"},
    [BACK_OFF] = {"back-off", FKV_OPTION_COUNT, 4, 1, 1000,
                  "most times that, if the answer changes by a self-check, which takes the time of a token; 1: none"},
    /* Of 30 compressed prompts whose answers changed in 19 (score or KL above 0.1), 0.01 finds 17, and 3 of the other
       11; a check over all entries comes to 0.001 at most: fastkv eval, in bench/results/quality.md */
    [KL] = {"kl", FKV_OPTION_NUMBER, 0.01, 0, 100, "least of the self-check by which it has, in nats"},
    {0},
};
enum { SPAN = 16, STEPS = 64 };

/* A row, by how good it is: the less the better. */
struct place {
    uint32_t key;
    int32_t row;
};

struct state {
    double raised; /* sum over the layers so far of what they kept, as a multiple of the least */
    int n;
    struct place *order, *scratch; /* [n_prompt] */
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
    free(t->order);
    free(t->scratch);
    free(t);
}

static fkv_status begin(void **state, const struct fkv_kv_params *p, int n_layer, int n_prompt)
{
    (void)p, (void)n_layer;
    struct state *t = calloc(1, sizeof *t);
    if (!t) return FKV_ERROR_MEMORY;
    t->order = calloc((size_t)n_prompt, sizeof *t->order);
    t->scratch = calloc((size_t)n_prompt, sizeof *t->scratch);
    if (!t->order || !t->scratch) {
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
    plan->times = raises ? (int)fkv_own_option(&fkv_policy_auto, p, BACK_OFF) : 1;
    plan->kl = fkv_own_option(&fkv_policy_auto, p, KL);
    plan->keep = raises ? times(kept, most, s->n_rows) : kept;
    plan->wants_scores = plan->wants_looked = raises && kept < s->n_rows;
    if (s->layer == p->tsp_layer) plan->propagate = plan->wants_scores ? times(on, most, s->n_rows) : on;
}

/* Keys in the opposite order of the scores, which are no NaN. */
static uint32_t key_of(float score)
{
    uint32_t bits;
    score += 0.0f; /* -0 becomes +0 */
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : ~bits & 0x7fffffffu;
}

/* t->order: rows 0 .. n - 1, the best first, of equals the lower. Sorted by 11 bits of the keys at a time. */
static void order_rows(struct state *t, const float *score, int n)
{
    enum { BITS = 11, KINDS = 1 << BITS };
    for (int i = 0; i < n; i++) t->order[i] = (struct place){key_of(score[i]), i};
    for (int shift = 0; shift < 32; shift += BITS) {
        int to[KINDS + 1] = {0};
        for (int i = 0; i < n; i++) to[(t->order[i].key >> shift) % KINDS + 1]++;
        for (int i = 0; i < KINDS; i++) to[i + 1] += to[i];
        for (int i = 0; i < n; i++) t->scratch[to[(t->order[i].key >> shift) % KINDS]++] = t->order[i];
        struct place *sorted = t->scratch;
        t->scratch = t->order;
        t->order = sorted;
    }
}

/* share[i] += the share of a head's attention that it holds when it keeps its best count[i] rows, the first `sinks` of
   all before others. */
static void add_shares(const struct state *t, const float *even, const float *odd, int n, int sinks,
                       const int count[STEPS + 1], double share[STEPS + 1])
{
    double all = 0, on = 0;
    int k = 0, next = 0;
    for (int i = 1; i < n; i++) all += (double)even[i] + (double)odd[i];
    for (int i = 0; i <= STEPS; i++) {
        for (; k < count[i] && k < n; k++) {
            while (k >= sinks && t->order[next].row < sinks) next++;
            const int row = k < sinks ? k : t->order[next++].row;
            if (row > 0) on += (double)even[row] + (double)odd[row];
        }
        share[i] += all > 0 ? on / all : 1;
    }
}

/* What the layer is to keep: the first of the steps from least to most at which its heads hold the share wanted. */
static int enough(struct state *t, const struct fkv_layer_state *s, const struct fkv_layer_plan *plan, const float *g,
                  int least, int most, double wanted)
{
    const int window = plan->scoring.window, n = s->n_rows - window;
    const size_t all = (size_t)s->n_kv_head * (size_t)n;
    int count[STEPS + 1], i = 0;
    double share[STEPS + 1] = {0};
    for (; i <= STEPS; i++) count[i] = least - window + (int)((int64_t)(most - least) * i / STEPS);
    for (int h = 0; h < s->n_kv_head; h++) {
        const size_t at = (size_t)h * (size_t)n;
        order_rows(t, g + at, n);
        add_shares(t, s->looked + at, s->looked + all + at, n, plan->sinks, count, share);
    }
    for (i = 0; i < STEPS && share[i] / s->n_kv_head < wanted;) i++;
    return count[i] + window;
}

static void scored(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s, const float *g,
                   struct fkv_layer_plan *plan)
{
    struct state *t = state;
    const int least = least_kept(p, s), most = plan->keep < s->n_rows ? plan->keep : s->n_rows;
    plan->keep = enough(t, s, plan, g, least, most, fkv_own_option(&fkv_policy_auto, p, MASS));
    t->raised += (double)plan->keep / least;
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
