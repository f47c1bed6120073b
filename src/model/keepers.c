/* Other sequences that a prefill fills, each by its own policy: what they keep of a layer is chosen while its full K
   and V are there, before the pass's own sequence takes its share. */
#include "model/prefill.h"

/* The pass as the keeper sees it: all rows go on. */
static struct fkv_prefill_pass view(const struct fkv_prefill_pass *p, const struct fkv_keeper *k)
{
    struct fkv_prefill_pass o = *p;
    o.q = k->q;
    o.params = k->params;
    o.report = k->report;
    o.policy = k->policy;
    o.plan = &k->report->plan[p->state.layer];
    o.going_on = FKV_ALL_ROWS;
    o.state.sinks = k->sinks;
    o.state.window = k->params->window;
    o.state.weight = k->params->weight;
    return o;
}

fkv_status fkv_keepers_begin(const struct fkv_prefill_pass *p)
{
    const int n = p->state.n_rows;
    for (int i = 0; i < p->params->n_keepers; i++) p->params->keepers[i].policy = NULL;
    for (int i = 0; i < p->params->n_keepers; i++) {
        struct fkv_keeper *k = &p->params->keepers[i];
        const struct fkv_policy *policy = k->params->policy;
        k->left_out = false;
        k->sinks = k->params->sinks < n ? k->params->sinks : n;
        fkv_report_begin(k->report);
        const fkv_status status = policy->begin ? policy->begin(&k->policy, k->params->kv, p->state.n_layer, n)
                                                : FKV_OK;
        if (status != FKV_OK) return status;
    }
    return FKV_OK;
}

void fkv_keepers_end(const struct fkv_prefill_pass *p)
{
    for (int i = 0; i < p->params->n_keepers; i++) {
        struct fkv_keeper *k = &p->params->keepers[i];
        if (k->params->policy->end && k->policy) k->params->policy->end(k->policy);
    }
}

int fkv_keepers_plan(const struct fkv_prefill_pass *p)
{
    int window = 0;
    for (int i = 0; i < p->params->n_keepers; i++) {
        struct fkv_keeper *k = &p->params->keepers[i];
        if (k->left_out) continue;
        const struct fkv_prefill_pass o = view(p, k);
        *o.plan = fkv_policy_plan(k->params->policy, k->policy, k->params->kv, &o.state);
        k->left_out = fkv_who_goes_on(o.plan, o.state.n_rows, o.state.layer, o.state.n_layer) == FKV_CHOSEN_ROWS;
        if (!k->left_out && fkv_prefill_scores(&o)) window = o.plan->scoring.window;
    }
    return window;
}

fkv_status fkv_keepers_keep(const struct fkv_prefill_pass *p)
{
    fkv_status status = FKV_OK;
    for (int i = 0; i < p->params->n_keepers && status == FKV_OK; i++) {
        struct fkv_keeper *k = &p->params->keepers[i];
        if (k->left_out) continue;
        struct fkv_prefill_pass o = view(p, k);
        if (fkv_prefill_scores(&o)) status = fkv_prefill_score(&o);
        k->left_out = o.going_on == FKV_CHOSEN_ROWS; /* the scores may have made it so */
        o.going_on = FKV_ALL_ROWS;
        if (status == FKV_OK && !k->left_out) status = fkv_prefill_retain(&o);
    }
    return status;
}
