/* plain_forward.h: a forward pass in the plainest way, in double, with FastKV in the paper's order: every layer attends
   with all its rows, and rows and entries are dropped afterwards. None of the engine's savings, none of its code but
   the file reader and the dequantisers. Layers are as the file's arrays have them, local ones too, whatever the
   architecture. */
#ifndef FKV_TESTS_PLAIN_FORWARD_H
#define FKV_TESTS_PLAIN_FORWARD_H

#include "gguf/gguf.h"

struct plain_policy {
    int tsp_layer, window, kernel, sinks;
    double tsp_rate, kv_rate; /* 1 and 1: full attention */
};

struct plain_result {
    double *logits;   /* [n_vocab] of the last id */
    int n_propagated; /* rows past the TSP layer */
    int32_t *propagated;
    int32_t *kept; /* [n_layer][n_kv_head][n]: the first n_kept[layer] of each */
    int *n_kept;   /* [n_layer] */
    int n_kv_head; /* the most of any layer */
    int n;
};

/* Prefills ids[0 .. n), then decodes ids[n .. n + n_more) one by one over what was kept. */
struct plain_result *plain_forward(const struct fkv_gguf *g, const int32_t *ids, int n, int n_more,
                                   const struct plain_policy *policy);
void plain_free(struct plain_result *r);

#endif
