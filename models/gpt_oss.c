/* gpt-oss: gpt-oss-20b and -120b (arXiv 2508.10925). Every second layer attends to a window; every query head has a
   sink, a logit without a value; experts have biases and a clamped activation, and their router has one. YaRN's bounds
   are not rounded. The norm before the experts is called post_attention_norm. */
#include "model/model.h"

static const struct fkv_weight_name weights[] = {
    FKV_DECODER_ENDS,
    FKV_DECODER_ATTENTION,
    FKV_DECODER_EXPERTS,
    FKV_LAYER_ROW("attn_sinks.weight", attn_sinks, FKV_VECTOR(FKV_DIM_HEADS)),
    FKV_LAYER_ROW("post_attention_norm.weight", ffn_norm, FKV_VECTOR(FKV_DIM_MODEL)),
    FKV_LAYER_ROW("ffn_gate_inp.bias", ffn_router_bias, FKV_VECTOR(FKV_DIM_EXPERTS)),
    FKV_LAYER_ROW("ffn_gate_exps.bias", ffn_gate_bias, FKV_EXPERT_BIASES(FKV_DIM_FF_EXPERT)),
    FKV_LAYER_ROW("ffn_up_exps.bias", ffn_up_bias, FKV_EXPERT_BIASES(FKV_DIM_FF_EXPERT)),
    FKV_LAYER_ROW("ffn_down_exps.bias", ffn_down_bias, FKV_EXPERT_BIASES(FKV_DIM_MODEL)),
    {0},
};

static const struct fkv_experts experts = {.always = true, .norm = true};
static const struct fkv_local_layers local = {.period = 2};

static fkv_status hparams(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e)
{
    (void)g, (void)e;
    h->activation = FKV_SILU_CLAMPED;
    return FKV_OK;
}

static void attn_in(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    fkv_project_qkv(b, w, want);
    fkv_rotate(b, want);
}

const struct fkv_arch fkv_arch_gpt_oss = {.name = "gpt-oss",
                                          .weights = weights,
                                          .yarn_unrounded = true,
                                          .local = &local,
                                          .experts = &experts,
                                          .hparams = hparams,
                                          .attn_in = attn_in,
                                          .attn_out_ffn = fkv_output_and_mlp};
