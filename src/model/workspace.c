#include "model/workspace.h"

#include <stdlib.h>

#include "base/memory.h"

/* ---- activations --------------------------------------------------------------------------------- */

/* A tensor of a place, and its floats. */
struct part {
    struct fkv_tensor *at;
    size_t n;
    bool whole; /* it is used from end to end */
};

enum { FIXED_PARTS = 9, MOST_PARTS = 3 };

static size_t block_parts(const struct fkv_hparams *h, const struct fkv_backend *b, struct fkv_place *p,
                          struct part parts[FIXED_PARTS])
{
    const size_t rows = (size_t)b->block_rows, q = (size_t)h->q_width, kv = (size_t)h->kv_width,
                 spare = fkv_model_needs_spare(h) ? rows * (size_t)h->d_model : 0;
    const struct part all[FIXED_PARTS] = {{&p->block.q, rows * q, true},
                                          {&p->block.att, rows * q, true},
                                          {&p->block.k, rows * kv, true},
                                          {&p->block.v, rows * kv, true},
                                          {&p->block.ff, rows * (size_t)h->ff_width, true},
                                          {&p->block.spare, spare, true},
                                          {&p->q_window, FKV_WINDOWS * FKV_MAX_WINDOW * q, false},
                                          {&p->step, FKV_STEP_ROWS * (size_t)h->d_model, false},
                                          {&p->logits, FKV_STEP_ROWS * (size_t)h->n_vocab, false}};
    size_t floats = 0;
    for (int i = 0; i < FIXED_PARTS; i++) {
        parts[i] = all[i];
        floats += all[i].n;
    }
    return floats;
}

/* Those that depend on the context; the rotary tables come besides. */
static size_t context_parts(const struct fkv_hparams *h, int n_ctx, struct fkv_place *p, struct part parts[MOST_PARTS])
{
    const size_t n = (size_t)n_ctx;
    parts[0] = (struct part){&p->x, n * (size_t)h->d_model, false};
    parts[1] = (struct part){&p->scores, n * (size_t)h->n_kv_head, false};
    parts[2] = (struct part){&p->looked, 2 * n * (size_t)h->n_kv_head, false};
    return parts[0].n + parts[1].n + parts[2].n;
}

static size_t angle_floats(const struct fkv_hparams *h, int rope, int n_ctx)
{
    return (size_t)(n_ctx + fkv_rope_begin(h, n_ctx)) * (size_t)h->ropes[rope].n_rot;
}

static fkv_status allocate(struct fkv_backend *b, const struct part *parts, int n)
{
    for (int i = 0; i < n; i++) {
        if (parts[i].n == 0) continue;
        const fkv_status status = b->ops->alloc(b, parts[i].at, parts[i].n, parts[i].whole);
        if (status != FKV_OK) return status;
    }
    return FKV_OK;
}

static void release(struct fkv_backend *b, const struct part *parts, int n)
{
    for (int i = 0; i < n; i++) {
        if (fkv_tensor_is(*parts[i].at)) b->ops->free(b, *parts[i].at, parts[i].n);
        *parts[i].at = (struct fkv_tensor){0};
    }
}

/* ---- creation ------------------------------------------------------------------------------------ */

fkv_status fkv_workspace_create(struct fkv_workspace *ws, const struct fkv_model *model, const struct fkv_place *places,
                                int n_places)
{
    const struct fkv_hparams *h = &model->h;
    ws->model = model;
    fkv_turns_init(&ws->lent);
    fkv_turns_init(&ws->turn);
    for (ws->n_places = 0; ws->n_places < n_places; ws->n_places++) ws->place[ws->n_places] = places[ws->n_places];
    for (int i = 0; i < n_places; i++) {
        struct fkv_place *p = &ws->place[i];
        struct part parts[FIXED_PARTS];
        block_parts(h, p->b, p, parts);
        if (p->b->block_rows > ws->block_rows) ws->block_rows = p->b->block_rows;
        p->ropes = calloc((size_t)h->n_ropes + 1, sizeof *p->ropes);
        if (!p->ropes) return FKV_ERROR_MEMORY;
        for (int r = 0; r < h->n_ropes; r++)
            p->ropes[r] = (struct fkv_rope){h->ropes[r].pairs, h->ropes[r].n_rot, h->ropes[r].d_head, {0}};
        const fkv_status status = allocate(p->b, parts, FIXED_PARTS);
        if (status != FKV_OK) return status;
    }
    return FKV_OK;
}

static void release_context(struct fkv_workspace *ws)
{
    const struct fkv_hparams *h = &ws->model->h;
    for (int i = 0; i < ws->n_places; i++) {
        struct fkv_place *p = &ws->place[i];
        struct part parts[MOST_PARTS];
        context_parts(h, ws->n_ctx, p, parts);
        release(p->b, parts, MOST_PARTS);
        for (int r = 0; p->ropes && r < h->n_ropes; r++)
            release(p->b, &(struct part){&p->ropes[r].cos_sin, angle_floats(h, r, ws->n_ctx), false}, 1);
        p->b->ops->choice_destroy(p->kept);
        p->b->ops->choice_destroy(p->going_on);
        p->kept = p->going_on = NULL;
    }
    fkv_unreserve(ws->memory, ws->bytes);
    ws->memory = NULL;
    ws->n_ctx = ws->angles = 0;
}

void fkv_workspace_destroy(struct fkv_workspace *ws)
{
    if (!ws->model) return;
    release_context(ws);
    for (int i = 0; i < ws->n_places; i++) {
        struct fkv_place *p = &ws->place[i];
        struct part parts[FIXED_PARTS];
        block_parts(&ws->model->h, p->b, p, parts);
        release(p->b, parts, FIXED_PARTS);
        free(p->ropes);
        p->b->ops->destroy(p->b);
    }
    fkv_turns_destroy(&ws->lent);
    fkv_turns_destroy(&ws->turn);
    *ws = (struct fkv_workspace){0};
}

/* Rows of a table are made so many at a time: see fkv_rope_angles(). */
enum { ANGLE_ROWS = 32 };

/* ---- growing ------------------------------------------------------------------------------------- */

static size_t lay_out(struct fkv_workspace *ws, const struct fkv_workspace *of, int n_ctx, void *memory)
{
    const struct fkv_hparams *h = &of->model->h;
    const size_t n = (size_t)n_ctx, x = n * (size_t)h->d_model, logits = FKV_STEP_ROWS * (size_t)h->n_vocab;
    const bool own_memory = of->place[0].b->own_memory; /* of several places, the others are the CPU */
    struct fkv_carver c = {memory, 0};
    ws->pos = fkv_carve(&c, n * sizeof *ws->pos);
    ws->hidden = fkv_carve(&c, n * sizeof *ws->hidden);
    ws->after = fkv_carve(&c, (size_t)of->block_rows * sizeof *ws->after);
    ws->turns = fkv_carve(&c, (size_t)of->block_rows * sizeof *ws->turns);
    ws->angle_rows = fkv_carve(&c, ANGLE_ROWS * (size_t)h->d_head * sizeof *ws->angle_rows);
    ws->choosing = fkv_carve(&c, fkv_choose_bytes(h->n_kv_head, n_ctx));
    ws->looked = fkv_carve(&c, own_memory ? 2 * (size_t)h->n_kv_head * n * sizeof *ws->looked : 0);
    ws->ranked = fkv_carve(&c, n * sizeof *ws->ranked);
    ws->copy = fkv_carve(&c, own_memory ? (x > logits ? x : logits) * sizeof *ws->copy : 0);
    return c.offset;
}

uint64_t fkv_workspace_lists(const struct fkv_workspace *ws, int n_ctx)
{
    struct fkv_workspace nowhere;
    return lay_out(&nowhere, ws, n_ctx, NULL);
}

static fkv_status reserve_place(struct fkv_place *p, const struct fkv_hparams *h, int n_ctx)
{
    struct part parts[MOST_PARTS];
    context_parts(h, n_ctx, p, parts);
    fkv_status status = allocate(p->b, parts, MOST_PARTS);
    for (int r = 0; r < h->n_ropes && status == FKV_OK; r++)
        status = p->b->ops->alloc(p->b, &p->ropes[r].cos_sin, angle_floats(h, r, n_ctx), false);
    if (status == FKV_OK) status = p->b->ops->choice_create(p->b, &p->kept, h->n_kv_head, n_ctx);
    if (status == FKV_OK) status = p->b->ops->choice_create(p->b, &p->going_on, 1, n_ctx);
    return status;
}

static struct fkv_extent extent_of(const struct fkv_hparams *h, int n_ctx, int window)
{
    return (struct fkv_extent){n_ctx, h->n_head, h->d_head, window};
}

static fkv_status make_context(struct fkv_workspace *ws, int n_ctx)
{
    fkv_status status = FKV_OK;
    ws->n_ctx = n_ctx;
    ws->bytes = lay_out(ws, ws, n_ctx, NULL);
    ws->memory = fkv_reserve(ws->bytes);
    if (!ws->memory) status = FKV_ERROR_MEMORY;
    for (int i = 0; i < ws->n_places && status == FKV_OK; i++)
        status = reserve_place(&ws->place[i], &ws->model->h, n_ctx);
    if (status != FKV_OK) {
        release_context(ws);
        return status;
    }
    lay_out(ws, ws, n_ctx, ws->memory);
    for (int i = 0; i < ws->block_rows; i++) ws->after[i] = ws->block_rows - 1 - i;
    return FKV_OK;
}

fkv_status fkv_workspace_reserve(struct fkv_workspace *ws, int n_ctx, int window)
{
    const struct fkv_extent extent = extent_of(&ws->model->h, n_ctx, window);
    const int before = ws->n_ctx;
    fkv_status status = FKV_OK;
    for (int i = 0; i < ws->n_places && status == FKV_OK; i++)
        status = ws->place[i].b->ops->prepare(ws->place[i].b, &extent);
    if (status != FKV_OK) return status;
    if (window > ws->window) ws->window = window;
    if (n_ctx <= ws->n_ctx) return FKV_OK;
    release_context(ws);
    status = make_context(ws, n_ctx);
    if (status != FKV_OK && before) make_context(ws, before); /* for the sessions there are */
    return status;
}

struct fkv_bytes fkv_workspace_bytes(const struct fkv_backend *b, const struct fkv_model *model, int n_ctx, int window)
{
    const struct fkv_hparams *h = &model->h;
    const struct fkv_extent extent = extent_of(h, n_ctx, window);
    struct fkv_bytes bytes = b->ops->scratch_bytes(b, &extent);
    struct fkv_place nowhere;
    struct part fixed[FIXED_PARTS], most[MOST_PARTS];
    uint64_t floats = block_parts(h, b, &nowhere, fixed) + context_parts(h, n_ctx, &nowhere, most);
    for (int r = 0; r < h->n_ropes; r++) floats += angle_floats(h, r, n_ctx);
    *(b->own_memory ? &bytes.device : &bytes.host) += floats * sizeof(float) +
                                                      b->ops->choice_bytes(b, h->n_kv_head, n_ctx) +
                                                      b->ops->choice_bytes(b, 1, n_ctx);
    return bytes;
}

/* ---- the rotary tables --------------------------------------------------------------------------- */

/* Rows of table r from `first` on, to where they stand from `at` on. */
static void make_angles(struct fkv_workspace *ws, int r, const float *divisors, int first, int rows, int at)
{
    const struct fkv_rope_params *rope = &ws->model->h.ropes[r];
    const size_t n_rot = (size_t)rope->n_rot;
    fkv_rope_angles(rope, divisors, first, rows, ws->angle_rows);
    for (int i = 0; i < ws->n_places; i++) {
        const struct fkv_place *p = &ws->place[i];
        p->b->ops->write(p->b, fkv_tensor_from(p->ropes[r].cos_sin, (size_t)at * n_rot), ws->angle_rows,
                         (size_t)rows * n_rot);
    }
}

/* Those of the positions [first, first + rows), short ones and long ones where there are two: see fkv_rope_begin(). */
static void make_table(struct fkv_workspace *ws, int r, int first, int rows)
{
    const struct fkv_model *m = ws->model;
    const float *const divisors[][2] = {[FKV_UNDIVIDED] = {NULL, NULL},
                                        [FKV_DIVIDED] = {m->rope_freqs, m->rope_freqs},
                                        [FKV_DIVIDED_BY_LENGTH] = {m->rope_short, m->rope_long}},
                       *const *of = divisors[m->h.ropes[r].divided];
    const int begin = fkv_rope_begin(&m->h, ws->n_ctx), left = begin - first;
    if (begin == 0)
        make_angles(ws, r, of[0], first, rows, first);
    else
        make_angles(ws, r, of[1], first, rows, begin + first);
    if (left > 0) make_angles(ws, r, of[0], first, rows < left ? rows : left, first);
}

void fkv_workspace_rotate(struct fkv_workspace *ws, int n)
{
    while (ws->angles < n) {
        const int rows = ws->n_ctx - ws->angles < ANGLE_ROWS ? ws->n_ctx - ws->angles : ANGLE_ROWS;
        for (int r = 0; r < ws->model->h.n_ropes; r++) make_table(ws, r, ws->angles, rows);
        ws->angles += rows;
    }
}
