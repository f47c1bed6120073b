/* policy.h: what a retention policy decides, as data that any back end can run where K lies.

   A policy is one file, <name>.c, and one row of policies.def. For each layer of a prefill it says which rows are
   scored how, how many entries each KV head keeps, and how many rows go on. */
#ifndef FKV_RETAIN_POLICY_H
#define FKV_RETAIN_POLICY_H

#include "base/error.h"

struct fkv_layer_state {
    int layer, n_layer;
    int n_prompt; /* rows of this turn when they entered the first layer: N */
    int n_rows;   /* rows alive in this layer */
    int sinks;    /* of the rows alive, how many of the first are sinks */
};

enum fkv_ranking {
    FKV_RANK_RECENCY, /* the latest rows are best: nothing is computed */
    FKV_RANK_WINDOW   /* the rows the last `window` rows attend to most (fastkv paper, section 3.2) */
};

struct fkv_layer_plan {
    enum fkv_ranking ranking;
    int keep;      /* entries per KV head, window and sinks among them; n_rows: all */
    int propagate; /* rows that go on to the next layer; n_rows: all */
};

struct fkv_policy {
    const char *name, *about;
    /* keep and propagate come in as n_rows and ranking as RECENCY: a policy changes what it wants otherwise. It keeps
       window + sinks <= keep and window + sinks <= propagate where they are below n_rows. */
    void (*plan)(const struct fkv_kv_params *p, const struct fkv_layer_state *s, struct fkv_layer_plan *plan);
};

/* NULL when there is none of that name. */
const struct fkv_policy *fkv_policy_find(const char *name);
/* Checks every option and resolves tsp_layer -1. The message names the option. */
fkv_status fkv_kv_params_check(struct fkv_kv_params *p, int n_layer, struct fkv_error *e);
/* The plan of a layer, bounded to 1 .. n_rows. */
struct fkv_layer_plan fkv_policy_plan(const struct fkv_policy *policy, const struct fkv_kv_params *p,
                                      const struct fkv_layer_state *s);

/* max(trunc(n * rate), floor), or the absolute `budget` when it is not 0; never below window + sinks: what most
   policies' counts are. */
int fkv_budget(const struct fkv_kv_params *p, const struct fkv_layer_state *s, double rate, int budget, int floor);

#endif
