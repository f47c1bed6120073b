/* Full attention: every row goes on, every entry is kept. */
#include "retain/policy.h"

static void plan(const struct fkv_kv_params *p, const struct fkv_layer_state *s, struct fkv_layer_plan *out)
{
    (void)p, (void)s, (void)out;
}

const struct fkv_policy fkv_policy_full = {"full", "full attention: everything is kept", plan};
