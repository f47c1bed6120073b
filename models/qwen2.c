/* qwen2: Qwen2 and Qwen2.5 (arXiv 2407.10671); qwen2vl: the text of their models that see (arXiv 2502.13923). As
   llama, with biases on q, k and v, and rotary embedding of the two halves of a head. */
#include "model/model.h"

static const struct fkv_weight_name weights[] = {FKV_DECODER_WEIGHTS, {0}};

static void attn_in(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    fkv_project_qkv(b, w, want);
    fkv_rotate(b, want);
}

const struct fkv_arch fkv_arch_qwen2 = {.name = "qwen2",
                                        .weights = weights,
                                        .attn_in = attn_in,
                                        .attn_out_ffn = fkv_output_and_mlp};

extern const struct fkv_arch fkv_arch_qwen2vl;

static fkv_status check_sections(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e)
{
    return fkv_hparams_check_sections(h, &fkv_arch_qwen2vl, g, e);
}

const struct fkv_arch fkv_arch_qwen2vl = {.name = "qwen2vl",
                                          .weights = weights,
                                          .hparams = check_sections,
                                          .attn_in = attn_in,
                                          .attn_out_ffn = fkv_output_and_mlp};
