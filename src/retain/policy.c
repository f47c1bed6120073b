#include "retain/policy.h"

#include <math.h>
#include <string.h>

#include "simd/simd.h"

#define POLICY(name) extern const struct fkv_policy fkv_policy_##name;
#include "retain/policies.def"
#undef POLICY

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

static fkv_status check_rate(const char *option, double rate, struct fkv_error *e)
{
    if (rate > 0 && rate <= 1) return FKV_OK;
    return fkv_fail(e, FKV_ERROR_ARGUMENT, "%s: expected a share in (0, 1], found %g", option, rate);
}

static fkv_status check_range(const char *option, int value, int least, int most, struct fkv_error *e)
{
    if (value >= least && value <= most) return FKV_OK;
    return fkv_fail(e, FKV_ERROR_ARGUMENT, "%s: expected %d to %d, found %d", option, least, most, value);
}

fkv_status fkv_kv_params_check(struct fkv_kv_params *p, int n_layer, struct fkv_error *e)
{
    const int most = 1 << 30;
    fkv_status status;
    if (!p->policy || !fkv_policy_find(p->policy))
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "kv-policy: there is no policy named %s",
                        p->policy ? p->policy : "(null)");
    if ((status = check_range("tsp-layer", p->tsp_layer, -1, n_layer - 1, e)) != FKV_OK) return status;
    if ((status = check_rate("tsp-rate", p->tsp_rate, e)) != FKV_OK) return status;
    if ((status = check_rate("kv-retain", p->kv_retain, e)) != FKV_OK) return status;
    if ((status = check_range("kv-window", p->window, 1, FKV_MAX_WINDOW, e)) != FKV_OK) return status;
    if ((status = check_range("kv-pool-kernel", p->pool_kernel, 1, 255, e)) != FKV_OK) return status;
    if (p->pool_kernel % 2 == 0)
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "kv-pool-kernel: expected an odd number, found %d", p->pool_kernel);
    if ((status = check_range("kv-sinks", p->sinks, 0, 65536, e)) != FKV_OK) return status;
    if ((status = check_range("kv-floor", p->kv_floor, 0, most, e)) != FKV_OK) return status;
    if ((status = check_range("tsp-floor", p->tsp_floor, 0, most, e)) != FKV_OK) return status;
    if ((status = check_range("kv-budget", p->kv_budget, 0, most, e)) != FKV_OK) return status;
    if ((status = check_range("tsp-budget", p->tsp_budget, 0, most, e)) != FKV_OK) return status;
    if (p->tsp_layer < 0) p->tsp_layer = n_layer >= 2 ? n_layer / 2 - 1 : 0;
    return FKV_OK;
}

static int bounded(int x, int most) { return x < 1 ? 1 : x < most ? x : most; }

struct fkv_layer_plan fkv_policy_plan(const struct fkv_policy *policy, const struct fkv_kv_params *p,
                                      const struct fkv_layer_state *s)
{
    struct fkv_layer_plan plan = {FKV_RANK_RECENCY, s->n_rows, s->n_rows};
    policy->plan(p, s, &plan);
    plan.keep = bounded(plan.keep, s->n_rows);
    plan.propagate = bounded(plan.propagate, s->n_rows);
    return plan;
}

int fkv_budget(const struct fkv_kv_params *p, const struct fkv_layer_state *s, double rate, int budget, int floor)
{
    const double share = trunc((double)s->n_rows * rate);
    const int by_rate = share < (double)s->n_rows ? (int)share : s->n_rows;
    const int count = budget > 0 ? budget : by_rate < floor ? floor : by_rate;
    const int least = p->window + s->sinks;
    return count < least ? least : count;
}
