#include "model/layer_loop.h"

#include <math.h>
#include <string.h>

/* ---- the activations of a block -------------------------------------------------------------- */

static size_t q_width(const struct fkv_hparams *h) { return (size_t)h->n_head * (size_t)h->d_head; }
static size_t kv_width(const struct fkv_hparams *h) { return (size_t)h->n_kv_head * (size_t)h->d_head; }

uint64_t fkv_block_buffers_bytes(const struct fkv_backend *backend, const struct fkv_hparams *h)
{
    return (size_t)backend->block_rows * sizeof(float) * (2 * q_width(h) + 2 * kv_width(h) + (size_t)h->d_ff);
}

fkv_status fkv_block_buffers_create(struct fkv_block_buffers *b, struct fkv_backend *backend,
                                    const struct fkv_hparams *h)
{
    b->b = backend;
    const size_t rows = (size_t)backend->block_rows;
    b->n = fkv_block_buffers_bytes(backend, h) / sizeof(float);
    const fkv_status status = backend->ops->alloc(backend, &b->memory, b->n, true);
    if (status != FKV_OK) return status;
    b->q = b->memory;
    b->att = b->q + rows * q_width(h);
    b->k = b->att + rows * q_width(h);
    b->v = b->k + rows * kv_width(h);
    b->ff = b->v + rows * kv_width(h);
    return FKV_OK;
}

void fkv_block_buffers_destroy(struct fkv_block_buffers *b)
{
    if (b->memory) b->b->ops->free(b->b, b->memory, b->n);
    *b = (struct fkv_block_buffers){0};
}

/* ---- a prefill under way --------------------------------------------------------------------- */

/* Which rows of a layer go through its second half. */
enum going_on { ALL_ROWS, CHOSEN_ROWS, LAST_ROW };

struct prefill {
    struct fkv_forward *f;
    const int32_t *ids;
    int n_prompt, n; /* rows at the start, rows alive */
    int sinks;       /* of the rows alive, how many of the first are sinks */
    int layer;
    int retained, noted; /* layers whose entries are in the cache; those whose positions are too */
    const struct fkv_layer *w;
    struct fkv_layer_plan plan;
    enum going_on going_on;
    struct fkv_kv_store *work; /* the layer's full K and V */
    int row, rows;             /* the block that runs */
    bool have_kv;              /* it only lacks the second half */
    const int32_t *seen;
    uint64_t done, all; /* progress, in multiply-adds */
};

static struct fkv_run run_of(struct fkv_forward *f, int thread)
{
    return (struct fkv_run){f->at->b, thread, f->stage_s};
}

static struct fkv_block block_of(struct prefill *p, int thread)
{
    struct fkv_forward *f = p->f;
    const struct fkv_block_buffers *b = f->at->block;
    return (struct fkv_block){run_of(f, thread),
                              &f->model->h,
                              &f->model->h.layer[p->layer],
                              &f->at->rope,
                              f->at->x + (size_t)p->row * (size_t)f->model->h.d_model,
                              f->pos + p->row,
                              p->rows,
                              b->q,
                              b->k,
                              b->v,
                              b->att,
                              b->ff};
}

/* The plan of a layer that n rows reach. */
static struct fkv_layer_plan plan_of(const struct prefill *p, int layer, int n)
{
    const struct fkv_layer_state state = {layer, p->f->model->h.n_layer, p->n_prompt, n, p->sinks};
    return fkv_policy_plan(p->f->policy, p->f->kv, &state);
}

/* The rows that a layer keeps: NULL when it keeps all. */
static int32_t *kept_rows(const struct prefill *p, int layer, int keep)
{
    const struct fkv_hparams *h = &p->f->model->h;
    return keep < p->n ? p->f->kept + (size_t)layer * (size_t)h->n_kv_head * (size_t)p->n_prompt : NULL;
}

/* ---- regions: what all threads do together --------------------------------------------------- */

static void embed_region(void *arg, int thread)
{
    struct prefill *p = arg;
    struct fkv_run r = run_of(p->f, thread);
    r.b->ops->embed(&r, &p->f->model->token_embd, p->ids, p->n, p->f->at->x);
}

/* Queries of the last rows, which score the others. */
static void window_region(void *arg, int thread)
{
    struct prefill *p = arg;
    struct fkv_block b = block_of(p, thread);
    b.q = p->f->at->q_window;
    p->f->model->arch->attn_in(&b, p->w, FKV_WANT_Q);
}

static void kv_region(void *arg, int thread)
{
    struct prefill *p = arg;
    struct fkv_block b = block_of(p, thread);
    p->f->model->arch->attn_in(&b, p->w, FKV_WANT_KV);
    b.run.b->ops->kv_append(&b.run, p->work, b.k, b.v, kv_width(b.h), b.n);
}

static void rows_region(void *arg, int thread)
{
    struct prefill *p = arg;
    const struct fkv_arch *arch = p->f->model->arch;
    struct fkv_block b = block_of(p, thread);
    const struct fkv_ops *ops = b.run.b->ops;
    arch->attn_in(&b, p->w, p->have_kv ? FKV_WANT_Q : FKV_WANT_Q | FKV_WANT_KV);
    if (p->have_kv)
        fkv_team_barrier(b.run.b->team); /* attention reads what other threads rotated */
    else
        ops->kv_append(&b.run, p->work, b.k, b.v, kv_width(b.h), b.n);
    ops->attend(&b.run, p->work, b.h->n_head, b.layer->scale, b.q, q_width(b.h), b.n, p->seen + p->row, b.att);
    arch->attn_out_ffn(&b, p->w);
}

/* Scores, choices and retention of the layer; ranking by recency needs no scores. */
static void select_region(void *arg, int thread)
{
    struct prefill *p = arg;
    struct fkv_forward *f = p->f;
    const struct fkv_hparams *h = &f->model->h;
    const struct fkv_ops *ops = f->at->b->ops;
    const struct fkv_layer_plan *plan = &p->plan;
    struct fkv_run r = run_of(f, thread);
    const int window = f->kv->window;
    if (plan->ranking == FKV_RANK_WINDOW && (plan->keep < p->n || p->going_on == CHOSEN_ROWS)) {
        const struct fkv_scoring how = {window, f->kv->pool_avg, f->kv->pool_kernel, h->layer[p->layer].scale};
        ops->score(&r, p->work, &how, h->n_head, f->at->q_window, q_width(h), p->n, f->at->scores);
        if (plan->keep < p->n)
            ops->select(&r, f->at->scores, h->n_kv_head, p->n, window, p->sinks, plan->keep,
                        kept_rows(p, p->layer, plan->keep));
        if (p->going_on == CHOSEN_ROWS)
            ops->select_common(&r, f->at->scores, h->n_kv_head, p->n, window, p->sinks, plan->propagate, f->chosen);
    }
    ops->retain(&r, fkv_kv_cache_store(f->cache, p->layer), p->work, kept_rows(p, p->layer, plan->keep), plan->keep);
}

static void gather_region(void *arg, int thread)
{
    struct prefill *p = arg;
    struct fkv_run r = run_of(p->f, thread);
    r.b->ops->gather(&r, p->f->at->x, (size_t)p->f->model->h.d_model, p->f->chosen, p->rows);
}

static void head(struct fkv_run *r, const struct fkv_forward *f, const float *x)
{
    const struct fkv_hparams *h = &f->model->h;
    const struct fkv_input last = {x, (size_t)h->d_model, 1, f->model->output_norm, h->norm_eps};
    r->b->ops->product(r, &last,
                       &(struct fkv_output){&f->model->output, f->model->output_bias, f->at->made_logits,
                                            (size_t)h->n_vocab, false, false},
                       1);
}

static void head_region(void *arg, int thread)
{
    struct prefill *p = arg;
    struct fkv_run r = run_of(p->f, thread);
    head(&r, p->f, p->f->at->x + (size_t)(p->n - 1) * (size_t)p->f->model->h.d_model);
}

/* ---- progress -------------------------------------------------------------------------------- */

static uint64_t kv_cost(const struct fkv_hparams *h) { return 2 * (uint64_t)kv_width(h) * (uint64_t)h->d_model; }

/* Multiply-adds of one row's second half, queries included, which sees `keys` entries. */
static uint64_t row_cost(const struct fkv_hparams *h, uint64_t keys)
{
    return 2 * (uint64_t)q_width(h) * (uint64_t)h->d_model + 3 * (uint64_t)h->d_ff * (uint64_t)h->d_model +
           2 * (uint64_t)q_width(h) * keys;
}

static enum going_on who_goes_on(const struct fkv_layer_plan *plan, int n, int layer, int n_layer)
{
    if (layer == n_layer - 1) return LAST_ROW;
    return plan->propagate < n ? CHOSEN_ROWS : ALL_ROWS;
}

/* The whole prefill, by the policy's plans. */
static uint64_t total_cost(const struct prefill *p)
{
    const struct fkv_hparams *h = &p->f->model->h;
    uint64_t all = 0;
    for (int l = 0, n = p->n; l < h->n_layer; l++) {
        const struct fkv_layer_plan plan = plan_of(p, l, n);
        const enum going_on on = who_goes_on(&plan, n, l, h->n_layer);
        const int next = on == ALL_ROWS ? n : on == LAST_ROW ? 1 : plan.propagate;
        all += (uint64_t)n * kv_cost(h) + (uint64_t)next * row_cost(h, (uint64_t)n / 2);
        n = next;
    }
    return all;
}

/* Runs a region over a block, and reports; stops between blocks when asked to. */
static fkv_status run_block(struct prefill *p, fkv_team_fn region, uint64_t cost)
{
    const struct fkv_forward *f = p->f;
    fkv_team_run(f->at->b->team, region, p);
    const fkv_status status = f->at->b->ops->pace(f->at->b);
    if (status != FKV_OK) return status;
    p->done += cost * (uint64_t)p->rows;
    if (f->progress && !f->progress(f->progress_user, p->done < p->all ? p->done : p->all, p->all))
        return FKV_ERROR_CANCELLED;
    return atomic_load_explicit(f->cancel, memory_order_relaxed) ? FKV_ERROR_CANCELLED : FKV_OK;
}

static fkv_status run_blocks(struct prefill *p, fkv_team_fn region, int n, uint64_t cost)
{
    const int most = p->f->at->b->block_rows;
    fkv_status status = FKV_OK;
    for (p->row = 0; p->row < n && status == FKV_OK; p->row += most) {
        p->rows = n - p->row < most ? n - p->row : most;
        status = run_block(p, region, cost);
    }
    return status;
}

/* ---- a layer --------------------------------------------------------------------------------- */

/* Sinks and the latest rows, the same in every head. */
static void rank_by_recency(int32_t *rows, int heads, int n, int sinks, int keep)
{
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < keep; i++) rows[h * keep + i] = i < sinks ? i : n - keep + i;
}

/* The positions of what was retained since the last call, while the rows alive are the same. Waits for the device: only
   then are the rows known. */
static fkv_status note_retained(struct prefill *p)
{
    const struct fkv_forward *f = p->f;
    if (p->noted == p->retained) return FKV_OK;
    const fkv_status status = f->at->b->ops->wait(f->at->b);
    for (; p->noted < p->retained; p->noted++) {
        const int keep = plan_of(p, p->noted, p->n).keep;
        fkv_kv_cache_note(f->cache, p->noted, kept_rows(p, p->noted, keep), keep, f->pos);
    }
    return status;
}

/* A device that fails keeps nothing: positions are for entries that came. */
static fkv_status retain(struct prefill *p)
{
    const struct fkv_forward *f = p->f;
    const int before = fkv_kv_cache_count(f->cache, p->layer, 0);
    fkv_team_run(f->at->b->team, select_region, p);
    if (fkv_kv_cache_count(f->cache, p->layer, 0) != before + p->plan.keep) {
        const fkv_status status = f->at->b->ops->wait(f->at->b);
        return status != FKV_OK ? status : FKV_ERROR_DEVICE;
    }
    p->retained++;
    return FKV_OK;
}

static void note_propagated(struct prefill *p)
{
    struct fkv_forward *f = p->f;
    for (int i = 0; i < p->n; i++) f->propagated[i] = f->pos[i];
    f->n_propagated = p->n;
    f->tsp_layer = p->layer;
    f->pruned = true;
}

/* The rows that go on move to the front, with their positions; what each saw stays in chosen_seen. */
static fkv_status shrink(struct prefill *p)
{
    struct fkv_forward *f = p->f;
    const fkv_status status = note_retained(p);
    if (status != FKV_OK) return status;
    p->rows = p->going_on == LAST_ROW ? 1 : p->plan.propagate;
    if (p->going_on == LAST_ROW) f->chosen[0] = p->n - 1;
    fkv_team_run(f->at->b->team, gather_region, p);
    for (int i = 0; i < p->rows; i++) {
        f->pos[i] = f->pos[f->chosen[i]];
        f->chosen_seen[i] = f->chosen[i] + 1;
    }
    p->n = p->rows;
    if (p->going_on == CHOSEN_ROWS) note_propagated(p);
    return FKV_OK;
}

static void note_peak(struct prefill *p)
{
    const uint64_t now = fkv_kv_cache_bytes(p->f->cache) + p->f->at->b->ops->kv_bytes(p->work);
    if (now > p->f->kv_peak_bytes) p->f->kv_peak_bytes = now;
}

static fkv_status prefill_layer(struct prefill *p)
{
    struct fkv_forward *f = p->f;
    const struct fkv_hparams *h = &f->model->h;
    const int n = p->n;
    fkv_status status;
    p->plan = plan_of(p, p->layer, n);
    p->going_on = who_goes_on(&p->plan, n, p->layer, h->n_layer);
    p->w = &f->model->layer[p->layer];
    f->at->b->ops->kv_assign(p->work, fkv_kv_cache_store(f->cache, p->layer));

    if (p->plan.ranking == FKV_RANK_WINDOW && (p->plan.keep < n || p->going_on == CHOSEN_ROWS)) {
        p->rows = f->kv->window;
        p->row = n - p->rows;
        fkv_team_run(f->at->b->team, window_region, p);
    }
    p->have_kv = p->going_on != ALL_ROWS;
    p->seen = f->seen;
    if (p->have_kv)
        status = run_blocks(p, kv_region, n, kv_cost(h));
    else
        status = run_blocks(p, rows_region, n, kv_cost(h) + row_cost(h, (uint64_t)n / 2));
    if (status != FKV_OK) return status;

    if (p->plan.ranking == FKV_RANK_RECENCY && p->plan.keep < n)
        rank_by_recency(kept_rows(p, p->layer, p->plan.keep), h->n_kv_head, n, p->sinks, p->plan.keep);
    if (p->plan.keep < n) f->pruned = true;
    status = retain(p);
    if (status != FKV_OK) return status;
    note_peak(p);
    if (p->going_on == ALL_ROWS) return FKV_OK;
    status = shrink(p);
    if (status != FKV_OK) return status;
    p->seen = f->chosen_seen;
    return run_blocks(p, rows_region, p->n, row_cost(h, (uint64_t)n / 2));
}

/* ---- the whole ------------------------------------------------------------------------------- */

static fkv_status take_logits(struct fkv_forward *f)
{
    f->logits = f->at->b->ops->read(f->at->b, f->at->made_logits, (size_t)f->model->h.n_vocab, f->logits_copy);
    const fkv_status status = f->at->b->ops->wait(f->at->b);
    if (status != FKV_OK) return status;
    for (int i = 0; i < f->model->h.n_vocab; i++)
        if (!isfinite(f->logits[i])) return FKV_ERROR_NUMBER;
    return FKV_OK;
}

/* The residual stream's n floats go on to the next place, whose memory, if there is one, is the host's. */
static fkv_status go_on(struct fkv_forward *f, size_t n)
{
    const struct fkv_place *from = f->at++;
    const float *x = from->b->ops->read(from->b, from->x, n, f->at->x);
    const fkv_status status = from->b->ops->wait(from->b);
    if (x != f->at->x) f->at->b->ops->write(f->at->b, f->at->x, x, n);
    return status;
}

static bool is_last(const struct fkv_forward *f) { return f->at == &f->place[f->n_places - 1]; }

/* The layers of the place where the pass is. */
static fkv_status prefill_place(struct prefill *p)
{
    struct fkv_forward *f = p->f;
    const struct fkv_hparams *h = &f->model->h;
    const struct fkv_place *at = f->at;
    const size_t most = (size_t)p->n * (size_t)h->d_model;
    fkv_status status = at->b->ops->kv_create(at->b, &p->work, h->n_kv_head, h->d_head, f->k_type, f->v_type,
                                              fkv_kv_cache_longest(f->cache) + p->n, true);
    if (status != FKV_OK) return status;
    for (; p->layer < at->end && status == FKV_OK; p->layer++) status = prefill_layer(p);
    const fkv_status noted = note_retained(p); /* after a failure too: what came is cut by its positions */
    if (status == FKV_OK) status = noted;
    if (status == FKV_OK && is_last(f)) {
        fkv_team_run(at->b->team, head_region, p);
        status = take_logits(f);
    } else if (status == FKV_OK) {
        status = go_on(f, (size_t)p->n * (size_t)h->d_model);
    }
    at->b->ops->kv_destroy(p->work);
    at->b->ops->discard(at->b, at->x, most);
    return status;
}

fkv_status fkv_prefill(struct fkv_forward *f, const int32_t *ids, int n, int first)
{
    struct prefill p = {.f = f,
                        .ids = ids,
                        .n_prompt = n,
                        .n = n,
                        .sinks = f->kv->sinks > first ? f->kv->sinks - first : 0};
    fkv_status status = FKV_OK;
    if (p.sinks > n) p.sinks = n;
    f->tsp_layer = f->n_propagated = -1;
    f->pruned = false;
    p.all = total_cost(&p);
    for (int i = 0; i < n; i++) {
        f->pos[i] = first + i;
        f->seen[i] = i + 1;
    }
    f->at = f->place;
    fkv_team_run(f->at->b->team, embed_region, &p);
    while (p.layer < f->model->h.n_layer && status == FKV_OK) status = prefill_place(&p);
    return status;
}

struct decode {
    struct fkv_forward *f;
    int32_t id, pos;
    int layer;
};

/* The layers from `layer` on of the place where the pass is. */
static void decode_region(void *arg, int thread)
{
    struct decode *d = arg;
    struct fkv_forward *f = d->f;
    const struct fkv_model *m = f->model;
    const struct fkv_place *at = f->at;
    const struct fkv_block_buffers *buffers = at->block;
    struct fkv_block b = {run_of(f, thread), &m->h,      NULL,       &at->rope,    at->x,      &d->pos, 1,
                          buffers->q,        buffers->k, buffers->v, buffers->att, buffers->ff};
    const struct fkv_ops *ops = at->b->ops;
    if (d->layer == 0) ops->embed(&b.run, &m->token_embd, &d->id, 1, at->x);
    for (int l = d->layer; l < at->end; l++) {
        b.layer = &m->h.layer[l];
        m->arch->attn_in(&b, &m->layer[l], FKV_WANT_Q | FKV_WANT_KV);
        fkv_kv_cache_append(&b.run, f->cache, l, b.k, b.v, d->pos);
        ops->attend(&b.run, fkv_kv_cache_store(f->cache, l), m->h.n_head, b.layer->scale, b.q, q_width(&m->h), 1, NULL,
                    b.att);
        m->arch->attn_out_ffn(&b, &m->layer[l]);
    }
    if (is_last(f)) head(&b.run, f, at->x);
}

fkv_status fkv_decode(struct fkv_forward *f, int32_t id, int pos)
{
    struct decode d = {f, id, pos, 0};
    f->at = f->place;
    fkv_team_run(f->at->b->team, decode_region, &d);
    while (!is_last(f)) {
        d.layer = f->at->end;
        const fkv_status status = go_on(f, (size_t)f->model->h.d_model);
        if (status != FKV_OK) return status;
        fkv_team_run(f->at->b->team, decode_region, &d);
    }
    return take_logits(f);
}
