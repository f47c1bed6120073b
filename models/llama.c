/* llama: Llama 1 to 3, Mistral, SmolLM (arXiv 2302.13971). Pre-norm decoder, rotary embedding of neighbouring channels,
   SwiGLU; Llama 3.1 and later divide the rotary frequencies by rope_freqs. Some descendants have biases. Mixtral (arXiv
   2401.04088) has experts in place of the MLP. */
#include "model/model.h"

static const struct fkv_weight_name weights[] = {FKV_DECODER_WEIGHTS, FKV_DECODER_EXPERTS, {0}};

static const struct fkv_experts experts = {.norm = true};

static void attn_in(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    fkv_project_qkv(b, w, want);
    fkv_rotate(b, want);
}

const struct fkv_arch fkv_arch_llama = {.name = "llama",
                                        .weights = weights,
                                        .rope_pairs = true,
                                        .experts = &experts,
                                        .attn_in = attn_in,
                                        .attn_out_ffn = fkv_output_and_mlp};
