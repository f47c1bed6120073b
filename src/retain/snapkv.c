/* SnapKV (arXiv 2404.14469): retention by the attention of the last rows, as FastKV has it; every row goes through
   every layer. */
#include "retain/policy.h"

static void plan(const struct fkv_kv_params *p, const struct fkv_layer_state *s, struct fkv_layer_plan *out)
{
    out->ranking = FKV_RANK_WINDOW;
    out->keep = fkv_budget(p, s, p->kv_retain, p->kv_budget, p->kv_floor);
}

const struct fkv_policy fkv_policy_snapkv = {"snapkv", "retention by attention scores, without propagation", plan};
