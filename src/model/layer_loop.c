#include "model/layer_loop.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "model/prefill.h"

/* ---- a layer ------------------------------------------------------------------------------------- */

/* Rows on their way through one layer. */
struct layer_pass {
    const struct fkv_workspace *ws;
    const struct fkv_place *at;
    int layer;
    struct fkv_kv_store *const *stores; /* of the rows' sequences */
    struct fkv_rows rows;
    struct fkv_tensor x;        /* [rows.n][d_model] */
    struct fkv_tensor q_window; /* where the queries of a window go */
    unsigned want;              /* what the layer computes of q, and of k and v; without q it ends there */
    double *stage_s;
};

static struct fkv_block block_of(const struct layer_pass *p, int thread)
{
    const struct fkv_block_buffers *b = &p->at->block;
    const struct fkv_hparams *h = &p->ws->model->h;
    const struct fkv_layer_hparams *l = &h->layer[p->layer];
    return (struct fkv_block){.run = {p->at->b, thread, p->stage_s},
                              .h = h,
                              .layer = l,
                              .rope = &p->at->ropes[l->rope < 0 ? 0 : l->rope],
                              .rope_q = &p->at->ropes[l->rope < 0 ? 0 : l->rope_q],
                              .x = p->x,
                              .rows = &p->rows,
                              .q = b->q,
                              .k = b->k,
                              .v = b->v,
                              .att = b->att,
                              .ff = b->ff,
                              .spare = b->spare};
}

static size_t q_width(const struct fkv_block *b) { return (size_t)b->layer->n_head * (size_t)b->layer->d_head; }
static size_t kv_width(const struct fkv_block *b) { return (size_t)b->layer->n_kv_head * (size_t)b->layer->d_head; }

/* The layer for prefill and decoding alike; in a region. */
static void through_layer(const struct layer_pass *p, int thread)
{
    const struct fkv_arch *arch = p->ws->model->arch;
    const struct fkv_layer *w = &p->ws->model->layer[p->layer];
    const struct fkv_ops *ops = p->at->b->ops;
    struct fkv_block b = block_of(p, thread);
    arch->attn_in(&b, w, p->want);
    if (p->want & FKV_WANT_KV)
        ops->kv_append(&b.run, p->stores, b.k, b.v, kv_width(&b), &p->rows);
    else
        fkv_team_barrier(p->at->b->team); /* attention reads what other threads rotated */
    if (!(p->want & FKV_WANT_Q)) return;
    const struct fkv_attention how = fkv_layer_attention(b.layer, w);
    ops->attend(&b.run, p->stores, &how, b.q, q_width(&b), &p->rows, b.att);
    arch->attn_out_ffn(&b, w);
}

/* logits of n rows from x on. */
static void head(struct fkv_run *r, const struct fkv_model *m, const struct fkv_place *at, struct fkv_tensor x, int n)
{
    const struct fkv_input last = {x, (size_t)m->h.d_model, n, m->output_norm, m->h.norm_eps, true};
    const struct fkv_output out = {&m->output, m->output_bias, at->logits, (size_t)m->h.n_vocab, false, false};
    r->b->ops->product(r, &last, &out, 1);
}

static bool all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* The logits of n rows to where they are wanted; broken: [n] the rows that have none, if the status says so. */
static fkv_status take_logits(const struct fkv_workspace *ws, const struct fkv_place *at, int n, float *const *logits,
                              bool *broken)
{
    const size_t n_vocab = (size_t)ws->model->h.n_vocab;
    const float *from = at->b->ops->read(at->b, at->logits, (size_t)n * n_vocab, ws->copy);
    const fkv_status status = at->b->ops->wait(at->b);
    if (status != FKV_OK) return status;
    bool any = false;
    for (int i = 0; i < n; i++) any |= broken[i] = !all_finite(from + (size_t)i * n_vocab, n_vocab);
    if (any) return FKV_ERROR_NUMBER;
    for (int i = 0; i < n; i++)
        if (logits[i]) memcpy(logits[i], from + (size_t)i * n_vocab, n_vocab * sizeof *from);
    return FKV_OK;
}

/* n floats of the residual stream go on to the next place, whose memory, if there is a next one, is the host's. */
static fkv_status hand_over(const struct fkv_workspace *ws, const struct fkv_place *from, struct fkv_tensor x,
                            struct fkv_tensor next, size_t n)
{
    const struct fkv_place *to = from + 1;
    const float *read = from->b->ops->read(from->b, x, n, ws->copy);
    const fkv_status status = from->b->ops->wait(from->b);
    to->b->ops->write(to->b, next, read, n);
    return status;
}

static bool is_last(const struct fkv_workspace *ws, const struct fkv_place *at)
{
    return at == &ws->place[ws->n_places - 1];
}

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
static struct layer_pass rows_of(struct fkv_prefill_pass *p, int row, int n, unsigned want)
{
    const int32_t *after = p->ws->after + (p->ws->block_rows - n);
    const struct fkv_rows rows = {.n = n,
                                  .pos = p->ws->pos + row,
                                  .turn = turns_of(p, row, n),
                                  .hidden = want & FKV_WANT_KV ? after : p->ws->hidden + row};
    return (struct layer_pass){.ws = p->ws,
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
    const struct layer_pass *p = arg;
    struct fkv_block b = block_of(p, thread);
    b.q = p->q_window;
    p->ws->model->arch->attn_in(&b, &p->ws->model->layer[p->layer], FKV_WANT_Q);
}

static void rows_region(void *arg, int thread) { through_layer(arg, thread); }

static void head_region(void *arg, int thread)
{
    const struct fkv_prefill_pass *p = arg;
    struct fkv_run r = {p->at->b, thread, p->report->stage_s};
    head(&r, p->ws->model, p->at, p->at->x, 1);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* Returns when it has it. */
static double take_turn(struct fkv_prefill_pass *p)
{
    const double asked = fkv_clock_s();
    fkv_turns_take(&p->ws->turn);
    const double begun = fkv_clock_s();
    fkv_pace_waited(p, begun - asked);
    return begun;
}

/* Takes rows through the layer block by block, and reports; stops between blocks when asked to. */
static fkv_status run_blocks(struct fkv_prefill_pass *p, unsigned want, int n, uint64_t cost)
{
    const struct fkv_prefill_params *params = p->params;
    for (int row = 0, rows; row < n; row += rows) {
        rows = fkv_pace_rows(p, want, n - row);
        struct layer_pass block = rows_of(p, row, rows, want);
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
        struct layer_pass rows = rows_of(p, p->state.n_rows - window[i], window[i], FKV_WANT_Q);
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
    if (status == FKV_OK && is_last(p->ws, p->at)) {
        fkv_team_run(p->at->b->team, head_region, p);
        status = take_logits(p->ws, p->at, 1, &logits, &(bool){false});
    } else if (status == FKV_OK) {
        status = hand_over(p->ws, p->at, p->at->x, p->at[1].x, (size_t)p->state.n_rows * (size_t)h->d_model);
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

/* ---- a decode step ------------------------------------------------------------------------------- */

struct step {
    const struct fkv_workspace *ws;
    const struct fkv_place *at;
    struct fkv_sequence *const *sequences;
    const struct fkv_rows *rows;
    int layer, end;       /* layers to run, of one place */
    bool head;            /* the logits are wanted */
    const int32_t *turns; /* see struct fkv_rows */
};

static void step_region(void *arg, int thread)
{
    const struct step *s = arg;
    const struct fkv_model *m = s->ws->model;
    struct fkv_kv_store *stores[FKV_STEP_ROWS];
    double stage_s[FKV_N_STAGES] = {0};
    struct fkv_run r = {s->at->b, thread, stage_s};
    struct layer_pass p = {.ws = s->ws,
                           .at = s->at,
                           .stores = stores,
                           .rows = *s->rows,
                           .x = s->at->step,
                           .want = FKV_WANT_Q | FKV_WANT_KV,
                           .stage_s = stage_s};
    const int last = s->rows->sequence ? s->rows->sequence[s->rows->n - 1] : 0;
    p.rows.turn = s->turns;
    if (s->layer == 0) r.b->ops->embed(&r, &m->token_embd, s->rows->id, s->rows->n, m->h.embed_scale, s->at->step);
    for (p.layer = s->layer; p.layer < s->end; p.layer++) {
        for (int i = 0; i <= last; i++) stores[i] = s->sequences[i]->layer[p.layer].store;
        through_layer(&p, thread);
    }
    if (s->head && is_last(s->ws, s->at)) head(&r, m, s->at, s->at->step, s->rows->n);
}

/* The positions that the rows of a step take. */
static int step_end(const struct fkv_rows *rows)
{
    int last = 0;
    for (int i = 0; i < rows->n; i++) last = rows->pos[i] > last ? rows->pos[i] : last;
    return last + 1;
}

static int sequence_of(const struct fkv_rows *rows, int row) { return rows->sequence ? rows->sequence[row] : 0; }

/* Where the rows stand in the rotary tables, to turns[rows->n]; NULL where they do by their positions. */
static const int32_t *turns_of_step(const struct fkv_workspace *ws, struct fkv_sequence *const *sequences,
                                    const struct fkv_rows *rows, int32_t *turns)
{
    for (int i = 0; i < rows->n; i++)
        turns[i] = rows->pos[i] + fkv_rope_begin(&ws->model->h, sequences[sequence_of(rows, i)]->capacity);
    return ws->model->h.short_ctx ? turns : NULL;
}

/* Room for the rows' entries, of which none is appended before all have it. */
static fkv_status take_room(const struct fkv_workspace *ws, struct fkv_sequence *const *sequences,
                            const struct fkv_rows *rows, bool *at_fault)
{
    fkv_status worst = FKV_OK;
    for (int row = 0; row < rows->n; row++)
        if (!fkv_workspace_holds(ws, sequences[sequence_of(rows, row)]->capacity, rows->pos[row] + 1))
            return FKV_ERROR_MEMORY;
    for (int row = 0, end; row < rows->n; row = end) {
        const int s = sequence_of(rows, row);
        end = fkv_rows_end(rows, row);
        const fkv_status status = fkv_sequence_reserve(sequences[s], end - row, rows->pos[end - 1]);
        at_fault[s] = status == FKV_ERROR_MEMORY;
        if (status != FKV_OK) worst = status;
    }
    return worst;
}

fkv_status fkv_step(struct fkv_workspace *ws, struct fkv_sequence *const *sequences, const struct fkv_rows *rows,
                    float *const *logits, bool at_fault[FKV_STEP_ROWS])
{
    int32_t turns[FKV_STEP_ROWS];
    struct step s = {.ws = ws,
                     .at = ws->place,
                     .sequences = sequences,
                     .rows = rows,
                     .head = true,
                     .turns = turns_of_step(ws, sequences, rows, turns)};
    const size_t n = (size_t)rows->n * (size_t)ws->model->h.d_model;
    bool broken[FKV_STEP_ROWS] = {false};
    const int end = step_end(rows);
    memset(at_fault, 0, FKV_STEP_ROWS * sizeof *at_fault);
    fkv_status status = take_room(ws, sequences, rows, at_fault);
    if (status != FKV_OK) return status;
    fkv_turns_take(&ws->turn);
    const double begun = fkv_clock_s();
    fkv_workspace_rotate(ws, end);
    s.end = s.at->end;
    for (fkv_team_run(s.at->b->team, step_region, &s); status == FKV_OK && !is_last(ws, s.at);) {
        status = hand_over(ws, s.at, s.at->step, s.at[1].step, n);
        s.layer = s.at->end;
        s.at++;
        s.end = s.at->end;
        if (status == FKV_OK) fkv_team_run(s.at->b->team, step_region, &s);
    }
    if (status == FKV_OK) status = take_logits(ws, s.at, rows->n, logits, broken);
    atomic_store(&ws->step_s, fkv_clock_s() - begun);
    fkv_turns_leave(&ws->turn);
    for (int i = 0; i < rows->n; i++) at_fault[sequence_of(rows, i)] |= broken[i];
    return status;
}

/* ---- where a step looks -------------------------------------------------------------------------- */

/* What the rows of the layer that ran last attend to, by the scores of a window: of each KV head, the entries before
   those rows. */
static void look_region(void *arg, int thread)
{
    const struct step *s = arg;
    const struct fkv_model *m = s->ws->model;
    const struct fkv_layer_hparams *l = &m->h.layer[s->layer];
    const struct fkv_attention how = fkv_layer_attention(l, &m->layer[s->layer]);
    const struct fkv_scoring scoring = {.window = s->rows->n, .pool_kernel = 1};
    double stage_s[FKV_N_STAGES] = {0};
    struct fkv_run r = {s->at->b, thread, stage_s};
    r.b->ops->score(&r, s->sequences[0]->layer[s->layer].store, &how, &scoring, s->at->block.q,
                    (size_t)l->n_head * (size_t)l->d_head, s->rows, s->rows->pos[0] + s->rows->n, s->at->scores,
                    (struct fkv_tensor){0});
}

/* The layer, and shares[n_kv_head most][n_before] += what it looked at. */
static fkv_status look_through_layer(struct step *s, int n_before, float *shares)
{
    const struct fkv_backend *b = s->at->b;
    const struct fkv_layer_hparams *l = &s->ws->model->h.layer[s->layer];
    const size_t n = (size_t)s->rows->pos[0], before = (size_t)n_before;
    fkv_team_run(b->team, step_region, s);
    fkv_team_run(b->team, look_region, s);
    const float *g = b->ops->read(s->at->b, s->at->scores, (size_t)l->n_kv_head * n, s->ws->copy);
    const fkv_status status = b->ops->wait(s->at->b);
    for (size_t h = 0; status == FKV_OK && h < (size_t)l->n_kv_head; h++)
        for (size_t i = 0; i < before; i++)
            shares[h * before + i] += g[h * n + i] * (float)l->n_kv_head / (float)l->n_head;
    return status;
}

fkv_status fkv_step_look(struct fkv_workspace *ws, struct fkv_sequence *q, const struct fkv_rows *rows, int n_before,
                         float *shares)
{
    struct step s = {.ws = ws,
                     .at = ws->place,
                     .sequences = &q,
                     .rows = rows,
                     .turns = turns_of_step(ws, &q, rows, ws->turns)};
    const size_t n = (size_t)rows->n * (size_t)ws->model->h.d_model,
                 of_layer = (size_t)ws->model->h.n_kv_head * (size_t)n_before;
    const int end = step_end(rows);
    if (!fkv_workspace_holds(ws, q->capacity, end)) return FKV_ERROR_MEMORY;
    fkv_status status = fkv_sequence_reserve(q, rows->n, end - 1);
    if (status != FKV_OK) return status;
    fkv_turns_take(&ws->turn);
    fkv_workspace_rotate(ws, end);
    for (; s.layer < ws->model->h.n_layer && status == FKV_OK; s.layer++) {
        if (s.layer == s.at->end) {
            status = hand_over(ws, s.at, s.at->step, s.at[1].step, n);
            s.at++;
            if (status != FKV_OK) break;
        }
        s.end = s.layer + 1;
        status = look_through_layer(&s, n_before, shares + (size_t)s.layer * of_layer);
    }
    fkv_turns_leave(&ws->turn);
    return status;
}
