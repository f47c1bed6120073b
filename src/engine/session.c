/* A session: one timeline of tokens, its cache, and the memory a forward pass needs for it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/engine.h"

struct fkv_session {
    fkv_engine *e;
    struct fkv_session_shape shape;
    struct fkv_forward f;
    int32_t *ids; /* [n_ctx] seen so far: [n_seen] */
    size_t n_seen;
    size_t pruned_until; /* positions below were pruned by a policy: no cutting back into them */
    size_t angles;       /* positions the rotary table holds */
    bool have_logits;
    enum fkv_sync sync_kind;
    size_t reused;
    struct fkv_session_stats stats;
    atomic_bool cancel;
    struct fkv_error error;
    void *memory; /* one reservation for the host's arrays */
    size_t bytes;
    float *activations[FKV_MAX_PLACES]; /* the back ends' */
    size_t n_activations;
};

/* ---- opening --------------------------------------------------------------------------------- */

struct carver {
    char *base; /* NULL: only measures */
    size_t offset;
};

static void *carve(struct carver *c, size_t bytes)
{
    void *p = c->base ? c->base + c->offset : NULL;
    c->offset += (bytes + 4095) & ~(size_t)4095;
    return p;
}

size_t fkv_lay_out_activations(struct fkv_place *at, const struct fkv_hparams *h, int n_ctx, float *memory)
{
    const size_t n = (size_t)n_ctx, heads = (size_t)h->n_kv_head;
    struct carver c = {(char *)memory, 0};
    at->x = carve(&c, n * (size_t)h->d_model * sizeof(float));
    at->q_window = carve(&c, FKV_MAX_WINDOW * (size_t)(h->n_head * h->d_head) * sizeof(float));
    at->scores = carve(&c, heads * n * sizeof(float));
    at->made_logits = carve(&c, (size_t)h->n_vocab * sizeof(float));
    at->rope.cos_sin = carve(&c, n * (size_t)h->ropes[0].n_rot * sizeof(float));
    return c.offset / sizeof(float);
}

/* Lays the host's arrays out over `memory`; returns their bytes. */
static size_t lay_out(fkv_session *s, void *memory)
{
    const struct fkv_hparams *h = &s->e->model->h;
    const size_t n = (size_t)s->shape.params.n_ctx, heads = (size_t)h->n_kv_head;
    struct fkv_forward *f = &s->f;
    struct carver c = {memory, 0};
    f->kept = carve(&c, (size_t)h->n_layer * heads * n * sizeof(int32_t));
    f->pos = carve(&c, n * sizeof(int32_t));
    f->seen = carve(&c, n * sizeof(int32_t));
    f->chosen = carve(&c, n * sizeof(int32_t));
    f->chosen_seen = carve(&c, n * sizeof(int32_t));
    f->propagated = carve(&c, n * sizeof(int32_t));
    f->logits_copy = carve(&c, (size_t)h->n_vocab * sizeof(float));
    s->ids = carve(&c, n * sizeof(int32_t));
    return c.offset;
}

/* Activations and scratch of one back end. */
static fkv_status allocate_at(fkv_session *s, int i)
{
    struct fkv_place *at = &s->f.place[i];
    struct fkv_backend *b = at->b;
    const struct fkv_hparams *h = &s->e->model->h;
    const int n_ctx = s->shape.params.n_ctx;
    s->n_activations = fkv_lay_out_activations(at, h, n_ctx, NULL);
    const fkv_status status = b->ops->alloc(b, &s->activations[i], s->n_activations, false);
    if (status != FKV_OK) return status;
    fkv_lay_out_activations(at, h, n_ctx, s->activations[i]);
    return b->ops->prepare(b, n_ctx, h->n_head, s->shape.params.kv.window);
}

static fkv_status allocate(fkv_session *s)
{
    struct fkv_forward *f = &s->f;
    const struct fkv_hparams *h = &s->e->model->h;
    const int n_ctx = s->shape.params.n_ctx;
    s->bytes = lay_out(s, NULL);
    s->memory = fkv_reserve(s->bytes);
    if (!s->memory) return FKV_ERROR_MEMORY;
    lay_out(s, s->memory);
    fkv_status status = FKV_OK;
    for (int i = 0; i < f->n_places && status == FKV_OK; i++) status = allocate_at(s, i);
    if (status != FKV_OK) return status;
    struct fkv_backend **backends = malloc((size_t)h->n_layer * sizeof *backends);
    if (!backends) return FKV_ERROR_MEMORY;
    for (int l = 0; l < h->n_layer; l++) backends[l] = fkv_engine_backend(s->e, l);
    status = fkv_kv_cache_create(&f->cache, backends, h->n_layer, h->n_kv_head, h->d_head, s->shape.k_type,
                                 s->shape.v_type, n_ctx);
    free(backends);
    return status;
}

static void set_up(fkv_session *s)
{
    struct fkv_forward *f = &s->f;
    const struct fkv_hparams *h = &s->e->model->h;
    f->model = s->e->model;
    f->n_places = s->e->n_places;
    for (int i = 0; i < f->n_places; i++) {
        const struct fkv_engine_place *p = &s->e->place[i];
        f->place[i] = (struct fkv_place){.b = p->b,
                                         .block = &p->block,
                                         .end = p->end,
                                         .rope = {h->ropes[0].pairs, h->ropes[0].n_rot, h->d_head, NULL}};
    }
    f->kv = &s->shape.params.kv;
    f->policy = fkv_policy_find(f->kv->policy);
    f->k_type = s->shape.k_work;
    f->v_type = s->shape.v_work;
    f->tsp_layer = f->n_propagated = -1;
    f->progress = s->shape.params.progress;
    f->progress_user = s->shape.params.progress_user;
    f->cancel = &s->cancel;
}

fkv_status fkv_session_open(fkv_session **session, fkv_engine *engine, const struct fkv_session_params *params,
                            char *err)
{
    struct fkv_error error = {""};
    fkv_session *s = calloc(1, sizeof *s);
    fkv_status status = s ? FKV_OK : fkv_fail(&error, FKV_ERROR_MEMORY, "no memory for a session");
    if (status == FKV_OK) {
        s->e = engine;
        status = fkv_session_shape(&s->shape, engine, params, &error);
    }
    if (status == FKV_OK) {
        set_up(s);
        status = allocate(s);
        if (status != FKV_OK) fkv_fail(&error, status, "no memory for a session of %d tokens", s->shape.params.n_ctx);
    }
    if (status == FKV_OK) {
        *session = s;
    } else {
        fkv_session_close(s);
        if (err) memcpy(err, error.text, sizeof error.text);
    }
    return status;
}

void fkv_session_close(fkv_session *s)
{
    if (!s) return;
    fkv_kv_cache_destroy(s->f.cache);
    for (int i = 0; i < s->f.n_places; i++)
        if (s->activations[i]) s->f.place[i].b->ops->free(s->f.place[i].b, s->activations[i], s->n_activations);
    fkv_unreserve(s->memory, s->bytes);
    free(s);
}

/* ---- the rotary table ------------------------------------------------------------------------ */

/* Rows of the table are made so many at a time: only the first one's angles take cos() and sin(), the others are it
   turned, in double. */
enum { ANGLE_ROWS = 32 };

static void fill_angles(const struct fkv_model *m, size_t first, size_t rows, float *table)
{
    const struct fkv_rope_params *p = &m->h.ropes[0];
    const double magnitude = (double)p->magnitude;
    for (int i = 0; i < p->n_rot / 2; i++) {
        const double frequency = pow((double)p->base, -2.0 * i / p->n_rot) / (double)p->scale /
                                 (p->divided ? (double)m->rope_freqs[i] : 1.0);
        const double c1 = cos(frequency), s1 = sin(frequency);
        double c = cos((double)first * frequency), s = sin((double)first * frequency);
        for (size_t row = 0; row < rows; row++) {
            float *at = table + row * (size_t)p->n_rot + 2 * i;
            at[0] = (float)(magnitude * c);
            at[1] = (float)(magnitude * s);
            const double turned = c * c1 - s * s1;
            s = s * c1 + c * s1;
            c = turned;
        }
    }
}

/* Angles of n positions at least. */
static void extend_angles(fkv_session *s, size_t n)
{
    const size_t n_rot = (size_t)s->e->model->h.ropes[0].n_rot, all = (size_t)s->shape.params.n_ctx;
    float table[ANGLE_ROWS * FKV_MAX_HEAD];
    while (s->angles < n) {
        const size_t rows = all - s->angles < ANGLE_ROWS ? all - s->angles : ANGLE_ROWS;
        fill_angles(s->e->model, s->angles, rows, table);
        for (int i = 0; i < s->f.n_places; i++) {
            const struct fkv_place *at = &s->f.place[i];
            at->b->ops->write(at->b, (float *)(uintptr_t)at->rope.cos_sin + s->angles * n_rot, table, rows * n_rot);
        }
        s->angles += rows;
    }
}

/* ---- running --------------------------------------------------------------------------------- */

static fkv_status failed(fkv_session *s, fkv_status status)
{
    if (status == FKV_OK || status == FKV_ERROR_CONTEXT || status == FKV_ERROR_ARGUMENT)
        return status; /* those said more already */
    for (int i = 0; i < s->f.n_places; i++)
        if (*s->f.place[i].b->error.text) return fkv_fail(&s->error, status, "%s", s->f.place[i].b->error.text);
    const char *text =
        status == FKV_ERROR_NUMBER
            ? "the model computed a value that is not a number: its weights are damaged, or too large for their type"
            : fkv_status_text(status);
    return fkv_fail(&s->error, status, "%s", text);
}

static fkv_status check_ids(fkv_session *s, const int32_t *ids, size_t n, size_t first)
{
    const struct fkv_hparams *h = &s->e->model->h;
    if (first + n > (size_t)s->shape.params.n_ctx)
        return fkv_fail(&s->error, FKV_ERROR_CONTEXT,
                        "context_length_exceeded: %zu tokens do not fit the context of %d", first + n,
                        s->shape.params.n_ctx);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= h->n_vocab)
            return fkv_fail(&s->error, FKV_ERROR_ARGUMENT, "token %zu: expected an id below %d, found %d", first + i,
                            h->n_vocab, ids[i]);
    return FKV_OK;
}

static void cut_to(fkv_session *s, size_t n)
{
    fkv_kv_cache_cut(s->f.cache, (int32_t)n);
    s->n_seen = n;
    s->have_logits = false;
    if (n == 0) s->pruned_until = 0;
}

static fkv_status decode(fkv_session *s, int32_t id)
{
    const double t0 = fkv_clock_s();
    extend_angles(s, s->n_seen + 1);
    s->have_logits = false;
    s->ids[s->n_seen] = id;
    const fkv_status status = fkv_decode(&s->f, id, (int)s->n_seen);
    if (status != FKV_OK) {
        cut_to(s, s->n_seen);
        return failed(s, status);
    }
    s->n_seen++;
    s->have_logits = true;
    s->stats.decode_s += fkv_clock_s() - t0;
    s->stats.decode_tokens++;
    return FKV_OK;
}

static fkv_status prefill(fkv_session *s, const int32_t *ids, size_t n)
{
    const double t0 = fkv_clock_s();
    const size_t first = s->n_seen;
    extend_angles(s, first + n);
    s->have_logits = false;
    memcpy(s->ids + first, ids, n * sizeof *ids);
    memset(s->f.stage_s, 0, sizeof s->f.stage_s);
    const fkv_status status = fkv_prefill(&s->f, ids, (int)n, (int)first);
    if (status != FKV_OK) {
        cut_to(s, first);
        return failed(s, status);
    }
    s->n_seen = first + n;
    if (s->f.pruned) s->pruned_until = s->n_seen;
    s->have_logits = true;
    s->stats.prefill_s += fkv_clock_s() - t0;
    s->stats.prefill_tokens += n;
    for (int i = 0; i < FKV_N_STAGES; i++) s->stats.stage_s[i] = s->f.stage_s[i];
    return FKV_OK;
}

/* How far the wanted ids agree with what was seen. */
static size_t common_prefix(const fkv_session *s, const int32_t *ids, size_t n)
{
    size_t i = 0;
    while (i < n && i < s->n_seen && ids[i] == s->ids[i]) i++;
    return i;
}

fkv_status fkv_session_sync(fkv_session *s, const int32_t *ids, size_t n)
{
    atomic_store(&s->cancel, false);
    fkv_status status = check_ids(s, ids, n, 0);
    if (status != FKV_OK) return status;
    size_t keep = common_prefix(s, ids, n);
    s->sync_kind = FKV_SYNC_EXTENDED;
    if (keep == n && n == s->n_seen && (s->have_logits || n == 0)) {
        s->reused = keep;
        return FKV_OK;
    }
    if (keep == n && n > 0) keep--; /* the last id is computed again, for its logits */
    if (keep < s->n_seen) {
        s->sync_kind = keep >= s->pruned_until && keep > 0 ? FKV_SYNC_CUT_BACK : FKV_SYNC_REBUILT;
        if (s->sync_kind == FKV_SYNC_REBUILT) keep = 0;
        cut_to(s, keep);
    }
    s->reused = keep;
    if (n == keep) return FKV_OK;
    return n - keep == 1 ? decode(s, ids[keep]) : prefill(s, ids + keep, n - keep);
}

enum fkv_sync fkv_session_sync_kind(const fkv_session *s, size_t *reused)
{
    if (reused) *reused = s->reused;
    return s->sync_kind;
}

fkv_status fkv_session_append(fkv_session *s, int32_t id)
{
    const fkv_status status = check_ids(s, &id, 1, s->n_seen);
    if (status != FKV_OK) return status;
    if (atomic_load(&s->cancel)) return failed(s, FKV_ERROR_CANCELLED);
    return decode(s, id);
}

void fkv_session_cancel(fkv_session *s) { atomic_store(&s->cancel, true); }

/* ---- looking in ------------------------------------------------------------------------------ */

const char *fkv_session_error(const fkv_session *s) { return s->error.text; }

const float *fkv_session_logits(const fkv_session *s) { return s->have_logits ? s->f.logits : NULL; }

size_t fkv_session_n_seen(const fkv_session *s) { return s->n_seen; }

int fkv_session_kept(const fkv_session *s, int layer, int kv_head, const int32_t **positions)
{
    const struct fkv_hparams *h = &s->e->model->h;
    if (layer < 0 || layer >= h->n_layer || kv_head < 0 || kv_head >= h->n_kv_head) return -1;
    *positions = fkv_kv_cache_positions(s->f.cache, layer, kv_head);
    return fkv_kv_cache_count(s->f.cache, layer, kv_head);
}

int fkv_session_propagated(const fkv_session *s, int *layer, const int32_t **positions)
{
    *layer = s->f.tsp_layer;
    *positions = s->f.propagated;
    return s->f.n_propagated;
}

void fkv_session_get_stats(const fkv_session *s, struct fkv_session_stats *stats)
{
    const struct fkv_hparams *h = &s->e->model->h;
    const uint64_t tiles = (s->n_seen + FKV_TILE - 1) / FKV_TILE;
    *stats = s->stats;
    stats->kv_bytes = fkv_kv_cache_bytes(s->f.cache);
    stats->kv_full_bytes = tiles * (uint64_t)(h->n_layer * h->n_kv_head) *
                           (fkv_tile_bytes(s->shape.k_type, h->d_head) + fkv_tile_bytes(s->shape.v_type, h->d_head));
    stats->kv_peak_bytes = s->f.kv_peak_bytes > stats->kv_bytes ? s->f.kv_peak_bytes : stats->kv_bytes;
}

const char *fkv_stage_name(int i)
{
    static const char *const names[FKV_N_STAGES] = {"products", "attention", "norms, rope, cache",
                                                    "scores, selection, retention"};
    return i >= 0 && i < FKV_N_STAGES ? names[i] : NULL;
}

void fkv_session_get_params(const fkv_session *s, struct fkv_session_params *params) { *params = s->shape.params; }
