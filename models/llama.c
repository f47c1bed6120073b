/* llama: Llama 1 to 3, Mistral, SmolLM (arXiv 2302.13971). Pre-norm decoder, rotary embedding of neighbouring channels,
   SwiGLU; Llama 3.1 and later divide the rotary frequencies by rope_freqs. Some descendants have biases. */
#include "model/model.h"

static const struct fkv_weight_name weights[] = {
    FKV_DECODER_WEIGHTS,
    FKV_LAYER_VECTOR("attn_q.bias", q_bias, FKV_DIM_Q, true),
    FKV_LAYER_VECTOR("attn_k.bias", k_bias, FKV_DIM_KV, true),
    FKV_LAYER_VECTOR("attn_v.bias", v_bias, FKV_DIM_KV, true),
    {0},
};

static fkv_status hparams(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e)
{
    uint32_t experts = 0;
    const fkv_status status = fkv_gguf_u32(g, "llama.expert_count", &experts, e);
    if (status != FKV_OK) return status;
    if (experts > 0)
        return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "llama.expert_count: expected 0 (no mixture of experts), found %u",
                        experts);
    h->rope_pairs = true;
    return FKV_OK;
}

static void attn_in(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    fkv_project_qkv(b, w, want);
    fkv_rotate(b, want);
}

const struct fkv_arch fkv_arch_llama = {"llama", weights, hparams, attn_in, fkv_output_and_mlp};
