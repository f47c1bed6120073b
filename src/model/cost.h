/* cost.h: what a prefill costs, for its progress. */
#ifndef FKV_MODEL_COST_H
#define FKV_MODEL_COST_H

#include "model/hparams.h"
#include "retain/policy.h"

/* Which rows of a layer go through its second half, and on. */
enum fkv_going_on { FKV_ALL_ROWS, FKV_CHOSEN_ROWS, FKV_LAST_ROW };
enum fkv_going_on fkv_who_goes_on(const struct fkv_layer_plan *plan, int n, int layer, int n_layer);
/* How many they are. */
int fkv_rows_after(const struct fkv_layer_plan *plan, int n, int layer, int n_layer);

/* Multiply-adds of a row's K and V; of its second half, queries included, with `keys` entries before it. */
uint64_t fkv_kv_cost(const struct fkv_hparams *h, const struct fkv_layer_hparams *l);
uint64_t fkv_row_cost(const struct fkv_hparams *h, const struct fkv_layer_hparams *l, uint64_t keys);
/* Of the whole prefill of s->n_rows rows, by the policy's estimates. */
uint64_t fkv_prefill_cost(const struct fkv_hparams *h, const struct fkv_policy *policy, const struct fkv_kv_params *kv,
                          const struct fkv_layer_state *s);

#endif
