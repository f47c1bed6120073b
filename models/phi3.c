/* phi3: Phi-3, Phi-3.5, Phi-4 (arXiv 2404.14219). As qwen2 without biases; files hold q, k and v in one tensor, gate
   and up in another. Long-context models have two sets of rotary angles; the first models attend to a window in all
   layers. */
#include "model/model.h"

static const struct fkv_weight_name weights[] = {FKV_DECODER_WEIGHTS, {0}};

/* Most files name a window of the context's length or more, which is none. */
static const struct fkv_local_layers local = {.in_context = true};

static void attn_in(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    fkv_project_qkv(b, w, want);
    fkv_rotate(b, want);
}

const struct fkv_arch fkv_arch_phi3 = {.name = "phi3",
                                       .weights = weights,
                                       .local = &local,
                                       .attn_in = attn_in,
                                       .attn_out_ffn = fkv_output_and_mlp};
