/* qwen2: Qwen2 and Qwen2.5 (arXiv 2407.10671). As llama, with biases on q, k and v, and rotary embedding of the two
   halves of a head. */
#include "model/model.h"

static const struct fkv_weight_name weights[] = {
    FKV_DECODER_WEIGHTS,
    FKV_LAYER_VECTOR("attn_q.bias", q_bias, FKV_DIM_Q, false),
    FKV_LAYER_VECTOR("attn_k.bias", k_bias, FKV_DIM_KV, false),
    FKV_LAYER_VECTOR("attn_v.bias", v_bias, FKV_DIM_KV, false),
    {0},
};

static fkv_status hparams(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e)
{
    (void)g, (void)e;
    h->rope_pairs = false;
    return FKV_OK;
}

static void attn_in(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    fkv_project_qkv(b, w, want);
    fkv_rotate(b, want);
}

const struct fkv_arch fkv_arch_qwen2 = {"qwen2", weights, hparams, attn_in, fkv_output_and_mlp};
