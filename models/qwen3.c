/* qwen3: Qwen3, dense (arXiv 2505.09388); qwen3vl: the text of Qwen3-VL. As qwen2, but q and k are normalised per
   head in place of having biases. */
#include "model/model.h"

static const struct fkv_weight_name weights[] = {
    FKV_DECODER_WEIGHTS,
    FKV_LAYER_ROW("attn_q_norm.weight", q_norm, FKV_VECTOR(FKV_DIM_HEAD)),
    FKV_LAYER_ROW("attn_k_norm.weight", k_norm, FKV_VECTOR(FKV_DIM_HEAD)),
    {0},
};

static void attn_in(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    fkv_project_qkv(b, w, want);
    fkv_norm_heads(b, w, want);
    fkv_rotate(b, want);
}

const struct fkv_arch fkv_arch_qwen3 = {.name = "qwen3",
                                        .weights = weights,
                                        .attn_in = attn_in,
                                        .attn_out_ffn = fkv_output_and_mlp};

extern const struct fkv_arch fkv_arch_qwen3vl;

static fkv_status check_sections(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e)
{
    return fkv_hparams_check_sections(h, &fkv_arch_qwen3vl, g, e);
}

const struct fkv_arch fkv_arch_qwen3vl = {.name = "qwen3vl",
                                          .weights = weights,
                                          .hparams = check_sections,
                                          .attn_in = attn_in,
                                          .attn_out_ffn = fkv_output_and_mlp};
