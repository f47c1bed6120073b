/* A baseline: as many entries as snapkv keeps, drawn at random, the same in every head. What does no better than this
   and than streamingllm looks at nothing. */
#include <stdlib.h>

#include "retain/policy.h"

enum { SEED };
static const struct fkv_own_option options[] = {
    [SEED] = {"seed", FKV_OPTION_COUNT, 1, 0, 1 << 30, "same seed, same entries"},
    {0},
};

static fkv_status begin(void **state, const struct fkv_kv_params *p, int n_layer, int n_prompt)
{
    (void)p, (void)n_layer;
    *state = calloc((size_t)n_prompt, sizeof(float));
    return *state ? FKV_OK : FKV_ERROR_MEMORY;
}

static void layer(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s,
                  struct fkv_layer_plan *plan)
{
    float *rank = state; /* [n_prompt] */
    plan->ranking = FKV_RANK_OWN;
    plan->keep = fkv_budget(s, p->kv_retain, p->kv_budget, p->kv_floor);
    plan->rank = rank;
    uint64_t x = (uint64_t)fkv_own_option(&fkv_policy_random, p, SEED) << 16 | (uint64_t)s->layer;
    for (int i = 0; rank && i < s->n_rows; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        rank[i] = (float)(x >> 40);
    }
}

const struct fkv_policy fkv_policy_random = {.name = "random",
                                             .about = "entries at random: a baseline",
                                             .options = options,
                                             .begin = begin,
                                             .end = free,
                                             .layer = layer};
