/* Full attention: every row goes on, every entry is kept. */
#include "retain/policy.h"

static void layer(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s,
                  struct fkv_layer_plan *plan)
{
    (void)state, (void)p, (void)s, (void)plan;
}

const struct fkv_policy fkv_policy_full = {.name = "full",
                                           .about = "full attention: everything is kept",
                                           .layer = layer};
