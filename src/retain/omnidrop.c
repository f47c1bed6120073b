/* OmniDrop (arXiv 2605.14458) on text: every layer leaves some of the rows that the question attends to least behind,
   none at first, up to `most` of them in the last layers, until as many are left as the TSP options say. Layers keep
   entries by their own scores, of the rows that reach them. */
#include <math.h>

#include "retain/policy.h"

enum { MOST };
static const struct fkv_own_option options[] = {
    [MOST] = {"most", FKV_OPTION_NUMBER, 0.4, 0, 1, "share of the rows that a late layer leaves behind"},
    {0},
};

static void settle(struct fkv_kv_params *p) { p->question = true; }

/* Rows that a layer leaves behind, of those that may be. */
static int dropped(const struct fkv_kv_params *p, const struct fkv_layer_state *s)
{
    const double most = fkv_own_option(&fkv_policy_omnidrop, p, MOST), at = (double)s->layer / s->n_layer;
    const int droppable = s->n_rows - s->window - s->sinks;
    if (s->layer > s->n_layer - 3 || droppable <= 0 || fkv_all_go_on(p, s)) return 0;
    return (int)(most / (1 + exp(-20 * (at - 0.5))) * droppable);
}

static void layer(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s,
                  struct fkv_layer_plan *plan)
{
    (void)state;
    struct fkv_layer_state whole = *s;
    whole.n_rows = s->n_prompt;
    const int least = fkv_budget(&whole, p->tsp_rate, p->tsp_budget, p->tsp_floor), left = s->n_rows - dropped(p, s);
    plan->ranking = FKV_RANK_WINDOW;
    plan->keep = fkv_budget(&whole, fkv_layer_share(p, s), p->kv_budget, p->kv_floor);
    plan->propagate = left < least ? least : left;
}

const struct fkv_policy fkv_policy_omnidrop = {.name = "omnidrop",
                                               .about = "fastkv, but every layer leaves some rows behind",
                                               .options = options,
                                               .settle = settle,
                                               .layer = layer};
