/* plain_model.h: a model and the halves of a layer, in double: of plain_forward.c. */
#ifndef FKV_TESTS_PLAIN_MODEL_H
#define FKV_TESTS_PLAIN_MODEL_H

#include <stdbool.h>
#include <stdlib.h>

#include "gguf/gguf.h"

enum { PLAIN_MOST_LAYERS = 16, PLAIN_MOST_HEADS = 512 };

struct plain_layer {
    int n_head, n_kv, d, n_rot, window; /* window: 0 for a layer that sees all */
    double base, scale;                 /* of the angles; of the logits */
    double sink[PLAIN_MOST_HEADS];      /* a logit of every query head, -infinity: none */
};

struct plain_model {
    const struct fkv_gguf *g;
    char arch[16];
    int n_layer, d_model, most_kv, most_d;
    double eps, stretch, magnitude; /* stretch: of positions; magnitude: of the rotated */
    bool yarn;
    double beta_fast, beta_slow;
    double ctx, original_ctx; /* of training, and before it was stretched */
    struct plain_layer layer[PLAIN_MOST_LAYERS];
};

static inline double *doubles(size_t n) { return calloc(n, sizeof(double)); }

struct plain_model plain_read(const struct fkv_gguf *g);
/* y[n][rows] = x[n][cols] W^T + bias. layer -1: not of a layer. */
void plain_multiply(const struct plain_model *m, int layer, const char *name, const char *bias_name, const double *x,
                    int n, int rows, int cols, double *y);
/* Rows of d values each, normalised; as they are without such a tensor. */
void plain_norm(const struct plain_model *m, int layer, const char *name, const double *x, int n, int d, double *y);
void plain_embed(const struct plain_model *m, const int32_t *ids, int n, double *x);
/* From x to q, k, v, rotated. */
void plain_first_half(const struct plain_model *m, int layer, const double *x, int n, const int32_t *pos, double *q,
                      double *k, double *v);
/* x += attention output projected; then the MLP, or the experts. */
void plain_second_half(const struct plain_model *m, int layer, double *x, int n, const double *att);

#endif
