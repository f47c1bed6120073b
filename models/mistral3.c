/* mistral3: Ministral 3, and Mistral Small from 3.1 on. As llama; at positions past the length of its training before
   YaRN, queries are scaled: by 1 + scale ln(1 + floor(position / length)). A rotary table of their own has that. */
#include "model/model.h"

static const struct fkv_weight_name weights[] = {FKV_DECODER_WEIGHTS, {0}};

/* The tables of queries. */
static fkv_status scale_queries(struct fkv_hparams *h, float scale, int length, struct fkv_error *e)
{
    for (int i = 0; i < h->n_layer; i++) {
        struct fkv_rope_params queries = h->ropes[h->layer[i].rope];
        if (queries.n_rot != queries.d_head)
            return fkv_fail(e, FKV_ERROR_UNSUPPORTED,
                            "mistral3.rope.dimension_count: expected %d, a head's whole, beside "
                            "mistral3.attention.temperature_scale, found %d",
                            queries.d_head, queries.n_rot);
        queries.growth = scale;
        queries.growth_step = length;
        h->layer[i].rope_q = fkv_hparams_rope(h, &queries);
    }
    return FKV_OK;
}

static fkv_status hparams(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e)
{
    uint32_t length = (uint32_t)h->n_ctx_train;
    float scale = 0;
    fkv_status status = fkv_gguf_f32(g, "mistral3.attention.temperature_scale", &scale, e);
    if (status == FKV_OK) status = fkv_gguf_u32(g, "mistral3.rope.scaling.original_context_length", &length, e);
    if (status != FKV_OK || scale == 0) return status;
    if (length < 1 || length > FKV_CONTEXT_MAX)
        return fkv_fail(e, FKV_ERROR_FORMAT,
                        "mistral3.rope.scaling.original_context_length: expected 1 to %d, found %u", FKV_CONTEXT_MAX,
                        length);
    if (!(scale > 0 && scale < 1e6f))
        return fkv_fail(e, FKV_ERROR_FORMAT, "mistral3.attention.temperature_scale: expected 0 or more, found %g",
                        (double)scale);
    return scale_queries(h, scale, (int)length, e);
}

static void attn_in(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    fkv_project_qkv(b, w, want);
    fkv_rotate(b, want);
}

const struct fkv_arch fkv_arch_mistral3 = {.name = "mistral3",
                                           .weights = weights,
                                           .rope_pairs = true,
                                           .hparams = hparams,
                                           .attn_in = attn_in,
                                           .attn_out_ffn = fkv_output_and_mlp};
