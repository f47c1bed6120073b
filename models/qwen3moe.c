/* qwen3moe: Qwen3 with experts, as Qwen3-30B-A3B and Qwen3-Coder (arXiv 2505.09388); qwen3vlmoe: the text of
   Qwen3-VL with experts. As qwen3, but in place of its MLP every row takes the experts that a router chooses for it;
   the weights of those add up to 1. */
#include "model/model.h"

static const struct fkv_weight_name weights[] = {
    FKV_DECODER_WEIGHTS,
    FKV_DECODER_EXPERTS,
    FKV_LAYER_ROW("attn_q_norm.weight", q_norm, FKV_VECTOR(FKV_DIM_HEAD)),
    FKV_LAYER_ROW("attn_k_norm.weight", k_norm, FKV_VECTOR(FKV_DIM_HEAD)),
    {0},
};

static const struct fkv_experts experts = {.always = true, .share_d_ff = true, .norm = true};

static void attn_in(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    fkv_project_qkv(b, w, want);
    fkv_norm_heads(b, w, want);
    fkv_rotate(b, want);
}

const struct fkv_arch fkv_arch_qwen3moe = {.name = "qwen3moe",
                                           .weights = weights,
                                           .experts = &experts,
                                           .attn_in = attn_in,
                                           .attn_out_ffn = fkv_output_and_mlp};

extern const struct fkv_arch fkv_arch_qwen3vlmoe;

static fkv_status check_sections(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e)
{
    return fkv_hparams_check_sections(h, &fkv_arch_qwen3vlmoe, g, e);
}

const struct fkv_arch fkv_arch_qwen3vlmoe = {.name = "qwen3vlmoe",
                                             .weights = weights,
                                             .experts = &experts,
                                             .hparams = check_sections,
                                             .attn_in = attn_in,
                                             .attn_out_ffn = fkv_output_and_mlp};
