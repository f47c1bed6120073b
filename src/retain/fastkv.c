/* FastKV (arXiv 2502.01068, sections 3.2 and 3.3): the best attended rows go past the TSP layer, and every layer,
   independently, keeps the best attended entries. Rates after the TSP layer are relative to the rows alive there, so
   that every layer keeps about the same. */
#include "retain/policy.h"

static void plan(const struct fkv_kv_params *p, const struct fkv_layer_state *s, struct fkv_layer_plan *out)
{
    const double rate = s->layer <= p->tsp_layer ? p->kv_retain : p->kv_retain / p->tsp_rate;
    out->ranking = FKV_RANK_WINDOW;
    out->keep = fkv_budget(p, s, rate, p->kv_budget, p->kv_floor);
    if (s->layer == p->tsp_layer) out->propagate = fkv_budget(p, s, p->tsp_rate, p->tsp_budget, p->tsp_floor);
}

const struct fkv_policy fkv_policy_fastkv = {"fastkv", "token-selective propagation and retention by attention scores",
                                             plan};
