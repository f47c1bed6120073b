/* What a session will need, worked out from shapes alone. */
#include <string.h>

#include "base/limits.h"
#include "engine/engine.h"

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

fkv_status fkv_session_shape(struct fkv_session_shape *s, const fkv_engine *e, const struct fkv_session_params *params,
                             struct fkv_error *error)
{
    if (!e->model) return fkv_fail(error, FKV_ERROR_ARGUMENT, "the engine was opened for its vocabulary only");
    if (params->size != sizeof *params)
        return fkv_fail(error, FKV_ERROR_ARGUMENT, "session parameters: expected size %zu, found %zu", sizeof *params,
                        params->size);
    const struct fkv_hparams *h = &e->model->h;
    s->params = *params;
    if (s->params.n_ctx == 0) s->params.n_ctx = h->n_ctx_train;
    if (s->params.n_ctx < 1 || s->params.n_ctx > FKV_CONTEXT_MAX)
        return fkv_fail(error, FKV_ERROR_CONTEXT, "context size: expected 1 to %d, found %d", FKV_CONTEXT_MAX,
                        s->params.n_ctx);
    s->k_type = elem_of(params->k_type, e->place[0].b);
    s->v_type = elem_of(params->v_type, e->place[0].b);
    /* Keys have the scores to carry: of the two types of 16 bits f16 rounds eight times finer. */
    s->k_work = s->k_type == FKV_ELEM_F32 ? FKV_ELEM_F32 : FKV_ELEM_F16;
    s->v_work = s->v_type == FKV_ELEM_Q8_0 ? e->place[0].b->work_type : s->v_type;
    s->params.k_type = type_of(s->k_type);
    s->params.v_type = type_of(s->v_type);
    return fkv_kv_params_check(&s->params.kv, h->n_layer, error);
}

static uint64_t entries_bytes(const struct fkv_hparams *h, uint64_t entries, int k_type, int v_type)
{
    const uint64_t tiles = (entries + FKV_TILE - 1) / FKV_TILE;
    return tiles * (uint64_t)h->n_kv_head * (fkv_tile_bytes(k_type, h->d_head) + fkv_tile_bytes(v_type, h->d_head));
}

/* Entries that the first n layers keep together per head of a prompt, the tokens to come included in each. */
static uint64_t kept_bytes(const struct fkv_session_shape *s, const struct fkv_hparams *h, int n_layers, int n_prompt,
                           int n_predict)
{
    const struct fkv_policy *policy = fkv_policy_find(s->params.kv.policy);
    uint64_t bytes = 0;
    for (int l = 0, n = n_prompt; l < n_layers; l++) {
        const struct fkv_layer_state state = {l, h->n_layer, n_prompt, n,
                                              s->params.kv.sinks < n ? s->params.kv.sinks : n};
        const struct fkv_layer_plan plan = fkv_policy_plan(policy, &s->params.kv, &state);
        bytes += entries_bytes(h, (uint64_t)plan.keep + (uint64_t)n_predict, s->k_type, s->v_type);
        n = plan.propagate;
    }
    return bytes;
}

/* Forms of a block's input, results and tables: what the back end and the session touch of the host's memory for n
   tokens, of which `kept` entries stay, a row and a position each. A device that has all layers leaves such lists and
   logits. */
static uint64_t scratch_bytes(const fkv_engine *e, uint64_t n, uint64_t kept)
{
    const struct fkv_hparams *h = &e->model->h;
    const struct fkv_backend *b = e->place[e->n_places - 1].b;
    const uint64_t lists = (n * 6 + kept * 2) * 4 + (uint64_t)h->n_vocab * 4;
    if (e->info.gpu_layers == h->n_layer) return lists;
    const uint64_t threads = (uint64_t)fkv_team_size(b->team), cols = (uint64_t)fkv_model_max_cols(h);
    const uint64_t per_token = 4 * (uint64_t)(h->d_model + h->ropes[0].n_rot + 2 * h->n_kv_head);
    const uint64_t block = fkv_block_buffers_bytes(b, h) + (uint64_t)b->block_rows * cols * 2;
    const uint64_t per_thread = FKV_PANEL_SCRATCH + FKV_ATTEND_SCRATCH +
                                2 * (uint64_t)b->block_rows * FKV_MOST_PANEL_ROWS * 4 + n * 12 * 4;
    return lists + n * per_token + block + threads * per_thread;
}

/* A prompt that fills the context, as the back end stores it: its own padding is small beside the share that the plan
   leaves free. */
uint64_t fkv_session_device_bytes(const struct fkv_session_shape *s, const struct fkv_hparams *h,
                                  const struct fkv_backend *b, int n_layers)
{
    struct fkv_place nowhere;
    const int n = s->params.n_ctx;
    const uint64_t work = entries_bytes(h, (uint64_t)n, s->k_work, s->v_work);
    const uint64_t activations = fkv_lay_out_activations(&nowhere, h, n, NULL) * sizeof(float) +
                                 fkv_block_buffers_bytes(b, h);
    return n_layers == 0 ? 0
                         : activations + b->ops->scratch_bytes(b, n, h->n_head, s->params.kv.window) + work +
                               kept_bytes(s, h, n_layers, n, 0);
}

fkv_status fkv_plan_memory(const fkv_engine *e, const struct fkv_session_params *params, int n_prompt, int n_predict,
                           struct fkv_memory_plan *plan, char *err)
{
    struct fkv_error error = {""};
    struct fkv_session_shape s;
    fkv_status status = fkv_session_shape(&s, e, params, &error);
    if (status == FKV_OK && (n_prompt < 1 || n_predict < 0))
        status = fkv_fail(&error, FKV_ERROR_ARGUMENT,
                          "memory plan: expected a prompt of at least 1 token, found %d and %d to predict", n_prompt,
                          n_predict);
    if (status != FKV_OK) {
        if (err) memcpy(err, error.text, sizeof error.text);
        return status;
    }
    const struct fkv_hparams *h = &e->model->h;
    const uint64_t n = (uint64_t)n_prompt;
    plan->weights = e->info.weight_bytes > e->info.gpu_weight_bytes ? e->info.weight_bytes - e->info.gpu_weight_bytes
                                                                    : 0;
    plan->kv = kept_bytes(&s, h, h->n_layer, n_prompt, n_predict);
    plan->kv_full = (uint64_t)h->n_layer * entries_bytes(h, n + (uint64_t)n_predict, s.k_type, s.v_type);
    plan->kv_prefill = entries_bytes(h, n, s.k_work, s.v_work);
    plan->scratch = scratch_bytes(e, n,
                                  plan->kv /
                                      (fkv_tile_bytes(s.k_type, h->d_head) + fkv_tile_bytes(s.v_type, h->d_head)) *
                                      FKV_TILE);
    struct fkv_memory_left left;
    fkv_memory_left("", &left);
    plan->available = left.bytes;
    memcpy(plan->limit, left.limit, sizeof plan->limit);
    return FKV_OK;
}
