/* StreamingLLM (arXiv 2309.17453): the first entries (sinks) and the latest. */
#include "retain/policy.h"

static void plan(const struct fkv_kv_params *p, const struct fkv_layer_state *s, struct fkv_layer_plan *out)
{
    out->ranking = FKV_RANK_RECENCY;
    out->keep = fkv_budget(p, s, p->kv_retain, p->kv_budget, p->kv_floor);
}

const struct fkv_policy fkv_policy_streamingllm = {"streamingllm", "sinks and the most recent entries", plan};
