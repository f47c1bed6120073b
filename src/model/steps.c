/* Steps of a layer that architectures share. */
#include "model/model.h"

/* Rows of a buffer, normalised on the way if there is a norm. */
static struct fkv_input input(const struct fkv_block *b, struct fkv_tensor x, size_t ld, struct fkv_tensor norm)
{
    return (struct fkv_input){x, ld, b->rows->n, norm, b->h->norm_eps, b->rows->alone};
}

static struct fkv_input normed(const struct fkv_block *b, struct fkv_tensor norm)
{
    return input(b, b->x, (size_t)b->h->d_model, norm);
}

struct fkv_attention fkv_layer_attention(const struct fkv_layer_hparams *l, const struct fkv_layer *w)
{
    return (struct fkv_attention){.n_head = l->n_head,
                                  .scale = l->scale,
                                  .value_gram = w->value_gram,
                                  .window = l->window,
                                  .sinks = w->attn_sinks};
}

/* K and V are precise. With activations in 8 bits they are off by 2 %, other products by 0.1 to 0.9 % (SmolLM2): large
   channels of x hardly show in them, but set the scale of their block. Keys carry FastKV's scores; and with grouped
   heads these products are the cheap ones. */
void fkv_project_qkv(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    const struct fkv_input x = normed(b, w->attn_norm);
    struct fkv_output out[3];
    int n = 0;
    if (want & FKV_WANT_Q) out[n++] = (struct fkv_output){&w->attn_q, w->q_bias, b->q, fkv_q_width(b), false, false};
    if (want & FKV_WANT_KV) {
        out[n++] = (struct fkv_output){&w->attn_k, w->k_bias, b->k, fkv_kv_width(b), false, true};
        out[n++] = (struct fkv_output){&w->attn_v, w->v_bias, b->v, fkv_kv_width(b), false, true};
    }
    b->run.b->ops->product(&b->run, &x, out, n);
}

void fkv_norm_heads(struct fkv_block *b, const struct fkv_layer *w, unsigned want)
{
    const struct fkv_layer_hparams *l = b->layer;
    const struct fkv_ops *ops = b->run.b->ops;
    if (want & FKV_WANT_Q)
        ops->head_norm(&b->run, b->q, fkv_q_width(b), b->rows->n, l->n_head, l->d_head, w->q_norm, b->h->norm_eps);
    if (want & FKV_WANT_KV)
        ops->head_norm(&b->run, b->k, fkv_kv_width(b), b->rows->n, l->n_kv_head, l->d_head, w->k_norm, b->h->norm_eps);
}

void fkv_rotate(struct fkv_block *b, unsigned want)
{
    const struct fkv_layer_hparams *l = b->layer;
    const struct fkv_ops *ops = b->run.b->ops;
    const int32_t *at = b->rows->turn ? b->rows->turn : b->rows->pos;
    if (l->rope < 0) return;
    if (want & FKV_WANT_Q) ops->rope(&b->run, b->rope_q, b->q, fkv_q_width(b), b->rows->n, l->n_head, at);
    if (want & FKV_WANT_KV) ops->rope(&b->run, b->rope, b->k, fkv_kv_width(b), b->rows->n, l->n_kv_head, at);
}

static void experts(struct fkv_block *b, const struct fkv_layer *w, const struct fkv_input *x)
{
    const struct fkv_hparams *h = b->h;
    const struct fkv_mixture mixture = {.router = &w->ffn_router,
                                        .gate = &w->ffn_gate,
                                        .up = &w->ffn_up,
                                        .down = &w->ffn_down,
                                        .router_bias = w->ffn_router_bias,
                                        .gate_bias = w->ffn_gate_bias,
                                        .up_bias = w->ffn_up_bias,
                                        .down_bias = w->ffn_down_bias,
                                        .activation = h->activation,
                                        .used = h->n_expert_used,
                                        .norm = h->expert_norm,
                                        .scale = h->expert_scale,
                                        .rows = b->spare,
                                        .ff = b->ff};
    b->run.b->ops->mixture(&b->run, x, &mixture, b->x, (size_t)h->d_model);
}

/* x += in W^T + bias, normalised before if there is a norm. */
static void add_output(struct fkv_block *b, const struct fkv_input *in, const struct fkv_weight *w,
                       struct fkv_tensor bias, struct fkv_tensor norm)
{
    const struct fkv_ops *ops = b->run.b->ops;
    const bool normed = fkv_tensor_is(norm);
    const int d_model = b->h->d_model;
    const struct fkv_output out = {w, bias, normed ? b->spare : b->x, (size_t)d_model, !normed, false};
    ops->product(&b->run, in, &out, 1);
    if (normed) ops->add_normed(&b->run, b->spare, in->n, d_model, norm, b->h->norm_eps, b->x);
}

void fkv_output_and_mlp(struct fkv_block *b, const struct fkv_layer *w)
{
    const size_t d_ff = (size_t)b->layer->d_ff;
    const struct fkv_tensor none = {0};
    const struct fkv_input att = input(b, b->att, fkv_q_width(b), none);
    add_output(b, &att, &w->attn_output, w->attn_output_bias, w->post_attn_norm);
    const struct fkv_input x = normed(b, w->ffn_norm);
    if (w->ffn_router.data) {
        experts(b, w, &x);
        return;
    }
    const struct fkv_gate gate = {&w->ffn_gate, &w->ffn_up, w->ffn_gate_bias, w->ffn_up_bias, b->h->activation};
    b->run.b->ops->gated(&b->run, &x, &gate, b->ff, d_ff);
    const struct fkv_input ff = input(b, b->ff, d_ff, none);
    add_output(b, &ff, &w->ffn_down, w->ffn_down_bias, w->post_ffn_norm);
}
