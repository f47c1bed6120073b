/* layer.h: one layer, and what stands between layers on different devices: what prefill and decoding share. */
#ifndef FKV_MODEL_LAYER_H
#define FKV_MODEL_LAYER_H

#include "model/layer_loop.h"

/* Rows on their way through one layer. */
struct fkv_layer_pass {
    const struct fkv_workspace *ws;
    const struct fkv_place *at;
    int layer;
    struct fkv_kv_store *const *stores; /* of the rows' sequences */
    struct fkv_rows rows;
    struct fkv_tensor x;        /* [rows.n][d_model] */
    struct fkv_tensor q_window; /* where the queries of a window go */
    unsigned want;              /* what the layer computes of q, and of k and v; without q it ends there */
    double *stage_s;
};

/* What an architecture's halves of the layer get; in a region. */
struct fkv_block fkv_layer_block(const struct fkv_layer_pass *p, int thread);
/* The layer for prefill and decoding alike; in a region. */
void fkv_through_layer(const struct fkv_layer_pass *p, int thread);
/* logits of n rows from x on. */
void fkv_head(struct fkv_run *r, const struct fkv_model *m, const struct fkv_place *at, struct fkv_tensor x, int n);
/* The logits of n rows to where they are wanted; broken: [n] the rows that have none, if the status says so. */
fkv_status fkv_take_logits(const struct fkv_workspace *ws, const struct fkv_place *at, int n, float *const *logits,
                           bool *broken);

/* n floats of the residual stream go on to the next place, whose memory, if there is a next one, is the host's. */
fkv_status fkv_hand_over(const struct fkv_workspace *ws, const struct fkv_place *from, struct fkv_tensor x,
                         struct fkv_tensor next, size_t n);
bool fkv_is_last_place(const struct fkv_workspace *ws, const struct fkv_place *at);

#endif
