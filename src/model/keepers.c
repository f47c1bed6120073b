/* Other sequences that a prefill fills, each by its own policy: what they keep of a layer is chosen while its full K
   and V are there, before the pass's own sequence takes its share. Rows that go on without the others are taken aside
   when all have gone through the layer: each row's way there is the same, whatever others do. */
#include <stdlib.h>

#include "model/prefill.h"

/* The pass as the keeper sees it. */
static struct fkv_prefill_pass view(const struct fkv_prefill_pass *p, const struct fkv_keeper *k)
{
    struct fkv_prefill_pass o = *p;
    o.q = k->q;
    o.params = k->params;
    o.report = k->report;
    o.policy = k->policy;
    o.plan = &k->report->plan[p->state.layer];
    o.going_on = FKV_ALL_ROWS;
    o.queries = k->queries;
    o.ranked = k->is_ranked;
    o.state.sinks = k->sinks;
    o.state.window = k->params->window;
    o.state.weight = k->params->weight;
    return o;
}

static bool takes_part(const struct fkv_keeper *k) { return !k->left_out && !k->fork.x; }

/* ---- beginning and end --------------------------------------------------------------------------- */

static fkv_status begin(struct fkv_keeper *k, int n_layer, int n)
{
    const struct fkv_policy *policy = k->params->policy;
    k->sinks = k->params->sinks < n ? k->params->sinks : n;
    fkv_report_begin(k->report);
    k->ranked = malloc((size_t)n * sizeof *k->ranked);
    if (!k->ranked) return FKV_ERROR_MEMORY;
    return policy->begin ? policy->begin(&k->policy, k->params->kv, n_layer, n) : FKV_OK;
}

fkv_status fkv_keepers_begin(const struct fkv_prefill_pass *p)
{
    fkv_status status = FKV_OK;
    for (int i = 0; i < p->params->n_keepers; i++) {
        struct fkv_keeper *k = &p->params->keepers[i];
        *k = (struct fkv_keeper){.q = k->q, .params = k->params, .report = k->report, .logits = k->logits};
    }
    for (int i = 0; i < p->params->n_keepers && status == FKV_OK; i++)
        status = begin(&p->params->keepers[i], p->state.n_layer, p->state.n_rows);
    return status;
}

void fkv_keepers_end(const struct fkv_prefill_pass *p)
{
    for (int i = 0; i < p->params->n_keepers; i++) {
        struct fkv_keeper *k = &p->params->keepers[i];
        if (k->params->policy->end && k->policy) k->params->policy->end(k->policy);
        free(k->ranked);
        free(k->fork.x);
        free(k->fork.pos);
    }
}

/* ---- a layer ------------------------------------------------------------------------------------- */

/* The place of a window among those there are, or a new one; -1 when there are too many. */
static int place_of(int width, int window[FKV_WINDOWS], int *n)
{
    int i = 0;
    while (i < *n && window[i] != width) i++;
    if (i == FKV_WINDOWS) return -1;
    window[i] = width;
    *n = i < *n ? *n : i + 1;
    return i;
}

int fkv_keepers_plan(const struct fkv_prefill_pass *p, int window[FKV_WINDOWS], int n)
{
    for (int i = 0; i < p->params->n_keepers; i++) {
        struct fkv_keeper *k = &p->params->keepers[i];
        if (!takes_part(k)) continue;
        struct fkv_prefill_pass o = view(p, k);
        *o.plan = fkv_policy_plan(k->params->policy, k->policy, k->params->kv, &o.state);
        o.going_on = fkv_who_goes_on(o.plan, o.state.n_rows, o.state.layer, o.state.n_layer);
        if (!fkv_prefill_scores(&o)) continue;
        k->queries = place_of(o.plan->scoring.window, window, &n);
        k->left_out = k->queries < 0;
    }
    return n;
}

/* Do so many rows get the same bits in blocks as they would among others? */
static bool rounds_alike(const struct fkv_backend *b, int n)
{
    return b->few_rows > 0 && (n % b->block_rows == 0 || n % b->block_rows > b->few_rows);
}

/* The chosen rows, which have gone through the layer with all others, to k->fork. */
static fkv_status part(struct fkv_prefill_pass *o, struct fkv_keeper *k)
{
    const struct fkv_ops *ops = o->at->b->ops;
    const size_t d = (size_t)o->ws->model->h.d_model;
    const int n = ops->choice_count(o->at->going_on, 0);
    struct fkv_fork f = {o->state.layer + 1, n, malloc((size_t)n * d * sizeof *f.x), malloc((size_t)n * sizeof *f.pos)};
    k->fork = f;
    k->parted = true;
    if (!f.x || !f.pos) return FKV_ERROR_MEMORY;
    fkv_turns_take(&o->ws->turn);
    const int32_t *rows = ops->choice_read(o->at->going_on, 0);
    fkv_status status = ops->wait(o->at->b);
    const float *x = ops->read(o->at->b, o->at->x, (size_t)o->state.n_rows * d, o->ws->copy);
    if (status == FKV_OK) status = ops->wait(o->at->b);
    for (int i = 0; i < n && status == FKV_OK; i++) {
        memcpy(f.x + (size_t)i * d, x + (size_t)rows[i] * d, d * sizeof *x);
        f.pos[i] = o->ws->pos[rows[i]];
    }
    fkv_turns_leave(&o->ws->turn);
    if (status == FKV_OK) fkv_note_propagated(o->report, o->state.layer, f.pos, n);
    return status;
}

static uint64_t work_of(const struct fkv_prefill_pass *o)
{
    const struct fkv_hparams *h = &o->ws->model->h;
    const struct fkv_layer_hparams *l = fkv_prefill_layer(o);
    const int n = o->state.n_rows, on = fkv_rows_after(o->plan, n, o->state.layer, o->state.n_layer);
    return (uint64_t)n * fkv_kv_cost(h, l) + (uint64_t)on * fkv_row_cost(h, l, (uint64_t)n / 2);
}

static fkv_status keep(const struct fkv_prefill_pass *p, struct fkv_keeper *k)
{
    struct fkv_prefill_pass o = view(p, k);
    fkv_status status = FKV_OK;
    o.going_on = fkv_who_goes_on(o.plan, o.state.n_rows, o.state.layer, o.state.n_layer);
    if (fkv_prefill_scores(&o)) status = fkv_prefill_score(&o);
    k->is_ranked = o.ranked;
    if (status != FKV_OK) return status;
    const bool parts = o.going_on == FKV_CHOSEN_ROWS;
    if (parts && !(rounds_alike(p->at->b, o.state.n_rows) && rounds_alike(p->at->b, o.plan->propagate))) {
        k->left_out = true;
        return FKV_OK;
    }
    if (!parts) o.going_on = FKV_ALL_ROWS; /* which one is the last is the pass's own business */
    status = fkv_prefill_retain(&o);
    if (status == FKV_OK && parts) status = part(&o, k);
    k->done += work_of(&o);
    k->report->work = k->done;
    return status;
}

fkv_status fkv_keepers_keep(const struct fkv_prefill_pass *p)
{
    fkv_status status = FKV_OK;
    for (int i = 0; i < p->params->n_keepers && status == FKV_OK; i++) {
        struct fkv_keeper *k = &p->params->keepers[i];
        float *const ranked = p->ws->ranked;
        if (!takes_part(k)) continue;
        p->ws->ranked = k->ranked;
        status = keep(p, k);
        p->ws->ranked = ranked;
    }
    return status;
}

/* ---- after the pass ------------------------------------------------------------------------------ */

bool fkv_keeper_resume(const struct fkv_prefill_pass *p, const struct fkv_keeper *k, struct fkv_prefill_pass *own)
{
    const struct fkv_fork *f = &k->fork;
    if (!f->x) return false;
    *own = view(p, k);
    own->at = p->ws->place;
    while (own->at->end <= f->layer) own->at++;
    own->work = NULL;
    own->queries = 0;
    own->done = k->done;
    own->state.layer = 0;
    own->state.n_rows = own->state.n_prompt;
    own->all = fkv_prefill_cost(&p->ws->model->h, k->params->policy, k->params->kv, &own->state);
    own->state.layer = f->layer;
    own->state.n_rows = f->n;
    if (own->state.sinks > f->n) own->state.sinks = f->n;
    fkv_turns_take(&p->ws->turn);
    own->at->b->ops->write(own->at->b, own->at->x, f->x, (size_t)f->n * (size_t)p->ws->model->h.d_model);
    fkv_turns_leave(&p->ws->turn);
    memcpy(p->ws->pos, f->pos, (size_t)f->n * sizeof *f->pos);
    return true;
}
