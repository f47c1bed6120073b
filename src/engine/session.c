/* A session: opening, prefill and decoding. */
#include "engine/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

/* ---- opening ------------------------------------------------------------------------------------- */

/* Lays the host's arrays out over `memory`; returns their bytes. */
static size_t lay_out(fkv_session *s, const struct fkv_hparams *h, int n_ctx, void *memory)
{
    struct fkv_carver c = {memory, 0};
    s->logits = fkv_carve(&c, (size_t)h->n_vocab * sizeof *s->logits);
    s->report.plan = fkv_carve(&c, (size_t)h->n_layer * sizeof *s->report.plan);
    s->report.level = fkv_carve(&c, (size_t)h->n_layer * sizeof *s->report.level);
    s->report.n_layer = h->n_layer;
    s->report.propagated = fkv_carve(&c, (size_t)n_ctx * sizeof *s->report.propagated);
    s->report.signals.mass = fkv_carve(&c, (size_t)h->n_layer * (size_t)h->n_kv_head * sizeof *s->report.signals.mass);
    return c.offset;
}

size_t fkv_session_bytes(const fkv_engine *e, int n_ctx)
{
    fkv_session nowhere;
    return lay_out(&nowhere, &e->model->h, n_ctx, NULL);
}

/* The engine's workspace grows when a session is larger than all before, or scores by what none did before: not while a
   prefill has it. */
static fkv_status reserve_workspace(fkv_session *s)
{
    struct fkv_workspace *ws = &s->e->ws;
    const int n_ctx = s->shape.params.n_ctx, window = fkv_most_window(&s->shape.params.kv);
    fkv_turns_take(&ws->turn);
    const bool grams = s->shape.params.kv.value_norm;
    const bool enough = n_ctx <= ws->n_ctx && window <= ws->window && (!grams || s->e->model->grams);
    fkv_turns_leave(&ws->turn);
    if (enough) return FKV_OK;
    fkv_turns_take(&ws->lent);
    fkv_turns_take(&ws->turn);
    fkv_status status = fkv_workspace_reserve(ws, n_ctx, window);
    if (status == FKV_OK && grams) status = fkv_model_make_grams(s->e->model, ws->place[0].b->team);
    fkv_turns_leave(&ws->turn);
    fkv_turns_leave(&ws->lent);
    return status;
}

static fkv_status create_sequence(fkv_session *s)
{
    const int n_layer = s->e->model->h.n_layer;
    struct fkv_sequence_layer *layers = malloc((size_t)n_layer * sizeof *layers);
    if (!layers) return FKV_ERROR_MEMORY;
    for (int l = 0; l < n_layer; l++) layers[l] = fkv_engine_layer(s->e, &s->shape, l);
    const fkv_status status = fkv_sequence_create(&s->q, layers, n_layer, s->shape.params.n_ctx);
    free(layers);
    return status;
}

static fkv_status allocate(fkv_session *s)
{
    const struct fkv_hparams *h = &s->e->model->h;
    s->bytes = fkv_session_bytes(s->e, s->shape.params.n_ctx);
    s->memory = fkv_reserve(s->bytes);
    if (!s->memory) return FKV_ERROR_MEMORY;
    lay_out(s, h, s->shape.params.n_ctx, s->memory);
    return reserve_workspace(s);
}

static void set_up(fkv_session *s)
{
    const struct fkv_session_params *p = &s->shape.params;
    s->prefill = (struct fkv_prefill_params){.policy = fkv_policy_find(p->kv.policy),
                                             .kv = &p->kv,
                                             .k_type = s->shape.k_work,
                                             .v_type = s->shape.v_work,
                                             .progress = p->progress,
                                             .progress_user = p->progress_user,
                                             .cancel = &s->cancel};
    s->report.tsp_layer = s->report.n_propagated = -1;
}

/* What kept a session from being made: memory, or a device that failed. */
static fkv_status not_made(const fkv_session *s, fkv_status status, struct fkv_error *error)
{
    const struct fkv_workspace *ws = &s->e->ws;
    for (int i = 0; i < ws->n_places; i++) {
        struct fkv_backend *b = ws->place[i].b;
        if (b->ops->wait(b) != FKV_OK) return fkv_fail(error, FKV_ERROR_DEVICE, "%s", b->error.text);
    }
    return fkv_fail(error, status, "no memory for a session of %d tokens", s->shape.params.n_ctx);
}

/* A session without a sequence. */
static fkv_status create(fkv_session **session, fkv_engine *e, const struct fkv_session_params *params,
                         struct fkv_error *error)
{
    fkv_session *s = calloc(1, sizeof *s);
    if (!s) return fkv_fail(error, FKV_ERROR_MEMORY, "no memory for a session");
    s->e = e;
    fkv_status status = fkv_session_shape(&s->shape, e, params, error);
    if (status == FKV_OK) {
        set_up(s);
        status = allocate(s);
        if (status != FKV_OK) status = not_made(s, status, error);
    }
    if (status == FKV_OK)
        *session = s;
    else
        fkv_session_close(s);
    return status;
}

fkv_status fkv_session_open(fkv_session **session, fkv_engine *e, const struct fkv_session_params *params, char *err)
{
    struct fkv_error error = {""};
    fkv_session *s = NULL;
    fkv_status status = create(&s, e, params, &error);
    if (status == FKV_OK && (status = create_sequence(s)) != FKV_OK) status = not_made(s, status, &error);
    if (status == FKV_OK)
        *session = s;
    else
        fkv_session_close(s);
    return fkv_tell(err, &error, status);
}

void fkv_session_close(fkv_session *s)
{
    if (!s) return;
    fkv_sequence_destroy(s->q);
    if (s->memory) fkv_levels_drop(&s->report);
    fkv_unreserve(s->memory, s->bytes);
    free(s);
}

fkv_status fkv_session_fork(fkv_session *s, size_t n, fkv_session **child, char *err)
{
    struct fkv_error error = {""};
    fkv_session *c = NULL;
    fkv_status status = FKV_OK;
    if (n > s->q->n_seen || (n < s->q->pruned_until && n > 0))
        status = fkv_fail(&error, FKV_ERROR_ARGUMENT,
                          "fork: expected 0 or %zu to %zu of the session's tokens, found %zu", s->q->pruned_until,
                          s->q->n_seen, n);
    if (status == FKV_OK) status = create(&c, s->e, &s->shape.params, &error);
    if (status == FKV_OK) {
        const bool alone = fkv_engine_on_host(s->e);
        if (!alone) fkv_turns_take(&s->e->ws.turn);
        status = fkv_sequence_fork(s->q, n, &c->q);
        if (!alone) fkv_turns_leave(&s->e->ws.turn);
        if (status != FKV_OK) fkv_fail(&error, status, "no memory to fork a session of %zu tokens", n);
    }
    if (status == FKV_OK) {
        if (n == 0) fkv_session_forget(c, 0);
        c->have_logits = s->have_logits && n == s->q->n_seen;
        if (c->have_logits) memcpy(c->logits, s->logits, (size_t)s->e->model->h.n_vocab * sizeof *c->logits);
        *child = c;
    } else {
        fkv_session_close(c);
    }
    return fkv_tell(err, &error, status);
}

fkv_status fkv_session_set_policy(fkv_session *s, const struct fkv_kv_params *params)
{
    struct fkv_session_params wanted = s->shape.params;
    const struct fkv_session_shape before = s->shape;
    wanted.kv = *params;
    fkv_status status = fkv_session_shape(&s->shape, s->e, &wanted, &s->error);
    if (status == FKV_OK && (status = reserve_workspace(s)) != FKV_OK)
        fkv_fail(&s->error, status, "no memory for the policy's window");
    if (status != FKV_OK) s->shape = before;
    s->prefill.policy = fkv_policy_find(s->shape.params.kv.policy);
    return status;
}

/* ---- running ------------------------------------------------------------------------------------- */

fkv_status fkv_session_failed(fkv_session *s, fkv_status status)
{
    if (status == FKV_OK || status == FKV_ERROR_CONTEXT || status == FKV_ERROR_ARGUMENT)
        return status; /* those said more already */
    for (int i = 0; i < s->e->ws.n_places; i++) {
        const struct fkv_backend *b = s->e->ws.place[i].b;
        if (*b->error.text) return fkv_fail(&s->error, status, "%s", b->error.text);
    }
    const char *text =
        status == FKV_ERROR_NUMBER
            ? "the model computed a value that is not a number: its weights are damaged, or too large for their type"
            : fkv_status_text(status);
    return fkv_fail(&s->error, status, "%s", text);
}

fkv_status fkv_session_check_ids(fkv_session *s, const int32_t *ids, size_t n, size_t first)
{
    const struct fkv_hparams *h = &s->e->model->h;
    if (n > (size_t)s->shape.params.n_ctx || first + n > (size_t)s->shape.params.n_ctx)
        return fkv_fail(&s->error, FKV_ERROR_CONTEXT,
                        "context_length_exceeded: %zu tokens do not fit the context of %d", first + n,
                        s->shape.params.n_ctx);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= h->n_vocab)
            return fkv_fail(&s->error, FKV_ERROR_ARGUMENT, "token %zu: expected an id below %d, found %d", first + i,
                            h->n_vocab, ids[i]);
    return FKV_OK;
}

void fkv_session_forget(fkv_session *s, size_t n)
{
    fkv_sequence_cut(s->q, n);
    s->have_logits = false;
}

bool fkv_session_cancelled(fkv_session *s)
{
    const bool cancelled = atomic_exchange(&s->cancel, false);
    if (cancelled) fkv_session_failed(s, FKV_ERROR_CANCELLED);
    return cancelled;
}

fkv_status fkv_session_prefill(fkv_session *s, const struct fkv_prefill_params *params, const int32_t *ids, size_t n)
{
    struct fkv_workspace *ws = &s->e->ws;
    fkv_status status = FKV_ERROR_CANCELLED;
    if (fkv_turns_take_unless(&ws->lent, &s->cancel)) {
        status = fkv_prefill(ws, s->q, ids, (int)n, params, &s->report, s->logits);
        fkv_turns_leave(&ws->lent);
    }
    if (status == FKV_ERROR_CANCELLED) atomic_store(&s->cancel, false);
    return status;
}

fkv_status fkv_session_reserve_turn(fkv_session *s)
{
    const fkv_status status = fkv_sequence_reserve_turn(s->q);
    return status == FKV_OK ? FKV_OK : fkv_fail(&s->error, status, "no memory for one more turn");
}

void fkv_session_note_turn(fkv_session *s, size_t first)
{
    char policy[FKV_KV_TEXT_BYTES];
    if (!s->report.pruned) return;
    fkv_kv_text(&s->shape.params.kv, policy, sizeof policy);
    fkv_sequence_add_turn(s->q, first, s->q->n_seen, policy);
}

static fkv_status prefill(fkv_session *s, const int32_t *ids, size_t n)
{
    const double t0 = fkv_clock_s();
    const size_t first = s->q->n_seen;
    if (fkv_session_reserve_turn(s) != FKV_OK) return FKV_ERROR_MEMORY;
    s->have_logits = false;
    memcpy(s->q->ids + first, ids, n * sizeof *ids);
    fkv_session_observe(s, ids, n, first);
    fkv_status status = fkv_session_prefill(s, &s->prefill, ids, n);
    if (status == FKV_OK) {
        s->q->n_seen = first + n;
        status = fkv_session_back_off(s);
    }
    if (status != FKV_OK) {
        fkv_session_forget(s, first);
        return fkv_session_failed(s, status);
    }
    fkv_session_note_turn(s, first);
    s->have_logits = true;
    s->stats.prefill_s += fkv_clock_s() - t0;
    s->stats.prefill_tokens += n;
    s->stats.prefill_work += s->report.work;
    for (int i = 0; i < FKV_N_STAGES; i++) s->stats.stage_s[i] = s->report.stage_s[i];
    return FKV_OK;
}

/* How far the wanted ids agree with what was seen. */
static size_t common_prefix(const struct fkv_sequence *q, const int32_t *ids, size_t n)
{
    size_t i = 0;
    while (i < n && i < q->n_seen && ids[i] == q->ids[i]) i++;
    return i;
}

static fkv_status sync(fkv_session *s, const int32_t *ids, size_t n)
{
    fkv_status status = fkv_session_check_ids(s, ids, n, 0);
    if (status == FKV_OK) status = fkv_session_check_marks(s, n);
    if (status != FKV_OK) return status;
    if (fkv_session_cancelled(s)) return FKV_ERROR_CANCELLED;
    size_t keep = common_prefix(s->q, ids, n);
    s->sync_kind = FKV_SYNC_EXTENDED;
    if (keep == n && n == s->q->n_seen && (s->have_logits || n == 0)) {
        s->reused = keep;
        return FKV_OK;
    }
    if (keep == n && n > 0) keep--; /* the last id is computed again, for its logits */
    if (keep < s->q->n_seen) {
        s->sync_kind = keep >= s->q->pruned_until && keep > 0 ? FKV_SYNC_CUT_BACK : FKV_SYNC_REBUILT;
        if (s->sync_kind == FKV_SYNC_REBUILT) keep = 0;
        fkv_session_forget(s, keep);
    }
    s->reused = keep;
    if (n == keep) return FKV_OK;
    return n - keep == 1 ? fkv_batch_append(&s, ids + keep, 1) : prefill(s, ids + keep, n - keep);
}

fkv_status fkv_session_sync(fkv_session *s, const int32_t *ids, size_t n)
{
    const fkv_status status = sync(s, ids, n);
    s->marks = (struct fkv_marks)FKV_MARKS_INIT;
    return status;
}

enum fkv_sync fkv_session_sync_kind(const fkv_session *s, size_t *reused)
{
    if (reused) *reused = s->reused;
    return s->sync_kind;
}

fkv_status fkv_session_append(fkv_session *s, int32_t id) { return fkv_batch_append(&s, &id, 1); }

fkv_status fkv_session_cut(fkv_session *s, size_t n)
{
    const struct fkv_sequence *q = s->q;
    if (n > q->n_seen || (n < q->pruned_until && n > 0))
        return fkv_fail(&s->error, FKV_ERROR_ARGUMENT,
                        "cut: expected 0 or %zu to %zu of the session's tokens, found %zu", q->pruned_until, q->n_seen,
                        n);
    if (n < q->n_seen) fkv_session_forget(s, n);
    return FKV_OK;
}

void fkv_session_cancel(fkv_session *s) { atomic_store(&s->cancel, true); }

/* ---- looking in ---------------------------------------------------------------------------------- */

const char *fkv_session_error(const fkv_session *s) { return s->error.text; }

const float *fkv_session_logits(const fkv_session *s) { return s->have_logits ? s->logits : NULL; }

size_t fkv_session_n_seen(const fkv_session *s) { return s->q->n_seen; }

int fkv_session_kept(const fkv_session *s, int layer, int kv_head, const int32_t **positions)
{
    if (layer < 0 || layer >= s->q->n_layer) return -1;
    const struct fkv_sequence_layer *l = &s->q->layer[layer];
    if (kv_head < 0 || kv_head >= l->shape.heads) return -1;
    *positions = l->b->ops->kv_positions(l->store, kv_head);
    return l->b->ops->kv_count(l->store, kv_head);
}

bool fkv_session_turn(const fkv_session *s, size_t i, struct fkv_turn *turn)
{
    if (i >= s->q->n_turns) return false;
    const struct fkv_sequence_turn *t = &s->q->turn[i];
    *turn = (struct fkv_turn){t->first, t->end, t->policy};
    return true;
}

int fkv_session_propagated(const fkv_session *s, int *layer, const int32_t **positions)
{
    *layer = s->report.tsp_layer;
    *positions = s->report.propagated;
    return s->report.n_propagated;
}

void fkv_session_get_stats(const fkv_session *s, struct fkv_session_stats *stats)
{
    *stats = s->stats;
    stats->kv_bytes = fkv_sequence_bytes(s->q);
    stats->kv_full_bytes = 0;
    for (int i = 0; i < s->q->n_layer; i++) {
        const struct fkv_sequence_layer *l = &s->q->layer[i];
        stats->kv_full_bytes += l->b->ops->kv_bytes_of(l->b, &l->shape, (int)s->q->n_seen);
    }
    stats->kv_peak_bytes = s->report.kv_peak_bytes > stats->kv_bytes ? s->report.kv_peak_bytes : stats->kv_bytes;
}

const char *fkv_stage_name(int i)
{
    static const char *const names[FKV_N_STAGES] = {"products", "attention", "norms, rope, cache",
                                                    "scores, selection, retention"};
    return i >= 0 && i < FKV_N_STAGES ? names[i] : NULL;
}

void fkv_session_get_params(const fkv_session *s, struct fkv_session_params *params)
{
    const size_t known = sizeof *params, size = params->size < known ? params->size : known;
    struct fkv_session_params all = s->shape.params;
    all.size = params->size;
    memcpy(params, &all, size);
}
