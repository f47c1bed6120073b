#include "model/layer.h"

#include <math.h>
#include <string.h>

struct fkv_block fkv_layer_block(const struct fkv_layer_pass *p, int thread)
{
    const struct fkv_block_buffers *b = &p->at->block;
    const struct fkv_hparams *h = &p->ws->model->h;
    const struct fkv_layer_hparams *l = &h->layer[p->layer];
    return (struct fkv_block){.run = {p->at->b, thread, p->stage_s},
                              .h = h,
                              .layer = l,
                              .rope = &p->at->ropes[l->rope < 0 ? 0 : l->rope],
                              .rope_q = &p->at->ropes[l->rope < 0 ? 0 : l->rope_q],
                              .x = p->x,
                              .rows = &p->rows,
                              .q = b->q,
                              .k = b->k,
                              .v = b->v,
                              .att = b->att,
                              .ff = b->ff,
                              .spare = b->spare};
}

void fkv_through_layer(const struct fkv_layer_pass *p, int thread)
{
    const struct fkv_arch *arch = p->ws->model->arch;
    const struct fkv_layer *w = &p->ws->model->layer[p->layer];
    const struct fkv_ops *ops = p->at->b->ops;
    struct fkv_block b = fkv_layer_block(p, thread);
    arch->attn_in(&b, w, p->want);
    if (p->want & FKV_WANT_KV)
        ops->kv_append(&b.run, p->stores, b.k, b.v, fkv_kv_width(&b), &p->rows);
    else
        fkv_team_barrier(p->at->b->team); /* attention reads what other threads rotated */
    if (!(p->want & FKV_WANT_Q)) return;
    const struct fkv_attention how = fkv_layer_attention(b.layer, w);
    ops->attend(&b.run, p->stores, &how, b.q, fkv_q_width(&b), &p->rows, b.att);
    arch->attn_out_ffn(&b, w);
}

void fkv_head(struct fkv_run *r, const struct fkv_model *m, const struct fkv_place *at, struct fkv_tensor x, int n)
{
    const struct fkv_input last = {x, (size_t)m->h.d_model, n, m->output_norm, m->h.norm_eps, true};
    const struct fkv_output out = {&m->output, m->output_bias, at->logits, (size_t)m->h.n_vocab, false, false};
    r->b->ops->product(r, &last, &out, 1);
}

static bool all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

fkv_status fkv_take_logits(const struct fkv_workspace *ws, const struct fkv_place *at, int n, float *const *logits,
                           bool *broken)
{
    const size_t n_vocab = (size_t)ws->model->h.n_vocab;
    const float *from = at->b->ops->read(at->b, at->logits, (size_t)n * n_vocab, ws->copy);
    const fkv_status status = at->b->ops->wait(at->b);
    if (status != FKV_OK) return status;
    bool any = false;
    for (int i = 0; i < n; i++) any |= broken[i] = !all_finite(from + (size_t)i * n_vocab, n_vocab);
    if (any) return FKV_ERROR_NUMBER;
    for (int i = 0; i < n; i++)
        if (logits[i]) memcpy(logits[i], from + (size_t)i * n_vocab, n_vocab * sizeof *from);
    return FKV_OK;
}

fkv_status fkv_hand_over(const struct fkv_workspace *ws, const struct fkv_place *from, struct fkv_tensor x,
                         struct fkv_tensor next, size_t n)
{
    const struct fkv_place *to = from + 1;
    const float *read = from->b->ops->read(from->b, x, n, ws->copy);
    const fkv_status status = from->b->ops->wait(from->b);
    to->b->ops->write(to->b, next, read, n);
    return status;
}

bool fkv_is_last_place(const struct fkv_workspace *ws, const struct fkv_place *at)
{
    return at == &ws->place[ws->n_places - 1];
}
