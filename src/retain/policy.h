/* policy.h: what a retention policy decides, as data that any back end can run where K lies.

   A policy is one file, <name>.c, and one row of policies.def. For each layer of a prefill it says which rows are
   scored how, how many entries the KV heads keep, and how many rows go on. What a plan cannot say from counts alone it
   decides in `scored`, which sees the layer's scores and may remember them from layer to layer. */
#ifndef FKV_RETAIN_POLICY_H
#define FKV_RETAIN_POLICY_H

#include "backend/backend.h"
#include "base/error.h"

enum { FKV_HEAD_ROWS = 64 }; /* most rows of a prompt's head that are kept */

struct fkv_layer_state {
    int layer, n_layer;
    int n_prompt;        /* rows of this turn when they entered the first layer: N */
    int n_rows;          /* rows alive in this layer */
    int sinks;           /* of the rows alive, how many of the first are sinks */
    int n_kv_head;       /* of this layer */
    int local;           /* it attends to so many latest positions only; 0: to all */
    int window;          /* last rows, whose attention scores the others */
    const float *weight; /* [window] what each counts, or NULL */
    const float *looked; /* for `scored`: [2][n_kv_head][n_rows - window] what the window attends to, by its even and by
                            its odd rows, summed over a KV head's query heads; NULL where the plan does not want it */
};

enum fkv_ranking {
    FKV_RANK_RECENCY, /* the latest rows are best: nothing is computed */
    FKV_RANK_WINDOW,  /* by `scoring`: what the last rows attend to (fastkv paper, section 3.2) */
    FKV_RANK_OWN      /* by the plan's `rank`, the same in every head */
};

/* What happens in a layer. It comes to a policy as "everything stays": ranked by recency, scored as the options say,
   all counts n_rows, equal in all heads. */
struct fkv_layer_plan {
    enum fkv_ranking ranking;
    struct fkv_scoring scoring; /* of WINDOW */
    int sinks;                  /* first rows that are kept and go on whatever their scores */
    int keep;                   /* entries per KV head, window and sinks among them; POOLED: on average */
    enum fkv_spread spread;     /* EQUAL or POOLED */
    int least;                  /* POOLED: entries of a head that its own order alone decides */
    int propagate;              /* rows that go on to the next layer */
    int times;                  /* how often `keep` may be kept, ranked by WINDOW: so many entries are there until the
                                   self-check has found how few will do; 1: no check */
    double kl;                  /* most that it may find, in nats */
    bool wants_scores;          /* `scored` is called, even if nothing is dropped here */
    bool wants_looked;          /* and knows what the window attends to */
    const float *rank; /* [n_rows - window] by which rows go on; NULL: by the sum of their scores over the heads. OWN:
                          entries are kept by it, too */
};

/* One of a policy's own options, at most FKV_KV_OWN_OPTIONS: `--<policy>-<name>`, and <policy>-<name> for
   fkv_kv_set(). */
struct fkv_own_option {
    const char *name;
    enum fkv_option_kind kind; /* a number of some kind */
    double initial, least, most;
    const char *about;
};
struct fkv_policy {
    const char *name, *about;
    const struct fkv_own_option *options;    /* ends with a NULL name; or NULL */
    void (*settle)(struct fkv_kv_params *p); /* sets shared options that the policy does not leave open, or NULL */
    /* State of one prefill, or NULL functions: then `state` is NULL below. */
    fkv_status (*begin)(void **state, const struct fkv_kv_params *p, int n_layer, int n_prompt);
    void (*end)(void *state);
    /* The plan of a layer. It keeps window + sinks <= keep and window + sinks <= propagate where they are below n_rows.
       Without state (NULL) it gives the most that any prompt of that length can come to: the plan's `estimate` for
       progress and memory. */
    void (*layer)(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s,
                  struct fkv_layer_plan *plan);
    /* Called with the layer's scores g[n_kv_head][n_rows - window] where the plan wants them: may lower counts and set
       `rank`, which stays valid until the next call. NULL where no plan wants them. */
    void (*scored)(void *state, const struct fkv_kv_params *p, const struct fkv_layer_state *s, const float *g,
                   struct fkv_layer_plan *plan);
};

#define POLICY(name) extern const struct fkv_policy fkv_policy_##name;
#include "retain/policies.def"
#undef POLICY

/* NULL when there is none of that name. */
const struct fkv_policy *fkv_policy_find(const char *name);
/* The widest window, and the most first rows that are kept, of any prefill under the options: for estimates. */
int fkv_most_window(const struct fkv_kv_params *p);
int fkv_most_sinks(const struct fkv_kv_params *p);
/* Checks every option and resolves tsp_layer -1. The message names the option. */
fkv_status fkv_kv_params_check(struct fkv_kv_params *p, int n_layer, struct fkv_error *e);
/* The plan of a layer, bounded to 1 .. n_rows. A local layer takes no part: it keeps what its window reaches where the
   policy would drop anything, and all rows go on. */
struct fkv_layer_plan fkv_policy_plan(const struct fkv_policy *policy, void *state, const struct fkv_kv_params *p,
                                      const struct fkv_layer_state *s);
/* What a layer may come to keep of n_rows. */
static inline int fkv_plan_most(const struct fkv_layer_plan *plan, int n_rows)
{
    const int times = plan->ranking == FKV_RANK_WINDOW ? plan->times : 1;
    return plan->keep <= n_rows / times ? plan->keep * times : n_rows;
}
/* Lets the policy see the scores; the plan stays within what it was. */
void fkv_policy_scored(const struct fkv_policy *policy, void *state, const struct fkv_kv_params *p,
                       const struct fkv_layer_state *s, const float *g, struct fkv_layer_plan *plan);

/* ---- for policies --------------------------------------------------------------------------------------- */

/* max(trunc(n * rate), floor), or the absolute `budget` when it is not 0; never below window + sinks: what most
   policies' counts are. */
int fkv_budget(const struct fkv_layer_state *s, double rate, int budget, int floor);
/* No rows stay behind: the TSP layer is the last, as it is in models with local layers unless one was named; and local
   layers leave none behind in any case. For policies that choose the layer themselves. */
static inline bool fkv_all_go_on(const struct fkv_kv_params *p, const struct fkv_layer_state *s)
{
    return s->local || p->tsp_layer == s->n_layer - 1;
}
/* The share of the prompt that the options give to a layer. */
double fkv_layer_share(const struct fkv_kv_params *p, const struct fkv_layer_state *s);
/* The plan's entries are pooled over the heads, of which each is sure of a share of its scored ones. */
void fkv_pool_heads(const struct fkv_layer_state *s, double guarantee, struct fkv_layer_plan *plan);
/* The value of the policy's i-th own option. */
double fkv_own_option(const struct fkv_policy *policy, const struct fkv_kv_params *p, int i);

/* Retention by the window's scores under the options' rate, as SnapKV has it. */
void fkv_retain_by_window(const struct fkv_kv_params *p, const struct fkv_layer_state *s, struct fkv_layer_plan *plan);
/* The rows that go on in the TSP layer, under the options' rate, and rates after it that are relative to them, as
   FastKV has it. */
void fkv_propagate_at_tsp(const struct fkv_kv_params *p, const struct fkv_layer_state *s, struct fkv_layer_plan *plan);

#endif
