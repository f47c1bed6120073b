/* SnapKV (arXiv 2404.14469): retention by the attention of the last rows, as FastKV has it; every row goes through
   every layer. */
#include "retain/policy.h"

static void layer(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s,
                  struct fkv_layer_plan *plan)
{
    (void)state;
    fkv_retain_by_window(p, s, plan);
}

const struct fkv_policy fkv_policy_snapkv = {.name = "snapkv",
                                             .about = "retention by attention scores, without propagation",
                                             .layer = layer};
