#include "retain/policy.h"

#include <math.h>
#include <string.h>

static const struct fkv_policy *const policies[] = {
#define POLICY(name) &fkv_policy_##name,
#include "retain/policies.def"
#undef POLICY
};
enum { N_POLICIES = sizeof policies / sizeof *policies };

bool fkv_policy_list(int i, const char **name, const char **about)
{
    if (i < 0 || i >= N_POLICIES) return false;
    *name = policies[i]->name;
    *about = policies[i]->about;
    return true;
}

const struct fkv_policy *fkv_policy_find(const char *name)
{
    for (int i = 0; i < N_POLICIES; i++)
        if (strcmp(policies[i]->name, name) == 0) return policies[i];
    return NULL;
}

int fkv_most_window(const struct fkv_kv_params *p) { return p->question ? FKV_MAX_WINDOW : p->window; }

int fkv_most_sinks(const struct fkv_kv_params *p)
{
    return p->question && p->sinks < FKV_HEAD_ROWS ? FKV_HEAD_ROWS : p->sinks;
}

/* ---- plans ------------------------------------------------------------------------------------- */

static int bounded(int x, int most) { return x < 1 ? 1 : x < most ? x : most; }

/* A local layer's, where the policy has that of a full one. */
static struct fkv_layer_plan local_plan(const struct fkv_layer_plan *plan, const struct fkv_layer_state *s)
{
    const bool whole = plan->keep >= s->n_rows || s->local >= s->n_rows;
    return (struct fkv_layer_plan){.ranking = FKV_RANK_RECENCY,
                                   .scoring = plan->scoring,
                                   .keep = whole ? s->n_rows : s->local,
                                   .propagate = s->n_rows,
                                   .times = 1};
}

static enum fkv_reduce reduce_of(const struct fkv_kv_params *p)
{
    return p->score == FKV_KV_SCORE_DROP  ? FKV_REDUCE_DROP
           : p->score == FKV_KV_SCORE_MAX ? FKV_REDUCE_MAX
                                          : FKV_REDUCE_SUM;
}

void fkv_pool_heads(const struct fkv_layer_state *s, double guarantee, struct fkv_layer_plan *plan)
{
    const int free = plan->keep - plan->scoring.window - s->sinks;
    plan->spread = FKV_SPREAD_POOLED;
    plan->least = free > 0 ? (int)(guarantee * free) : 0;
}

/* AdaKV's guarantee. */
static void pool_heads(const struct fkv_kv_params *p, const struct fkv_layer_state *s, struct fkv_layer_plan *plan)
{
    if (p->pooled && plan->ranking == FKV_RANK_WINDOW) fkv_pool_heads(s, 0.2, plan);
}

struct fkv_layer_plan fkv_policy_plan(const struct fkv_policy *policy, void *state, const struct fkv_kv_params *p,
                                      const struct fkv_layer_state *s)
{
    struct fkv_layer_plan plan = {.ranking = FKV_RANK_RECENCY,
                                  .scoring = {.window = s->window,
                                              .reduce = reduce_of(p),
                                              .weight = s->weight,
                                              .value_norm = p->value_norm,
                                              .pool_avg = p->pool_avg,
                                              .pool_kernel = p->pool_kernel,
                                              .span = p->span},
                                  .sinks = s->sinks,
                                  .keep = s->n_rows,
                                  .propagate = s->n_rows,
                                  .times = 1};
    policy->layer(state, p, s, &plan);
    if (s->local) plan = local_plan(&plan, s);
    plan.keep = bounded(plan.keep, s->n_rows);
    plan.propagate = bounded(plan.propagate, s->n_rows);
    if (plan.spread == FKV_SPREAD_EQUAL) pool_heads(p, s, &plan);
    plan.wants_scores = plan.wants_scores && plan.ranking == FKV_RANK_WINDOW && s->n_rows > plan.scoring.window;
    plan.wants_looked = plan.wants_looked && plan.wants_scores;
    return plan;
}

void fkv_policy_scored(const struct fkv_policy *policy, void *state, const struct fkv_kv_params *p,
                       const struct fkv_layer_state *s, const float *g, struct fkv_layer_plan *plan)
{
    const int keep = plan->keep, propagate = plan->propagate;
    policy->scored(state, p, s, g, plan);
    plan->keep = bounded(plan->keep, keep);
    plan->propagate = bounded(plan->propagate, propagate);
    pool_heads(p, s, plan);
}

/* ---- for policies -------------------------------------------------------------------------------- */

int fkv_budget(const struct fkv_layer_state *s, double rate, int budget, int floor)
{
    const double share = trunc((double)s->n_rows * rate);
    const int by_rate = share < (double)s->n_rows ? (int)share : s->n_rows;
    const int count = budget > 0 ? budget : by_rate < floor ? floor : by_rate;
    const int least = s->window + s->sinks;
    return count < least ? least : count;
}

/* CLAA's first layers within the budget of all. */
double fkv_layer_share(const struct fkv_kv_params *p, const struct fkv_layer_state *s)
{
    const int first = p->first_layers < s->n_layer ? p->first_layers : s->n_layer;
    if (first == 0) return p->kv_retain;
    const double most = p->kv_retain * s->n_layer / first;
    const double share = fmin(fmax(p->first_share, p->kv_retain), most);
    return s->layer < first ? share : (p->kv_retain * s->n_layer - share * first) / (s->n_layer - first);
}

void fkv_retain_by_window(const struct fkv_kv_params *p, const struct fkv_layer_state *s, struct fkv_layer_plan *plan)
{
    plan->ranking = FKV_RANK_WINDOW;
    plan->keep = fkv_budget(s, fkv_layer_share(p, s), p->kv_budget, p->kv_floor);
}

void fkv_propagate_at_tsp(const struct fkv_kv_params *p, const struct fkv_layer_state *s, struct fkv_layer_plan *plan)
{
    const double share = fkv_layer_share(p, s), rate = s->layer <= p->tsp_layer ? share : share / p->tsp_rate;
    plan->ranking = FKV_RANK_WINDOW;
    plan->keep = fkv_budget(s, rate, p->kv_budget, p->kv_floor);
    if (s->layer == p->tsp_layer) plan->propagate = fkv_budget(s, p->tsp_rate, p->tsp_budget, p->tsp_floor);
}
