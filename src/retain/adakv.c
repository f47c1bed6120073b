/* AdaKV (arXiv 2407.11550): SnapKV's scores, but the entries of a layer are pooled: each head is sure of a share of its
   best, and the rest goes to the best of all heads together. */
#include "retain/policy.h"

enum { GUARANTEE };
static const struct fkv_own_option options[] = {
    [GUARANTEE] = {"guarantee", FKV_OPTION_NUMBER, 0.2, 0, 1,
                   "share of a head's scored entries that no other head can take from it"},
    {0},
};

static void layer(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s,
                  struct fkv_layer_plan *plan)
{
    (void)state;
    fkv_retain_by_window(p, s, plan);
    fkv_pool_heads(s, fkv_own_option(&fkv_policy_adakv, p, GUARANTEE), plan);
}

const struct fkv_policy fkv_policy_adakv = {.name = "adakv",
                                            .about = "snapkv with the entries of a layer pooled over its heads",
                                            .options = options,
                                            .layer = layer};
