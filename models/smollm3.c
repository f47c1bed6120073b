/* smollm3: SmolLM3. As llama, but in every fourth layer nothing is rotated (NoPE, arXiv 2501.18795). */
#include "model/model.h"

static const struct fkv_weight_name weights[] = {FKV_DECODER_WEIGHTS, {0}};

static fkv_status hparams(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e)
{
    (void)g, (void)e;
    for (int i = 3; i < h->n_layer; i += 4) h->layer[i].rope = h->layer[i].rope_q = -1;
    return FKV_OK;
}

static void attn_in(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    fkv_project_qkv(b, w, want);
    fkv_rotate(b, want);
}

const struct fkv_arch fkv_arch_smollm3 = {.name = "smollm3",
                                          .weights = weights,
                                          .rope_pairs = true,
                                          .hparams = hparams,
                                          .attn_in = attn_in,
                                          .attn_out_ffn = fkv_output_and_mlp};
