/* Hyper-parameters from the metadata. */
#include "model/hparams.h"

#include <math.h>
#include <stdlib.h>

#include "model/hparams_keys.h"
#include "model/model.h"

int fkv_model_max_cols(const struct fkv_hparams *h)
{
    const int most = h->q_width > h->d_ff ? h->q_width : h->d_ff;
    return most > h->d_model ? most : h->d_model;
}

/* ---- a layer --------------------------------------------------------------------------------- */

static fkv_status check_layer(const struct fkv_reader *r, const struct fkv_layer_hparams *l, int d_value, int n_rot)
{
    if (l->n_head % l->n_kv_head)
        return fkv_fail(r->e, FKV_ERROR_FORMAT,
                        "%s.attention.head_count_kv: expected a divisor of the %d heads, found %d", r->arch, l->n_head,
                        l->n_kv_head);
    if (l->n_head / l->n_kv_head > FKV_ATTEND_ROWS)
        return fkv_fail(r->e, FKV_ERROR_UNSUPPORTED, "%s: expected at most %d query heads for a KV head, found %d",
                        r->arch, FKV_ATTEND_ROWS, l->n_head / l->n_kv_head);
    if (l->d_head < 2 || l->d_head % 2 || l->d_head > FKV_MAX_HEAD)
        return fkv_fail(r->e, FKV_ERROR_UNSUPPORTED, "%s: expected an even head size of at most %d, found %d", r->arch,
                        FKV_MAX_HEAD, l->d_head);
    if (d_value != l->d_head)
        return fkv_fail(r->e, FKV_ERROR_UNSUPPORTED, "%s.attention.value_length: expected the key length %d, found %d",
                        r->arch, l->d_head, d_value);
    if (n_rot % 2 || n_rot > l->d_head)
        return fkv_fail(r->e, FKV_ERROR_FORMAT,
                        "%s.rope.dimension_count: expected an even number of at most %d, found %d", r->arch, l->d_head,
                        n_rot);
    return FKV_OK;
}

static bool is_array(const struct fkv_reader *r, const char *suffix)
{
    char key[FKV_KEY_BYTES];
    uint64_t n = 0;
    fkv_reader_key(r, suffix, key);
    return (fkv_gguf_array(r->g, key, FKV_GGUF_BOOL, &n, NULL) == FKV_OK ||
            fkv_gguf_array(r->g, key, FKV_GGUF_U32, &n, NULL) == FKV_OK) &&
           n > 0;
}

/* Is the layer local, and its window? See struct fkv_local_layers. */
static fkv_status read_window(const struct fkv_reader *r, int n_ctx_train, int layer, struct fkv_layer_hparams *l)
{
    char key[FKV_KEY_BYTES];
    static const char pattern[] = "attention.sliding_window_pattern";
    int window = 0, found = r->local ? r->local->period : 0;
    if (!r->local) return FKV_OK;
    fkv_status status = fkv_read_int(r, "attention.sliding_window", layer, 0, 1 << 24, &window);
    if (status == FKV_OK) status = fkv_read_int(r, pattern, layer, 0, 1024, &found);
    if (status != FKV_OK || window == 0) return status;
    if (r->local->in_context && window >= n_ctx_train) return FKV_OK;
    if (r->local->in_context && layer == 0)
        fkv_warn(r->warnings, "%s: %d: no layer attends to more positions than these",
                 fkv_reader_key(r, "attention.sliding_window", key), window);
    if (is_array(r, pattern) ? found == 0 : found > 0 && (layer + 1) % found == 0) return FKV_OK;
    l->kind = FKV_LAYER_LOCAL;
    l->window = window;
    return FKV_OK;
}

static fkv_status read_heads(const struct fkv_reader *r, struct fkv_hparams *h, int layer)
{
    struct fkv_layer_hparams *l = &h->layer[layer];
    fkv_status status;
    if ((status = fkv_read_int(r, "attention.head_count", layer, 1, 1024, &l->n_head)) != FKV_OK) return status;
    l->n_kv_head = l->n_head;
    if ((status = fkv_read_int(r, "attention.head_count_kv", layer, 1, l->n_head, &l->n_kv_head)) != FKV_OK)
        return status;
    l->d_head = h->d_model / l->n_head;
    if ((status = fkv_read_int_of(r, l, "attention.key_length", layer, 1 << 16, &l->d_head)) != FKV_OK) return status;
    int d_value = l->d_head, n_rot = l->d_head;
    if ((status = fkv_read_int_of(r, l, "attention.value_length", layer, 1 << 16, &d_value)) != FKV_OK) return status;
    if ((status = fkv_read_int_of(r, l, "rope.dimension_count", layer, 1 << 16, &n_rot)) != FKV_OK) return status;
    if ((status = check_layer(r, l, d_value, n_rot)) != FKV_OK) return status;
    l->scale = 1.0f / sqrtf((float)l->d_head);
    return fkv_read_rope_of(r, h, l, n_rot);
}

/* The lengths of the MLP, or of the experts' that stand in its place. */
static fkv_status read_feed_forward(const struct fkv_reader *r, const struct fkv_hparams *h, int layer)
{
    struct fkv_layer_hparams *l = &h->layer[layer];
    const bool its_own = h->n_expert > 0 && fkv_reader_has(r, "expert_feed_forward_length");
    const char *key = its_own ? "expert_feed_forward_length" : "feed_forward_length";
    int length = FKV_REQUIRED;
    const fkv_status status = fkv_read_int(r, key, layer, 1, 1 << 19, &length);
    if (status != FKV_OK) return status;
    if (h->n_expert == 0)
        l->d_ff = length;
    else
        l->d_ff_expert = its_own || !r->experts->share_d_ff ? length : length / h->n_expert_used;
    return FKV_OK;
}

static fkv_status read_layer(const struct fkv_reader *r, struct fkv_hparams *h, int layer)
{
    struct fkv_layer_hparams *l = &h->layer[layer];
    fkv_status status;
    *l = (struct fkv_layer_hparams){.n_head = FKV_REQUIRED, .kv_from = layer};
    if ((status = read_feed_forward(r, h, layer)) != FKV_OK) return status;
    if ((status = read_window(r, h->n_ctx_train, layer, l)) != FKV_OK) return status;
    return read_heads(r, h, layer);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int larger(int a, int b) { return a > b ? a : b; }

static void find_most(struct fkv_hparams *h)
{
    for (int i = 0; i < h->n_layer; i++) {
        const struct fkv_layer_hparams *l = &h->layer[i];
        h->n_local += l->kind == FKV_LAYER_LOCAL;
        h->n_head = larger(h->n_head, l->n_head);
        h->n_kv_head = larger(h->n_kv_head, l->n_kv_head);
        h->d_head = larger(h->d_head, l->d_head);
        h->d_ff = larger(h->d_ff, larger(l->d_ff, l->d_ff_expert));
        h->q_width = larger(h->q_width, l->n_head * l->d_head);
        h->kv_width = larger(h->kv_width, l->n_kv_head * l->d_head);
    }
    h->ff_width = larger(h->d_ff, h->n_expert);
}

/* What is described here and no layer walk does yet. */
static fkv_status refuse_layers(const struct fkv_reader *r, const struct fkv_hparams *h)
{
    for (int i = 0; i < h->n_layer; i++)
        if (h->layer[i].kv_from != i)
            return fkv_fail(r->e, FKV_ERROR_UNSUPPORTED,
                            "%s.attention.shared_kv_layers: expected layer %d to have K and V of its own, found those "
                            "of layer %d",
                            r->arch, i, h->layer[i].kv_from);
    const struct fkv_rope_params *divided = NULL;
    for (int i = 0; i < h->n_ropes; i++) {
        if (h->ropes[i].divided == FKV_UNDIVIDED) continue;
        if (divided && divided->n_rot != h->ropes[i].n_rot)
            return fkv_fail(r->e, FKV_ERROR_UNSUPPORTED,
                            "%s: expected the same number of channels to turn in all layers, found %d and %d",
                            h->short_ctx ? "rope_factors_long.weight" : "rope_freqs.weight", divided->n_rot,
                            h->ropes[i].n_rot);
        divided = &h->ropes[i];
    }
    return FKV_OK;
}

/* ---- experts --------------------------------------------------------------------------------- */

static fkv_status read_gating(const struct fkv_reader *r, struct fkv_hparams *h)
{
    enum { SOFTMAX = 1 };
    char key[FKV_KEY_BYTES];
    int gating = SOFTMAX;
    h->expert_norm = r->experts->norm;
    fkv_status status = fkv_gguf_bool(r->g, fkv_reader_key(r, "expert_weights_norm", key), &h->expert_norm, r->e);
    if (status == FKV_OK) status = fkv_read_float(r, "expert_weights_scale", true, &h->expert_scale);
    if (status == FKV_OK) status = fkv_read_int(r, "expert_gating_func", FKV_ALL_LAYERS, 0, 1 << 16, &gating);
    if (status == FKV_OK && gating != SOFTMAX)
        status = fkv_fail(r->e, FKV_ERROR_UNSUPPORTED, "%s.expert_gating_func: expected %d (softmax), found %d",
                          r->arch, SOFTMAX, gating);
    if (h->expert_scale == 0) h->expert_scale = 1;
    return status;
}

static fkv_status read_experts(const struct fkv_reader *r, struct fkv_hparams *h)
{
    fkv_status status;
    if (r->experts && r->experts->always) h->n_expert = FKV_REQUIRED;
    if ((status = fkv_read_int(r, "expert_count", FKV_ALL_LAYERS, 0, 1 << 16, &h->n_expert)) != FKV_OK) return status;
    if (!r->experts && h->n_expert > 0)
        return fkv_fail(r->e, FKV_ERROR_UNSUPPORTED, "%s.expert_count: expected 0 (no mixture of experts), found %d",
                        r->arch, h->n_expert);
    if (!r->experts || (h->n_expert == 0 && !r->experts->always)) return FKV_OK;
    if (h->n_expert < 1 || h->n_expert > FKV_MOST_EXPERTS)
        return fkv_fail(r->e, FKV_ERROR_UNSUPPORTED, "%s.expert_count: expected 1 to %d, found %d", r->arch,
                        FKV_MOST_EXPERTS, h->n_expert);
    const int most = h->n_expert < FKV_MOST_USED ? h->n_expert : FKV_MOST_USED;
    h->n_expert_used = FKV_REQUIRED;
    if ((status = fkv_read_int(r, "expert_used_count", FKV_ALL_LAYERS, 1, most, &h->n_expert_used)) != FKV_OK)
        return status;
    return read_gating(r, h);
}

/* How long texts were in training limits only what nobody sets: a number that says nothing is no reason to refuse. */
static void read_context(const struct fkv_reader *r, struct fkv_hparams *h)
{
    enum { ASSUMED = 4096 };
    char key[FKV_KEY_BYTES];
    uint32_t found = 0;
    struct fkv_error why = {""};
    const fkv_status status = fkv_gguf_u32(r->g, fkv_reader_key(r, "context_length", key), &found, &why);
    const bool too_many = status == FKV_OK && found > FKV_CONTEXT_MAX;
    h->n_ctx_train = too_many ? FKV_CONTEXT_MAX : found > 0 ? (int)found : ASSUMED;
    if (!fkv_reader_has(r, "context_length"))
        fkv_warn(r->warnings, "%s: not in the file: %d is assumed", key, h->n_ctx_train);
    else if (status != FKV_OK)
        fkv_warn(r->warnings, "%.400s: %d is assumed", why.text, h->n_ctx_train);
    else if (too_many || found == 0)
        fkv_warn(r->warnings, "%s: expected 1 to %d tokens, found %u: %d is assumed", key, FKV_CONTEXT_MAX, found,
                 h->n_ctx_train);
}

static fkv_status read_whole(const struct fkv_reader *r, struct fkv_hparams *h)
{
    fkv_status status;
    int n_draft = 0;
    if ((status = fkv_read_int(r, "block_count", FKV_ALL_LAYERS, 1, 1024, &h->n_block)) != FKV_OK) return status;
    if ((status = fkv_read_int(r, "nextn_predict_layers", FKV_ALL_LAYERS, 0, h->n_block - 1, &n_draft)) != FKV_OK)
        return status;
    h->n_layer = h->n_block - n_draft;
    read_context(r, h);
    if ((status = fkv_read_int(r, "embedding_length", FKV_ALL_LAYERS, 1, 1 << 17, &h->d_model)) != FKV_OK)
        return status;
    if ((status = read_experts(r, h)) != FKV_OK) return status;
    char key[FKV_KEY_BYTES];
    bool causal = true;
    if ((status = fkv_gguf_bool(r->g, fkv_reader_key(r, "attention.causal", key), &causal, r->e)) != FKV_OK)
        return status;
    if (!causal)
        return fkv_fail(r->e, FKV_ERROR_UNSUPPORTED, "%s: expected true (a row sees those before it), found false",
                        key);
    if (!fkv_reader_has(r, "attention.layer_norm_rms_epsilon"))
        fkv_warn(r->warnings, "%s: not in the file: %g is assumed",
                 fkv_reader_key(r, "attention.layer_norm_rms_epsilon", key), (double)h->norm_eps);
    return fkv_read_float(r, "attention.layer_norm_rms_epsilon", true, &h->norm_eps);
}

fkv_status fkv_hparams_read(struct fkv_hparams *h, const struct fkv_arch *arch, const struct fkv_gguf *g,
                            struct fkv_warnings *warnings, struct fkv_error *e)
{
    struct fkv_reader r = {.g = g,
                           .arch = arch->name,
                           .local = arch->local,
                           .experts = arch->experts,
                           .yarn_unrounded = arch->yarn_unrounded,
                           .warnings = warnings,
                           .e = e};
    *h = (struct fkv_hparams){.n_block = FKV_REQUIRED,
                              .d_model = FKV_REQUIRED,
                              .norm_eps = 1e-5f,
                              .embed_scale = 1,
                              .logit_scale = 1};
    fkv_status status = read_whole(&r, h);
    if (status == FKV_OK) status = fkv_read_ropes(&r, h, arch->rope_pairs);
    if (status != FKV_OK) return status;
    r.n_block = h->n_block;
    h->layer = calloc((size_t)h->n_layer, sizeof *h->layer);
    h->ropes = calloc(2 * (size_t)h->n_layer, sizeof *h->ropes);
    if (!h->layer || !h->ropes) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for %d layers", h->n_layer);
    for (int i = 0; i < h->n_layer && status == FKV_OK; i++) status = read_layer(&r, h, i);
    if (status == FKV_OK && arch->hparams) status = arch->hparams(h, g, e);
    if (status != FKV_OK) return status;
    find_most(h);
    return refuse_layers(&r, h);
}

void fkv_hparams_destroy(struct fkv_hparams *h)
{
    free(h->layer);
    free(h->ropes);
    *h = (struct fkv_hparams){0};
}
