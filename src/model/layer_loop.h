/* layer_loop.h: a prompt or a token through all layers. The only place where the batch shrinks.

   Prefill is layer-major: a layer finishes for all rows, block by block, keeps what the policy says, and its full K and
   V are overwritten by the next layer's. So the peak of KV memory is one layer's full K and V beside what is kept. Two
   exact savings: the TSP layer chooses before it attends (queries, attention, projection and MLP only for the rows that
   go on), and the last layer does so for its last row. */
#ifndef FKV_MODEL_LAYER_LOOP_H
#define FKV_MODEL_LAYER_LOOP_H

#include <stdatomic.h>

#include "kv/kv_cache.h"
#include "model/model.h"
#include "retain/policy.h"

/* Activations of one block of rows: they live within a region, so sessions that take turns share them. */
struct fkv_block_buffers {
    struct fkv_backend *b;
    float *q, *k, *v, *att, *ff;
    float *memory;
    size_t n; /* floats */
};

fkv_status fkv_block_buffers_create(struct fkv_block_buffers *b, struct fkv_backend *backend,
                                    const struct fkv_hparams *h);
void fkv_block_buffers_destroy(struct fkv_block_buffers *b);
uint64_t fkv_block_buffers_bytes(const struct fkv_backend *backend, const struct fkv_hparams *h);

/* A run of layers on one back end, and the activations that live there. The first place has the embedding table, the
   last the output head. */
struct fkv_place {
    struct fkv_backend *b;
    const struct fkv_block_buffers *block;
    int end;              /* its layers end before this one */
    struct fkv_rope rope; /* table of n_ctx positions; rows up to the last position are filled */
    float *x;             /* [n_ctx][d_model] the residual stream */
    float *q_window;      /* [FKV_MAX_WINDOW][n_head d_head] */
    float *scores;        /* [n_kv_head][n_ctx] */
    float *made_logits;   /* [n_vocab] */
};
enum { FKV_MAX_PLACES = 2 }; /* a GPU, and the CPU for the layers it has no room for */

/* What a forward pass works on. Arrays are sized for the session's context, n_ctx. */
struct fkv_forward {
    const struct fkv_model *model;
    struct fkv_place place[FKV_MAX_PLACES],
        *at; /* in the order of their layers; where the pass is. Of several, the last is the CPU */
    int n_places;
    struct fkv_kv_cache *cache;
    const struct fkv_policy *policy;
    const struct fkv_kv_params *kv;
    int k_type, v_type; /* of the layer being prefilled: enum fkv_kv_elem */

    int32_t *pos, *seen;           /* [n_ctx] positions of the rows alive; 1, 2, 3, ... */
    int32_t *kept;                 /* [n_layer][n_kv_head][n_ctx] rows a layer keeps, n_kv_head lists side by side */
    int32_t *chosen, *chosen_seen; /* [n_ctx] rows that go on, and how many rows each sees */
    float *logits_copy;            /* [n_vocab] of the host, for a back end whose memory it cannot read */
    const float *logits;           /* [n_vocab] one of these: for the host */

    /* What the last prefill did. */
    int32_t *propagated;         /* [n_ctx] positions that went past layer tsp_layer */
    int n_propagated, tsp_layer; /* -1 when all went on */
    bool pruned;                 /* something was dropped or not propagated */
    uint64_t kv_peak_bytes;
    double stage_s[FKV_N_STAGES]; /* wall time of thread 0 by stage, since the owner set it to zero */

    fkv_progress progress;
    void *progress_user;
    atomic_bool *cancel;
};

/* Prefills n >= 1 ids at positions first .. first + n - 1 under the policy; logits of the last. FKV_ERROR_CANCELLED,
   _MEMORY or _NUMBER leave entries of this turn in the cache: the caller cuts them. */
fkv_status fkv_prefill(struct fkv_forward *f, const int32_t *ids, int n, int first);
/* One token at position pos, appended in every head. Allocates nothing. */
fkv_status fkv_decode(struct fkv_forward *f, int32_t id, int pos);

#endif
