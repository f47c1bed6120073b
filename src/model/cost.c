#include "model/cost.h"

enum fkv_going_on fkv_who_goes_on(const struct fkv_layer_plan *plan, int n, int layer, int n_layer)
{
    if (layer == n_layer - 1) return FKV_LAST_ROW;
    return plan->propagate < n ? FKV_CHOSEN_ROWS : FKV_ALL_ROWS;
}

int fkv_rows_after(const struct fkv_layer_plan *plan, int n, int layer, int n_layer)
{
    const enum fkv_going_on on = fkv_who_goes_on(plan, n, layer, n_layer);
    return on == FKV_ALL_ROWS ? n : on == FKV_LAST_ROW ? 1 : plan->propagate;
}

uint64_t fkv_kv_cost(const struct fkv_hparams *h, const struct fkv_layer_hparams *l)
{
    return 2 * (uint64_t)l->n_kv_head * (uint64_t)l->d_head * (uint64_t)h->d_model;
}

uint64_t fkv_row_cost(const struct fkv_hparams *h, const struct fkv_layer_hparams *l, uint64_t keys)
{
    const uint64_t q_width = (uint64_t)l->n_head * (uint64_t)l->d_head;
    if (l->window && keys > (uint64_t)l->window) keys = (uint64_t)l->window;
    const uint64_t d_ff = (uint64_t)l->d_ff + (uint64_t)h->n_expert_used * (uint64_t)l->d_ff_expert;
    return 2 * q_width * (uint64_t)h->d_model + 3 * d_ff * (uint64_t)h->d_model + 2 * q_width * keys;
}

uint64_t fkv_prefill_cost(const struct fkv_hparams *h, const struct fkv_policy *policy, const struct fkv_kv_params *kv,
                          const struct fkv_layer_state *start)
{
    struct fkv_layer_state s = *start;
    uint64_t all = 0;
    for (s.layer = 0; s.layer < h->n_layer; s.layer++) {
        const struct fkv_layer_hparams *l = &h->layer[s.layer];
        s.n_kv_head = l->n_kv_head;
        s.local = l->window;
        const struct fkv_layer_plan plan = fkv_policy_plan(policy, NULL, kv, &s);
        const int next = fkv_rows_after(&plan, s.n_rows, s.layer, h->n_layer);
        all += (uint64_t)s.n_rows * fkv_kv_cost(h, l) + (uint64_t)next * fkv_row_cost(h, l, (uint64_t)s.n_rows / 2);
        s.n_rows = next;
    }
    return all;
}
