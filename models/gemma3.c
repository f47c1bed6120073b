/* gemma3: Gemma 3 (arXiv 2503.19786). Every sixth layer attends to all positions, the others to a window, and by a
   rotary base of their own; q and k are normalised per head; both halves of a layer end with a norm before they are
   added; the MLP's gate is a GELU, and rows of the embedding table are scaled by sqrt(d_model). */
#include <math.h>

#include "model/model.h"

static const struct fkv_weight_name weights[] = {
    FKV_DECODER_WEIGHTS,
    FKV_LAYER_ROW("attn_q_norm.weight", q_norm, FKV_VECTOR(FKV_DIM_HEAD)),
    FKV_LAYER_ROW("attn_k_norm.weight", k_norm, FKV_VECTOR(FKV_DIM_HEAD)),
    FKV_LAYER_ROW("post_attention_norm.weight", post_attn_norm, FKV_VECTOR(FKV_DIM_MODEL)),
    FKV_LAYER_ROW("post_ffw_norm.weight", post_ffn_norm, FKV_VECTOR(FKV_DIM_MODEL)),
    {0},
};

static const struct fkv_local_layers local = {.period = 6, .rope_base = 10000, .rope_plain = true};

static fkv_status hparams(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e)
{
    enum { LAYERS_OF_27B = 62 };
    float cap = 0;
    const fkv_status status = fkv_gguf_f32(g, "gemma3.final_logit_softcapping", &cap, e);
    if (status != FKV_OK) return status;
    if (cap != 0)
        return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "gemma3.final_logit_softcapping: expected 0 (no cap), found %g",
                        (double)cap);
    h->embed_scale = sqrtf((float)h->d_model);
    h->activation = FKV_GELU;
    h->norm_after = true;
    /* the largest model's logits are scaled by what its heads would be, which the file does not say */
    for (int i = 0; i < h->n_layer && h->n_layer == LAYERS_OF_27B; i++)
        h->layer[i].scale = 1.0f / sqrtf((float)h->d_model / (float)h->layer[i].n_head);
    return FKV_OK;
}

static void attn_in(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    fkv_project_qkv(b, w, want);
    fkv_norm_heads(b, w, want);
    fkv_rotate(b, want);
}

const struct fkv_arch fkv_arch_gemma3 = {.name = "gemma3",
                                         .weights = weights,
                                         .local = &local,
                                         .hparams = hparams,
                                         .attn_in = attn_in,
                                         .attn_out_ffn = fkv_output_and_mlp};
