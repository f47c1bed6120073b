/* A prefill's layer besides its halves: its full K and V; and between the halves, which rows are kept, and which go
   on. */
#include <string.h>

#include "model/prefill.h"

static struct fkv_kv_store *cache_of(const struct fkv_prefill_pass *p) { return p->q->layer[p->state.layer].store; }

/* ---- the layer's full K and V -------------------------------------------------------------------- */

static bool is_same(const struct fkv_kv_shape *a, const struct fkv_kv_shape *b)
{
    return a->heads == b->heads && a->d == b->d && a->k_type == b->k_type && a->v_type == b->v_type;
}

void fkv_prefill_leave_work(struct fkv_prefill_pass *p)
{
    p->at->b->ops->kv_destroy(p->work);
    p->work = NULL;
}

/* Layers of one shape after one another share a store. Of two shapes only one is there at a time, so that the peak is
   that of the largest. */
fkv_status fkv_prefill_take_work(struct fkv_prefill_pass *p)
{
    const struct fkv_layer_hparams *l = fkv_prefill_layer(p);
    const struct fkv_ops *ops = p->at->b->ops;
    const struct fkv_kv_shape shape = {l->n_kv_head, l->d_head, p->params->k_type, p->params->v_type};
    if (p->work && !is_same(&shape, &p->work_is)) fkv_prefill_leave_work(p);
    if (!p->work) {
        const fkv_status status = ops->kv_create(p->at->b, &p->work, &shape, p->held + p->state.n_rows, true);
        if (status != FKV_OK) return status;
        p->work_is = shape;
    }
    ops->kv_assign(p->work, cache_of(p));
    return FKV_OK;
}

/* ---- scores -------------------------------------------------------------------------------------- */

static bool wants_looked(const struct fkv_prefill_pass *p) { return p->measured || p->plan->wants_looked; }

static void score_region(void *arg, int thread)
{
    const struct fkv_prefill_pass *p = arg;
    const struct fkv_layer_hparams *l = fkv_prefill_layer(p);
    const struct fkv_attention how = fkv_layer_attention(l, &p->ws->model->layer[p->state.layer]);
    const struct fkv_scoring *scoring = &p->plan->scoring;
    const struct fkv_rows window = {.n = scoring->window, .pos = p->ws->pos + p->state.n_rows - scoring->window};
    struct fkv_run r = {p->at->b, thread, p->report->stage_s};
    r.b->ops->score(&r, p->work, &how, scoring, fkv_window_queries(p, p->queries),
                    (size_t)l->n_head * (size_t)l->d_head, &window, p->state.n_rows, p->at->scores,
                    wants_looked(p) ? p->at->looked : (struct fkv_tensor){0});
}

static size_t n_scores(const struct fkv_prefill_pass *p)
{
    return (size_t)(p->state.n_rows - p->plan->scoring.window) * (size_t)p->state.n_kv_head;
}

/* The host sees what the window attends to; the policy the scores: it says by what rows go on. */
static fkv_status show_scores(struct fkv_prefill_pass *p)
{
    const struct fkv_ops *ops = p->at->b->ops;
    const bool looks = wants_looked(p), scores = p->plan->wants_scores;
    p->state.looked = NULL;
    if (!looks && !scores) return FKV_OK;
    fkv_turns_take(&p->ws->turn);
    if (looks) p->state.looked = ops->read(p->at->b, p->at->looked, 2 * n_scores(p), p->ws->looked);
    const float *g = scores ? ops->read(p->at->b, p->at->scores, n_scores(p), p->ws->copy) : NULL;
    const fkv_status status = ops->wait(p->at->b);
    const double t0 = fkv_clock_s();
    if (status == FKV_OK && scores)
        fkv_policy_scored(p->params->policy, p->policy, p->params->kv, &p->state, g, p->plan);
    fkv_prefill_took(p, t0);
    fkv_turns_leave(&p->ws->turn);
    if (status == FKV_OK && scores)
        p->going_on = fkv_who_goes_on(p->plan, p->state.n_rows, p->state.layer, p->state.n_layer);
    return status;
}

bool fkv_prefill_scores(const struct fkv_prefill_pass *p)
{
    return p->plan->ranking == FKV_RANK_WINDOW &&
           (!fkv_prefill_keeps_all(p) || p->going_on == FKV_CHOSEN_ROWS || p->plan->wants_scores);
}

fkv_status fkv_prefill_score(struct fkv_prefill_pass *p)
{
    fkv_signals_begin(p);
    fkv_run_in_turn(p->at, &p->ws->turn, score_region, p);
    const fkv_status status = show_scores(p);
    return status == FKV_OK ? fkv_signals_rank(p) : status;
}

/* ---- which rows -------------------------------------------------------------------------------------- */

/* Which rows the layer keeps, and which go on, by the window's scores. A local layer keeps what the policy keeps of it,
   by scores that its window limits: what it then sees of that is settled where it attends, by position. */
static bool selects_kept(const struct fkv_prefill_pass *p)
{
    return p->plan->ranking == FKV_RANK_WINDOW && !fkv_prefill_keeps_all(p);
}

static bool selects_going_on(const struct fkv_prefill_pass *p)
{
    return p->plan->ranking == FKV_RANK_WINDOW && p->going_on == FKV_CHOSEN_ROWS && !p->plan->rank;
}

struct chosen {
    const struct fkv_prefill_pass *p;
    int keep;
    bool going_on;
};

static void select_region(void *arg, int thread)
{
    const struct chosen *x = arg;
    const struct fkv_prefill_pass *p = x->p;
    const struct fkv_layer_plan *plan = p->plan;
    struct fkv_run r = {p->at->b, thread, p->report->stage_s};
    struct fkv_selection how = {.n = p->state.n_rows,
                                .window = plan->scoring.window,
                                .sinks = plan->sinks,
                                .keep = x->keep,
                                .spread = plan->spread,
                                .least = plan->least};
    if (selects_kept(p)) fkv_select(&r, p->at->scores, p->state.n_kv_head, &how, p->at->kept, p->ws->choosing);
    how.keep = plan->propagate;
    how.spread = FKV_SPREAD_COMMON;
    if (x->going_on && selects_going_on(p))
        fkv_select(&r, p->at->scores, p->state.n_kv_head, &how, p->at->going_on, p->ws->choosing);
}

void fkv_prefill_select(const struct fkv_prefill_pass *p, int keep)
{
    fkv_run_in_turn(p->at, &p->ws->turn, select_region, &(struct chosen){p, keep, false});
}

static void retain_region(void *arg, int thread)
{
    const struct fkv_prefill_pass *p = arg;
    struct fkv_run r = {p->at->b, thread, p->report->stage_s};
    r.b->ops->retain(&r, cache_of(p), p->work, fkv_prefill_holds_all(p) ? NULL : p->at->kept);
}

static void gather_region(void *arg, int thread)
{
    const struct fkv_prefill_pass *p = arg;
    struct fkv_run r = {p->at->b, thread, p->report->stage_s};
    r.b->ops->gather(&r, p->at->x, (size_t)p->ws->model->h.d_model, p->at->going_on);
}

/* Sinks and the latest rows, the same in every head. */
static void choose_by_recency(const struct fkv_prefill_pass *p, int lists, int keep, struct fkv_choice *c)
{
    int32_t *count = p->ws->choosing, *rows = count + lists;
    for (int l = 0; l < lists; l++) {
        count[l] = keep;
        for (int i = 0; i < keep; i++) rows[l * keep + i] = i < p->plan->sinks ? i : p->state.n_rows - keep + i;
    }
    p->at->b->ops->choice_write(c, lists, count, rows);
}

/* The best by the policy's own ranking, the same in every head. */
static void choose_by_rank(const struct fkv_prefill_pass *p, int lists, int keep, struct fkv_choice *c)
{
    const struct fkv_selection how = {.n = p->state.n_rows,
                                      .window = p->plan->scoring.window,
                                      .sinks = p->plan->sinks,
                                      .keep = keep,
                                      .spread = FKV_SPREAD_COMMON};
    fkv_choose_into(p->at->b, c, p->plan->rank, lists, &how, p->ws->choosing);
}

/* What the host chooses: by recency, by the policy's own ranking, or the last row alone. */
static void choose(struct fkv_prefill_pass *p)
{
    const struct fkv_layer_plan *plan = p->plan;
    const bool recency = plan->ranking == FKV_RANK_RECENCY, own = plan->ranking == FKV_RANK_OWN;
    if (recency && !fkv_prefill_keeps_all(p)) choose_by_recency(p, p->state.n_kv_head, plan->keep, p->at->kept);
    if (own && !fkv_prefill_keeps_all(p)) choose_by_rank(p, p->state.n_kv_head, plan->keep, p->at->kept);
    if (p->going_on == FKV_LAST_ROW) {
        const int32_t one = 1, last = p->state.n_rows - 1;
        p->at->b->ops->choice_write(p->at->going_on, 1, &one, &last);
    } else if (p->going_on == FKV_CHOSEN_ROWS && recency) {
        choose_by_recency(p, 1, plan->propagate, p->at->going_on);
    } else if (p->going_on == FKV_CHOSEN_ROWS && plan->rank) {
        choose_by_rank(p, 1, plan->propagate, p->at->going_on);
    }
}

void fkv_note_propagated(struct fkv_prefill_report *report, int layer, const int32_t *positions, int n)
{
    memcpy(report->propagated, positions, (size_t)n * sizeof *report->propagated);
    report->n_propagated = n;
    report->tsp_layer = layer;
    report->pruned = true;
}

/* Room for what the layer keeps. */
static fkv_status take_room(const struct fkv_prefill_pass *p)
{
    const struct fkv_ops *ops = p->at->b->ops;
    int most = fkv_prefill_holds_all(p) ? p->state.n_rows : 0;
    for (int h = 0; h < p->state.n_kv_head && !fkv_prefill_holds_all(p); h++) {
        const int n = ops->choice_count(p->at->kept, h);
        most = n > most ? n : most;
    }
    return ops->kv_reserve(cache_of(p), most, p->ws->pos[p->state.n_rows - 1]);
}

/* Of the rows before, each sees those up to its own. */
fkv_status fkv_prefill_shrink(struct fkv_prefill_pass *p)
{
    struct fkv_workspace *ws = p->ws;
    const struct fkv_ops *ops = p->at->b->ops;
    fkv_run_in_turn(p->at, &ws->turn, gather_region, p);
    const int32_t *rows = ops->choice_read(p->at->going_on, 0);
    const fkv_status status = ops->wait(p->at->b);
    if (status != FKV_OK) return status;
    const int n = ops->choice_count(p->at->going_on, 0);
    for (int i = 0; i < n; i++) {
        ws->pos[i] = ws->pos[rows[i]];
        ws->hidden[i] = p->state.n_rows - 1 - rows[i];
    }
    p->state.n_rows = n;
    if (p->state.sinks > n) p->state.sinks = n;
    if (p->going_on == FKV_CHOSEN_ROWS) fkv_note_propagated(p->report, p->state.layer, ws->pos, n);
    return FKV_OK;
}

fkv_status fkv_prefill_retain(struct fkv_prefill_pass *p)
{
    choose(p);
    if (selects_kept(p) || selects_going_on(p))
        fkv_run_in_turn(p->at, &p->ws->turn, select_region, &(struct chosen){p, p->plan->keep, true});
    fkv_status status = fkv_signals_take(p);
    if (status == FKV_OK) status = fkv_levels_take(p);
    if (status == FKV_OK) status = take_room(p);
    if (status != FKV_OK) return status;
    fkv_run_in_turn(p->at, &p->ws->turn, retain_region, p);
    if (!fkv_prefill_keeps_all(p)) p->report->pruned = true;
    const uint64_t now = fkv_sequence_bytes(p->q) + p->at->b->ops->kv_bytes(p->work);
    if (now > p->report->kv_peak_bytes) p->report->kv_peak_bytes = now;
    return FKV_OK;
}
