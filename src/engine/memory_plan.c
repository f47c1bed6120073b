/* What a session will need, worked out from shapes alone. */
#include <string.h>

#include "base/limits.h"
#include "engine/session.h"

static int elem_of(enum fkv_kv_type type, const struct fkv_backend *b)
{
    switch (type) {
    case FKV_KV_F32: return FKV_ELEM_F32;
    case FKV_KV_F16: return FKV_ELEM_F16;
    case FKV_KV_BF16: return FKV_ELEM_BF16;
    case FKV_KV_Q8_0: return FKV_ELEM_Q8_0;
    case FKV_KV_AUTO: break;
    }
    return b->work_type;
}

static enum fkv_kv_type type_of(int elem)
{
    static const enum fkv_kv_type types[] = {[FKV_ELEM_F32] = FKV_KV_F32,
                                             [FKV_ELEM_F16] = FKV_KV_F16,
                                             [FKV_ELEM_BF16] = FKV_KV_BF16,
                                             [FKV_ELEM_Q8_0] = FKV_KV_Q8_0};
    return types[elem];
}

/* Can every score be had that the policy may ask for? */
static fkv_status check_scoring(const struct fkv_session_shape *s, const struct fkv_hparams *h,
                                const struct fkv_backend *b, struct fkv_error *error)
{
    const struct fkv_policy *policy = fkv_policy_find(s->params.kv.policy);
    const int n = s->params.n_ctx;
    for (int l = 0; l < h->n_layer; l++) {
        const struct fkv_layer_state state = {.layer = l,
                                              .n_layer = h->n_layer,
                                              .n_prompt = n,
                                              .n_rows = n,
                                              .n_kv_head = h->layer[l].n_kv_head,
                                              .local = h->layer[l].window,
                                              .window = fkv_most_window(&s->params.kv)};
        const struct fkv_layer_plan plan = fkv_policy_plan(policy, NULL, &s->params.kv, &state);
        const fkv_status status = fkv_scoring_check(&plan.scoring, b, error);
        if (status != FKV_OK) return status;
    }
    return FKV_OK;
}

/* Rows go on by the scores of a layer that sees all positions: the one that was named or the nearest before it, else
   the first. Where local layers would see but few of those rows, none stay behind unless a layer was named: past the
   last one nothing goes on anyway. */
static void settle_tsp(struct fkv_kv_params *kv, const struct fkv_hparams *h, bool named)
{
    int first = -1, before = -1;
    for (int l = 0; l < h->n_layer; l++) {
        if (h->layer[l].window) continue;
        if (first < 0) first = l;
        if (l <= kv->tsp_layer) before = l;
    }
    if (h->n_local == 0) return;
    const bool none = !named || kv->tsp_layer == h->n_layer - 1 || first < 0;
    kv->tsp_layer = none ? h->n_layer - 1 : before >= 0 ? before : first;
}

fkv_status fkv_session_shape_on(struct fkv_session_shape *s, const fkv_engine *e, const struct fkv_backend *b,
                                const struct fkv_session_params *params, struct fkv_error *error)
{
    const struct fkv_session_params defaults = FKV_SESSION_PARAMS_INIT;
    const struct fkv_hparams *h = &e->model->h;
    s->params = defaults;
    const fkv_status status = fkv_take_params(&s->params, sizeof s->params, params, "session parameters", error);
    if (status != FKV_OK) return status;
    if (s->params.n_ctx == 0) s->params.n_ctx = h->n_ctx_train;
    if (s->params.n_ctx < 1 || s->params.n_ctx > FKV_CONTEXT_MAX)
        return fkv_fail(error, FKV_ERROR_CONTEXT, "context size: expected 1 to %d, found %d", FKV_CONTEXT_MAX,
                        s->params.n_ctx);
    if ((unsigned)s->params.k_type > FKV_KV_Q8_0 || (unsigned)s->params.v_type > FKV_KV_Q8_0)
        return fkv_fail(error, FKV_ERROR_ARGUMENT, "types of K and V: expected enum fkv_kv_type, found %d and %d",
                        (int)s->params.k_type, (int)s->params.v_type);
    s->k_type = elem_of(s->params.k_type, b);
    s->v_type = elem_of(s->params.v_type, b);
    /* Keys have the scores to carry: of the two types of 16 bits f16 rounds eight times finer. */
    s->k_work = s->k_type == FKV_ELEM_F32 ? FKV_ELEM_F32 : FKV_ELEM_F16;
    s->v_work = s->v_type == FKV_ELEM_Q8_0 ? b->work_type : s->v_type;
    s->params.k_type = type_of(s->k_type);
    s->params.v_type = type_of(s->v_type);
    const bool named = s->params.kv.tsp_layer >= 0;
    const fkv_status checked = fkv_kv_params_check(&s->params.kv, h->n_layer, error);
    if (checked != FKV_OK) return checked;
    settle_tsp(&s->params.kv, h, named);
    return check_scoring(s, h, b, error);
}

fkv_status fkv_session_shape(struct fkv_session_shape *s, const fkv_engine *e, const struct fkv_session_params *params,
                             struct fkv_error *error)
{
    if (!e->model) return fkv_fail(error, FKV_ERROR_ARGUMENT, "the engine was opened for its vocabulary only");
    return fkv_session_shape_on(s, e, e->ws.place[0].b, params, error);
}

/* ---- what the owners say ------------------------------------------------------------------------- */

/* What layers keep of a prompt, by the policy's estimates, and of the tokens to come: their bytes as the back ends
   store them, and the positions that go with them. work: the full K and V of a layer, the largest, as there is one at a
   time. */
struct kept {
    uint64_t bytes, full_bytes, positions, work;
};

/* The first n_layers, all of them at b or, if b is NULL, where the engine has them. */
static struct kept kept_by(const struct fkv_session_shape *s, const fkv_engine *e, const struct fkv_backend *b,
                           int n_layers, int n_prompt, int n_predict)
{
    const struct fkv_hparams *h = &e->model->h;
    const struct fkv_policy *policy = fkv_policy_find(s->params.kv.policy);
    const int sinks = fkv_most_sinks(&s->params.kv);
    struct fkv_layer_state state = {.n_layer = h->n_layer,
                                    .n_prompt = n_prompt,
                                    .n_rows = n_prompt,
                                    .sinks = sinks < n_prompt ? sinks : n_prompt,
                                    .window = fkv_most_window(&s->params.kv)};
    struct kept kept = {0};
    for (; state.layer < n_layers; state.layer++) {
        const struct fkv_layer_hparams *l = &h->layer[state.layer];
        const struct fkv_kv_shape shape = {l->n_kv_head, l->d_head, s->k_type, s->v_type},
                                  full = {l->n_kv_head, l->d_head, s->k_work, s->v_work};
        const struct fkv_backend *at = b ? b : fkv_engine_layer(e, s, state.layer).b;
        state.n_kv_head = l->n_kv_head;
        state.local = l->window;
        const struct fkv_layer_plan plan = fkv_policy_plan(policy, NULL, &s->params.kv, &state);
        /* Heads of unequal counts each begin a unit of their own. */
        const int uneven = plan.spread == FKV_SPREAD_POOLED ? FKV_TILE - 1 : 0;
        const int held = fkv_plan_most(&plan, state.n_rows);
        kept.bytes += at->ops->kv_bytes_of(at, &shape, held + n_predict + uneven);
        kept.full_bytes += at->ops->kv_bytes_of(at, &shape, n_prompt + n_predict);
        kept.positions += (uint64_t)(held + n_predict) * (uint64_t)l->n_kv_head * sizeof(int32_t);
        const uint64_t work = at->ops->kv_bytes_of(at, &full, state.n_rows);
        if (work > kept.work) kept.work = work;
        state.n_rows = plan.propagate;
    }
    return kept;
}

/* A prompt that fills the context. */
uint64_t fkv_session_device_bytes(const struct fkv_session_shape *s, const fkv_engine *e, const struct fkv_backend *b,
                                  int n_layers)
{
    const int n = s->params.n_ctx;
    if (n_layers == 0) return 0;
    const struct kept kept = kept_by(s, e, b, n_layers, n, 0);
    return fkv_workspace_bytes(b, e->model, n, fkv_most_window(&s->params.kv)).device + kept.bytes + kept.work;
}

/* What lies in the host's memory besides K and V. */
static uint64_t host_bytes(const struct fkv_session_shape *s, const fkv_engine *e, int n, uint64_t positions)
{
    const struct fkv_workspace *ws = &e->ws;
    uint64_t bytes = positions + (uint64_t)n * sizeof(int32_t) + fkv_session_bytes(e, n) + fkv_workspace_lists(ws, n);
    for (int i = 0; i < ws->n_places; i++)
        bytes += fkv_workspace_bytes(ws->place[i].b, e->model, n, fkv_most_window(&s->params.kv)).host;
    return bytes;
}

fkv_status fkv_plan_memory(const fkv_engine *e, const struct fkv_session_params *params, int n_prompt, int n_predict,
                           struct fkv_memory_plan *plan, char *err)
{
    struct fkv_error error = {""};
    struct fkv_session_shape s;
    fkv_status status = fkv_session_shape(&s, e, params, &error);
    if (status == FKV_OK && (n_prompt < 1 || n_predict < 0 || n_prompt > FKV_CONTEXT_MAX - n_predict))
        status =
            fkv_fail(&error, FKV_ERROR_ARGUMENT,
                     "memory plan: expected a prompt of at least 1 token and %d in all, found %d and %d to predict",
                     FKV_CONTEXT_MAX, n_prompt, n_predict);
    if (status != FKV_OK) return fkv_tell(err, &error, status);
    const struct fkv_model_info *info = &e->info;
    const struct kept kept = kept_by(&s, e, NULL, e->model->h.n_layer, n_prompt, n_predict);
    plan->weights = info->weight_bytes > info->gpu_weight_bytes ? info->weight_bytes - info->gpu_weight_bytes : 0;
    plan->kv = kept.bytes;
    plan->kv_full = kept.full_bytes;
    plan->kv_prefill = kept.work;
    plan->scratch = host_bytes(&s, e, n_prompt + n_predict, kept.positions);
    struct fkv_memory_left left;
    fkv_memory_left("", &left);
    plan->available = left.bytes;
    memcpy(plan->limit, left.limit, sizeof plan->limit);
    return FKV_OK;
}
