/* granite: Granite 3 and 4.1, dense (arXiv 2407.13739). As llama; embeddings, logits of attention, what a layer adds
   and the logits are each scaled by a number of the file. */
#include "model/model.h"

static const struct fkv_weight_name weights[] = {FKV_DECODER_WEIGHTS, {0}};

static fkv_status read_scale(const struct fkv_gguf *g, const char *key, float *scale, struct fkv_error *e)
{
    const fkv_status status = fkv_gguf_f32(g, key, scale, e);
    if (status != FKV_OK || (*scale > 0 && *scale < 1e6f)) return status;
    return fkv_fail(e, FKV_ERROR_FORMAT, "%s: expected a positive number, found %g", key, (double)*scale);
}

/* The residual stream is held divided by the scale of what layers add: then they add it as it is, and norms divide the
   scale out but for their epsilon. */
static fkv_status hparams(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e)
{
    float embed = 1, residual = 1, logits = 1, attention = h->layer[0].scale;
    const bool same = fkv_gguf_has(g, "granite.attention.scale");
    bool turns = true;
    fkv_status status = read_scale(g, "granite.embedding_scale", &embed, e);
    if (status == FKV_OK) status = read_scale(g, "granite.residual_scale", &residual, e);
    if (status == FKV_OK) status = read_scale(g, "granite.logit_scale", &logits, e);
    if (status == FKV_OK) status = read_scale(g, "granite.attention.scale", &attention, e);
    if (status == FKV_OK) status = fkv_gguf_bool(g, "granite.rope.scaling.finetuned", &turns, e);
    h->embed_scale = embed / residual;
    h->norm_eps /= residual * residual;
    h->logit_scale = 1 / logits;
    for (int i = 0; i < h->n_layer; i++) {
        if (same) h->layer[i].scale = attention;
        if (!turns) h->layer[i].rope = h->layer[i].rope_q = -1;
    }
    return status;
}

static void attn_in(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    fkv_project_qkv(b, w, want);
    fkv_rotate(b, want);
}

const struct fkv_arch fkv_arch_granite = {.name = "granite",
                                          .weights = weights,
                                          .rope_pairs = true,
                                          .hparams = hparams,
                                          .attn_in = attn_in,
                                          .attn_out_ffn = fkv_output_and_mlp};
