/* prefill.h: a prefill under way, between the layer loop and the choices it makes between the halves of a layer. */
#ifndef FKV_MODEL_PREFILL_H
#define FKV_MODEL_PREFILL_H

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "model/cost.h"
#include "model/layer_loop.h"

/* What a pass knows of its blocks' time. */
struct fkv_pace {
    double row_s[4];  /* of the last block, by what it computed: FKV_WANT_ ... */
    unsigned n_steps; /* that others had begun when it looked last */
    int beside;       /* they took turns lately */
};

struct fkv_prefill_pass {
    struct fkv_workspace *ws;
    struct fkv_place *at;
    struct fkv_sequence *q;
    const struct fkv_prefill_params *params;
    struct fkv_prefill_report *report;
    const int32_t *ids;
    void *policy;                 /* its state */
    struct fkv_layer_state state; /* the layer, and the rows alive */
    struct fkv_layer_plan *plan;  /* of the layer */
    enum fkv_going_on going_on;
    struct fkv_kv_store *work;   /* the layer's full K and V, or NULL */
    struct fkv_kv_shape work_is; /* its shape */
    int held;                    /* most entries of any head before this prefill */
    bool measured;               /* the layer's signals are */
    bool ranked;                 /* ws->ranked is there */
    int queries;                 /* which of the place's windows it is scored by */
    uint64_t done, all;          /* progress, in multiply-adds */
    struct fkv_pace pace;
};

static inline const struct fkv_layer_hparams *fkv_prefill_layer(const struct fkv_prefill_pass *p)
{
    return &p->ws->model->h.layer[p->state.layer];
}

/* The layer keeps every row that is alive. */
static inline bool fkv_prefill_keeps_all(const struct fkv_prefill_pass *p) { return p->plan->keep >= p->state.n_rows; }

/* Nothing has been done yet. */
static inline void fkv_report_begin(struct fkv_prefill_report *report)
{
    report->tsp_layer = report->n_propagated = -1;
    report->pruned = false;
    report->work = 0;
    memset(report->stage_s, 0, sizeof report->stage_s);
    report->signals = (struct fkv_signal_sums){.mass = report->signals.mass, .overlap = NAN, .times = 1};
    fkv_levels_drop(report);
}

/* Queries of the i-th window. */
static inline struct fkv_tensor fkv_window_queries(const struct fkv_prefill_pass *p, int i)
{
    return fkv_tensor_from(p->at->q_window, (size_t)i * FKV_MAX_WINDOW * (size_t)p->ws->model->h.q_width);
}

/* The host chose since t0. */
static inline void fkv_prefill_took(const struct fkv_prefill_pass *p, double t0)
{
    p->report->stage_s[FKV_STAGE_SELECT] += fkv_clock_s() - t0;
}

/* A region as a turn of its own. */
void fkv_run_in_turn(const struct fkv_place *at, struct fkv_turns *turn, fkv_team_fn region, void *arg);

/* pace.c: rows of the next block, when n_left are left; what it took; whether steps come between the turns of the pass,
   which has one. */
int fkv_pace_rows(const struct fkv_prefill_pass *p, unsigned want, int n_left);
void fkv_pace_note(struct fkv_prefill_pass *p, unsigned want, int rows, double ran);
void fkv_pace_look(struct fkv_prefill_pass *p);

/* p->work gets the layer's shape, and what the layer holds from before. */
fkv_status fkv_prefill_take_work(struct fkv_prefill_pass *p);
void fkv_prefill_leave_work(struct fkv_prefill_pass *p);
/* Does the layer's plan need scores? */
bool fkv_prefill_scores(const struct fkv_prefill_pass *p);
/* The scores of the rows, which the policy sees if it wants to: p->plan and p->going_on may change. */
fkv_status fkv_prefill_score(struct fkv_prefill_pass *p);
/* What the plan keeps goes to the cache; which rows go on is chosen. */
fkv_status fkv_prefill_retain(struct fkv_prefill_pass *p);
/* The rows that go on move to the front, with their positions. */
fkv_status fkv_prefill_shrink(struct fkv_prefill_pass *p);
/* What went on past the layer: positions[n]. */
void fkv_note_propagated(struct fkv_prefill_report *report, int layer, const int32_t *positions, int n);

/* signals.c: how well a prompt compresses, as far as the window tells. Before the layer's scores are made: is it one
   that is measured? With the scores: what would go on. When rows are chosen: what the choice misses. */
void fkv_signals_begin(struct fkv_prefill_pass *p);
fkv_status fkv_signals_rank(struct fkv_prefill_pass *p);
fkv_status fkv_signals_take(struct fkv_prefill_pass *p);

/* levels.c: what is kept may be left to the self-check. Is it here, and does the layer hold all rows until then? When
   rows are chosen: chooses what it holds, in place of what it keeps at least. */
bool fkv_prefill_levels(const struct fkv_prefill_pass *p);
bool fkv_prefill_holds_all(const struct fkv_prefill_pass *p);
fkv_status fkv_levels_take(struct fkv_prefill_pass *p);
/* Chooses the rows to keep by the layer's scores, `keep` of each head. */
void fkv_prefill_select(const struct fkv_prefill_pass *p, int keep);

/* keepers.c: the other sequences. Begins and ends their policies; plans the layer for each and adds the windows that
   they score by to window[n], returns their number; keeps the layer's rows in each, when all have gone through it. */
fkv_status fkv_keepers_begin(const struct fkv_prefill_pass *p);
void fkv_keepers_end(const struct fkv_prefill_pass *p);
int fkv_keepers_plan(const struct fkv_prefill_pass *p, int window[FKV_WINDOWS], int n);
fkv_status fkv_keepers_keep(const struct fkv_prefill_pass *p);
/* The pass of the keeper's rows that parted, from where they did; false: none did. */
bool fkv_keeper_resume(const struct fkv_prefill_pass *p, const struct fkv_keeper *k, struct fkv_prefill_pass *own);

#endif
