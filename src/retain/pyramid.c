/* PyramidKV (arXiv 2406.02069): SnapKV, but lower layers keep more. From the first layer to the last the entries
   besides the window fall in equal steps, from nearly twice the mean to a twentieth of it. */
#include <math.h>

#include "retain/policy.h"

static void layer(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s,
                  struct fkv_layer_plan *plan)
{
    (void)state;
    fkv_retain_by_window(p, s, plan);
    const double mean = fkv_budget(s, p->kv_retain, p->kv_budget, p->kv_floor) - s->window, all = s->n_rows - s->window;
    const double last = mean / 20, first = 2 * mean - last, top = fmin(first, all),
                 bottom = top < first ? 2 * mean - top : last;
    const double down = s->n_layer > 1 ? (double)s->layer / (s->n_layer - 1) : 0;
    const int least = s->window + s->sinks, keep = s->window + (int)lround(top - (top - bottom) * down);
    plan->keep = keep < least ? least : keep;
}

const struct fkv_policy fkv_policy_pyramid = {.name = "pyramid",
                                              .about = "snapkv with more entries in lower layers",
                                              .layer = layer};
