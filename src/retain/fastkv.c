/* FastKV (arXiv 2502.01068, sections 3.2 and 3.3): the best attended rows go past the TSP layer, and every layer,
   independently, keeps the best attended entries. Rates after the TSP layer are relative to the rows alive there, so
   that every layer keeps about the same. */
#include "retain/policy.h"

static void layer(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s,
                  struct fkv_layer_plan *plan)
{
    (void)state;
    fkv_propagate_at_tsp(p, s, plan);
}

const struct fkv_policy fkv_policy_fastkv = {.name = "fastkv",
                                             .about = "token-selective propagation and retention by attention scores",
                                             .layer = layer};
