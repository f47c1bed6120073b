#include "model/layer_loop.h"

#include "base/clock.h"
#include "model/layer.h"
#include "model/prefill.h"

/* ---- a prefill under way ------------------------------------------------------------------------- */

/* Where rows [row, row + n) of those alive stand in the rotary tables. */
static const int32_t *turns_of(struct fkv_prefill_pass *p, int row, int n)
{
    const int begin = fkv_rope_begin(&p->ws->model->h, p->q->capacity);
    if (begin == 0) return NULL;
    for (int i = 0; i < n; i++) p->ws->turns[i] = begin + p->ws->pos[row + i];
    return p->ws->turns;
}

/* Rows [row, row + n) of those alive, on their way through the layer. */
static struct fkv_layer_pass rows_of(struct fkv_prefill_pass *p, int row, int n, unsigned want)
{
    const int32_t *after = p->ws->after + (p->ws->block_rows - n);
    const struct fkv_rows rows = {.n = n,
                                  .pos = p->ws->pos + row,
                                  .turn = turns_of(p, row, n),
                                  .hidden = want & FKV_WANT_KV ? after : p->ws->hidden + row};
    return (struct fkv_layer_pass){.ws = p->ws,
                                   .at = p->at,
                                   .layer = p->state.layer,
                                   .stores = &p->work,
                                   .rows = rows,
                                   .x = fkv_tensor_from(p->at->x, (size_t)row * (size_t)p->ws->model->h.d_model),
                                   .want = want,
                                   .stage_s = p->report->stage_s};
}

/* ---- regions: what all threads do together ------------------------------------------------------- */

void fkv_run_in_turn(const struct fkv_place *at, struct fkv_turns *turn, fkv_team_fn region, void *arg)
{
    fkv_turns_take(turn);
    fkv_team_run(at->b->team, region, arg);
    fkv_turns_leave(turn);
}

static void embed_region(void *arg, int thread)
{
    const struct fkv_prefill_pass *p = arg;
    struct fkv_run r = {p->at->b, thread, p->report->stage_s};
    r.b->ops->embed(&r, &p->ws->model->token_embd, p->ids, p->state.n_prompt, p->ws->model->h.embed_scale, p->at->x);
}

/* Queries of the last rows, which score the others. */
static void window_region(void *arg, int thread)
{
    const struct fkv_layer_pass *p = arg;
    struct fkv_block b = fkv_layer_block(p, thread);
    b.q = p->q_window;
    p->ws->model->arch->attn_in(&b, &p->ws->model->layer[p->layer], FKV_WANT_Q);
}

static void rows_region(void *arg, int thread) { fkv_through_layer(arg, thread); }

static void head_region(void *arg, int thread)
{
    const struct fkv_prefill_pass *p = arg;
    struct fkv_run r = {p->at->b, thread, p->report->stage_s};
    fkv_head(&r, p->ws->model, p->at, p->at->x, 1);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* Returns when it has it. */
static double take_turn(struct fkv_prefill_pass *p)
{
    fkv_turns_take(&p->ws->turn);
    fkv_pace_look(p);
    return fkv_clock_s();
}

/* Takes rows through the layer block by block, and reports; stops between blocks when asked to. */
static fkv_status run_blocks(struct fkv_prefill_pass *p, unsigned want, int n, uint64_t cost)
{
    const struct fkv_prefill_params *params = p->params;
    for (int row = 0, rows; row < n; row += rows) {
        rows = fkv_pace_rows(p, want, n - row);
        struct fkv_layer_pass block = rows_of(p, row, rows, want);
        const double begun = take_turn(p);
        fkv_team_run(p->at->b->team, rows_region, &block);
        fkv_turns_leave(&p->ws->turn);
        fkv_pace_note(p, want, rows, fkv_clock_s() - begun);
        const fkv_status status = p->at->b->ops->pace(p->at->b);
        if (status != FKV_OK) return status;
        p->done += cost * (uint64_t)block.rows.n;
        if (params->progress && !params->progress(params->progress_user, p->done < p->all ? p->done : p->all, p->all))
            return FKV_ERROR_CANCELLED;
        if (atomic_load_explicit(params->cancel, memory_order_relaxed)) return FKV_ERROR_CANCELLED;
    }
    return FKV_OK;
}

/* ---- a layer of a prefill ------------------------------------------------------------------------ */

/* The queries of the windows by which the layer is scored, its own first. */
static void project_windows(struct fkv_prefill_pass *p)
{
    int window[FKV_WINDOWS] = {p->plan->scoring.window};
    const int n = fkv_keepers_plan(p, window, fkv_prefill_scores(p) ? 1 : 0);
    for (int i = 0; i < n; i++) {
        struct fkv_layer_pass rows = rows_of(p, p->state.n_rows - window[i], window[i], FKV_WANT_Q);
        rows.q_window = fkv_window_queries(p, i);
        fkv_run_in_turn(p->at, &p->ws->turn, window_region, &rows);
    }
}

static fkv_status prefill_layer(struct fkv_prefill_pass *p)
{
    const struct fkv_hparams *h = &p->ws->model->h;
    const struct fkv_layer_hparams *l = fkv_prefill_layer(p);
    const int n = p->state.n_rows;
    p->state.n_kv_head = l->n_kv_head;
    p->measured = false;
    p->state.local = l->window;
    p->plan = &p->report->plan[p->state.layer];
    *p->plan = fkv_policy_plan(p->params->policy, p->policy, p->params->kv, &p->state);
    p->going_on = fkv_who_goes_on(p->plan, n, p->state.layer, p->state.n_layer);
    fkv_status status = fkv_prefill_take_work(p);
    if (status != FKV_OK) return status;

    const bool scored = fkv_prefill_scores(p);
    project_windows(p);
    /* Where rows may stay behind, K and V of all come first, and the second half is for those that go on. */
    const bool kv_first = p->going_on != FKV_ALL_ROWS;
    status = kv_first
                 ? run_blocks(p, FKV_WANT_KV, n, fkv_kv_cost(h, l))
                 : run_blocks(p, FKV_WANT_Q | FKV_WANT_KV, n, fkv_kv_cost(h, l) + fkv_row_cost(h, l, (uint64_t)n / 2));
    if (status == FKV_OK) status = fkv_keepers_keep(p);
    if (status == FKV_OK && scored) status = fkv_prefill_score(p);
    if (status == FKV_OK) status = fkv_prefill_retain(p);
    if (status == FKV_OK && p->going_on != FKV_ALL_ROWS) status = fkv_prefill_shrink(p);
    if (status != FKV_OK || !kv_first) return status;
    return run_blocks(p, FKV_WANT_Q, p->state.n_rows, fkv_row_cost(h, l, (uint64_t)n / 2));
}

/* The layers of the place where the pass is. */
static fkv_status prefill_place(struct fkv_prefill_pass *p, float *logits)
{
    const struct fkv_hparams *h = &p->ws->model->h;
    const size_t most = (size_t)p->state.n_rows * (size_t)h->d_model;
    fkv_status status = FKV_OK;
    for (; p->state.layer < p->at->end && status == FKV_OK; p->state.layer++) status = prefill_layer(p);
    fkv_turns_take(&p->ws->turn); /* until what all passes share is read */
    if (status == FKV_OK && fkv_is_last_place(p->ws, p->at)) {
        fkv_team_run(p->at->b->team, head_region, p);
        status = fkv_take_logits(p->ws, p->at, 1, &logits, &(bool){false});
    } else if (status == FKV_OK) {
        status = fkv_hand_over(p->ws, p->at, p->at->x, p->at[1].x, (size_t)p->state.n_rows * (size_t)h->d_model);
    }
    fkv_turns_leave(&p->ws->turn);
    fkv_prefill_leave_work(p);
    p->at->b->ops->discard(p->at->b, p->at->x, most);
    return status;
}

/* All places from the pass's on. */
static fkv_status prefill_places(struct fkv_prefill_pass *p, float *logits)
{
    const struct fkv_place *end = p->ws->place + p->ws->n_places;
    fkv_status status = FKV_OK;
    for (; status == FKV_OK && p->at < end; p->at++) status = prefill_place(p, logits);
    p->report->work = p->done;
    return status;
}

/* The sequences whose rows parted from the pass, one after the other. */
static fkv_status prefill_forks(const struct fkv_prefill_pass *p)
{
    fkv_status status = FKV_OK;
    for (int i = 0; i < p->params->n_keepers && status == FKV_OK; i++) {
        struct fkv_prefill_pass own;
        if (fkv_keeper_resume(p, &p->params->keepers[i], &own))
            status = prefill_places(&own, p->params->keepers[i].logits);
    }
    return status;
}

fkv_status fkv_prefill(struct fkv_workspace *ws, struct fkv_sequence *q, const int32_t *ids, int n,
                       const struct fkv_prefill_params *params, struct fkv_prefill_report *report, float *logits)
{
    const int first = (int)q->n_seen, n_layer = ws->model->h.n_layer;
    const int sinks = params->sinks > first ? params->sinks - first : 0;
    struct fkv_prefill_pass p = {.ws = ws,
                                 .at = ws->place,
                                 .q = q,
                                 .params = params,
                                 .report = report,
                                 .ids = ids,
                                 .held = fkv_sequence_longest(q),
                                 .pace.n_steps = atomic_load(&ws->n_steps),
                                 .state = {.n_layer = n_layer,
                                           .n_prompt = n,
                                           .n_rows = n,
                                           .sinks = sinks < n ? sinks : n,
                                           .window = params->window,
                                           .weight = params->weight}};
    fkv_report_begin(report);
    fkv_status status = fkv_workspace_holds(ws, q->capacity, first + n) ? FKV_OK : FKV_ERROR_MEMORY;
    if (status != FKV_OK) return status;
    if (params->policy->begin) status = params->policy->begin(&p.policy, params->kv, n_layer, n);
    if (status != FKV_OK) return status;
    status = fkv_keepers_begin(&p);
    p.all = fkv_prefill_cost(&ws->model->h, params->policy, params->kv, &p.state);
    for (int i = 0; i < n; i++) ws->pos[i] = first + i;
    take_turn(&p);
    fkv_workspace_rotate(ws, first + n);
    fkv_team_run(p.at->b->team, embed_region, &p);
    fkv_turns_leave(&ws->turn);
    if (status == FKV_OK) status = prefill_places(&p, logits);
    if (status == FKV_OK) status = prefill_forks(&p);
    fkv_keepers_end(&p);
    if (params->policy->end && p.policy) params->policy->end(p.policy);
    return status;
}
