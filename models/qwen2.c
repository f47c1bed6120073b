/* qwen2: Qwen2 and Qwen2.5 (arXiv 2407.10671). As llama, with biases on q, k and v, and rotary embedding of the two
   halves of a head. */
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
