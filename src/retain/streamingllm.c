/* StreamingLLM (arXiv 2309.17453): the first entries (sinks) and the latest. */
#include "retain/policy.h"

static void layer(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s,
                  struct fkv_layer_plan *plan)
{
    (void)state;
    plan->keep = fkv_budget(s, p->kv_retain, p->kv_budget, p->kv_floor);
}

const struct fkv_policy fkv_policy_streamingllm = {.name = "streamingllm",
                                                   .about = "sinks and the most recent entries",
                                                   .layer = layer};
