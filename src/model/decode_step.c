/* A decode step, and where it looks. */
#include <string.h>

#include "base/clock.h"
#include "model/layer.h"

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
    struct fkv_layer_pass p = {.ws = s->ws,
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
        fkv_through_layer(&p, thread);
    }
    if (s->head && fkv_is_last_place(s->ws, s->at)) fkv_head(&r, m, s->at, s->at->step, s->rows->n);
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

/* In a turn: between two, the workspace may be taken for a larger session, and lost. */
static bool held(const struct fkv_workspace *ws, struct fkv_sequence *const *sequences, const struct fkv_rows *rows)
{
    bool all = true;
    for (int row = 0; row < rows->n; row++)
        all &= fkv_workspace_holds(ws, sequences[sequence_of(rows, row)]->capacity, rows->pos[row] + 1);
    return all;
}

/* Room for the rows' entries, of which none is appended before all have it. */
static fkv_status take_room(struct fkv_sequence *const *sequences, const struct fkv_rows *rows, bool *at_fault)
{
    fkv_status worst = FKV_OK;
    for (int row = 0, end; row < rows->n; row = end) {
        const int s = sequence_of(rows, row);
        end = fkv_rows_end(rows, row);
        const fkv_status status = fkv_sequence_reserve(sequences[s], end - row, rows->pos[end - 1]);
        at_fault[s] = status == FKV_ERROR_MEMORY;
        if (status != FKV_OK) worst = status;
    }
    return worst;
}

/* The step's layers, place by place, and what comes of them; in a turn. */
static fkv_status run_step(struct step *s, float *const *logits, bool *broken)
{
    const struct fkv_workspace *ws = s->ws;
    const size_t n = (size_t)s->rows->n * (size_t)ws->model->h.d_model;
    fkv_status status = FKV_OK;
    s->end = s->at->end;
    for (fkv_team_run(s->at->b->team, step_region, s); status == FKV_OK && !fkv_is_last_place(ws, s->at);) {
        status = fkv_hand_over(ws, s->at, s->at->step, s->at[1].step, n);
        s->layer = s->at->end;
        s->at++;
        s->end = s->at->end;
        if (status == FKV_OK) fkv_team_run(s->at->b->team, step_region, s);
    }
    return status == FKV_OK ? fkv_take_logits(ws, s->at, s->rows->n, logits, broken) : status;
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
    bool broken[FKV_STEP_ROWS] = {false};
    memset(at_fault, 0, FKV_STEP_ROWS * sizeof *at_fault);
    fkv_status status = take_room(sequences, rows, at_fault);
    if (status != FKV_OK) return status;
    fkv_pace_give_way(ws);
    fkv_turns_take(&ws->turn);
    if (held(ws, sequences, rows)) {
        const double begun = fkv_clock_s();
        atomic_fetch_add(&ws->n_steps, 1);
        fkv_workspace_rotate(ws, step_end(rows));
        status = run_step(&s, logits, broken);
        const double ended = fkv_clock_s();
        atomic_store(&ws->step_s, ended - begun);
        atomic_store(&ws->stepped_s, ended);
    } else {
        status = FKV_ERROR_MEMORY;
    }
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
            status = fkv_hand_over(ws, s.at, s.at->step, s.at[1].step, n);
            s.at++;
            if (status != FKV_OK) break;
        }
        s.end = s.layer + 1;
        status = look_through_layer(&s, n_before, shares + (size_t)s.layer * of_layer);
    }
    fkv_turns_leave(&ws->turn);
    return status;
}
