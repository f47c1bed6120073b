/* model.h: a model's shape and weights, and the interface of an architecture.

   An architecture is one file, models/<name>.c, and one row of models/models.def: how to read its hyper-parameters,
   which weights it has, and the two halves of a layer around attention. */
#ifndef FKV_MODEL_MODEL_H
#define FKV_MODEL_MODEL_H

#include "backend/backend.h"
#include "base/warnings.h"
#include "gguf/gguf.h"

struct fkv_hparams {
    int n_layer, n_head, n_kv_head, d_head, d_model, d_ff, n_vocab, n_ctx_train;
    int n_rot;                   /* channels of a head that rotate */
    bool rope_pairs;             /* which channels pair up: see struct fkv_rope */
    float rope_base, rope_scale; /* angle = position / rope_scale * rope_base^(-2i / n_rot) */
    float norm_eps;
};

struct fkv_layer {
    const float *attn_norm, *ffn_norm;        /* [d_model] */
    struct fkv_weight attn_q, attn_k, attn_v; /* [n_head d_head][d_model], [n_kv_head d_head][d_model] twice */
    const float *q_bias, *k_bias, *v_bias;    /* or NULL */
    const float *q_norm, *k_norm;             /* [d_head], or NULL */
    struct fkv_weight attn_output;            /* [d_model][n_head d_head] */
    struct fkv_weight ffn_gate, ffn_up;       /* [d_ff][d_model] */
    struct fkv_weight ffn_down;               /* [d_model][d_ff] */
};

struct fkv_model {
    struct fkv_hparams h;
    const struct fkv_arch *arch;
    struct fkv_weight token_embd, output; /* [n_vocab][d_model]; output is token_embd where the file has none */
    const float *output_norm;             /* [d_model] */
    const float *rope_freqs;              /* [n_rot / 2] divisors of the frequencies (Llama 3.1 and later), or NULL */
    struct fkv_layer *layer;              /* [n_layer] */
    float *vectors;                       /* norms and biases as floats: the model owns them */
};

/* What a weight's dimension is. */
enum fkv_dim {
    FKV_DIM_ONE,
    FKV_DIM_MODEL,
    FKV_DIM_Q,
    FKV_DIM_KV,
    FKV_DIM_HEAD,
    FKV_DIM_FF,
    FKV_DIM_VOCAB,
    FKV_DIM_ROT_HALF
};

/* One weight of an architecture. */
struct fkv_weight_name {
    const char *name;        /* of the tensor; with %d, one per layer */
    size_t offset;           /* in struct fkv_layer for those, in struct fkv_model for the others */
    enum fkv_dim rows, cols; /* rows ONE: a vector, held as const float *; else a struct fkv_weight */
    bool optional;
};

/* One thread's view of a block of rows on its way through a layer. */
struct fkv_block {
    struct fkv_run run;
    const struct fkv_hparams *h;
    const struct fkv_rope *rope;
    float *x;           /* [n][d_model] the residual stream */
    const int32_t *pos; /* [n] */
    int n;
    float *q, *k, *v; /* [n][n_head d_head], [n][n_kv_head d_head] twice */
    float *att, *ff;  /* [n][n_head d_head], [n][d_ff] */
};

enum { FKV_WANT_Q = 1, FKV_WANT_KV = 2 };

struct fkv_arch {
    const char *name;                      /* general.architecture */
    const struct fkv_weight_name *weights; /* ends with a NULL name */
    /* Adjusts what fkv_model_load() has read from the keys all architectures share, and refuses what it cannot run. */
    fkv_status (*hparams)(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e);
    /* The two halves of a layer. Attention, scoring, retention and the choice of the rows that go on stand between
       them, in the layer loop. In a region. attn_in: from x what is wanted of q and of k, v, rotated. attn_out_ffn:
       from att and x the new x. */
    void (*attn_in)(struct fkv_block *b, const struct fkv_layer *w, unsigned want);
    void (*attn_out_ffn)(struct fkv_block *b, const struct fkv_layer *w);
};

/* Finds the architecture, reads and checks hyper-parameters and every tensor's shape. Weights stay in the gguf, which
   must outlive the model. What the file lacks and can be assumed becomes a warning. Messages:
   "blk.3.attn_q.weight: expected [4096 x 4096], file has [4096 x 1024]". */
fkv_status fkv_model_load(struct fkv_model **model, const struct fkv_gguf *g, struct fkv_warnings *warnings,
                          struct fkv_error *e);
/* Brings the weights of the first n layers to where the back end computes: the embedding table with them and, if these
   are all layers, the output head. After a failure the model can only be freed. */
fkv_status fkv_model_place(struct fkv_model *model, struct fkv_backend *b, int n_layers, struct fkv_error *e);
/* Bytes of the matrices that it would bring, there. */
uint64_t fkv_model_place_bytes(const struct fkv_model *model, const struct fkv_backend *b, int n_layers);
void fkv_model_free(struct fkv_model *model);
/* Longest input row of any product of the model. */
int fkv_model_max_cols(const struct fkv_hparams *h);

/* ---- steps that architectures share ---------------------------------------------------------- */

/* Norm, then the products that are wanted, with the layer's biases where it has them. */
void fkv_project_qkv(struct fkv_block *b, const struct fkv_layer *w, unsigned want);
/* RMS norm of every head of q and k. */
void fkv_norm_heads(struct fkv_block *b, const struct fkv_layer *w, unsigned want);
void fkv_rotate(struct fkv_block *b, unsigned want);
/* x += att W_o; then x += (silu(x' W_gate) * x' W_up) W_down with x' = norm(x). */
void fkv_output_and_mlp(struct fkv_block *b, const struct fkv_layer *w);

/* Rows of a weight table that all architectures here have. */
#define FKV_LAYER_MATRIX(tensor, member, rows, cols)                                      \
    {                                                                                     \
        "blk.%d." tensor ".weight", offsetof(struct fkv_layer, member), rows, cols, false \
    }
#define FKV_LAYER_VECTOR(tensor, member, cols, optional)                                  \
    {                                                                                     \
        "blk.%d." tensor, offsetof(struct fkv_layer, member), FKV_DIM_ONE, cols, optional \
    }
#define FKV_DECODER_WEIGHTS                                                                                 \
    {"token_embd.weight", offsetof(struct fkv_model, token_embd), FKV_DIM_VOCAB, FKV_DIM_MODEL, false},     \
        {"output_norm.weight", offsetof(struct fkv_model, output_norm), FKV_DIM_ONE, FKV_DIM_MODEL, false}, \
        {"output.weight", offsetof(struct fkv_model, output), FKV_DIM_VOCAB, FKV_DIM_MODEL, true},          \
        {"rope_freqs.weight", offsetof(struct fkv_model, rope_freqs), FKV_DIM_ONE, FKV_DIM_ROT_HALF, true}, \
        FKV_LAYER_VECTOR("attn_norm.weight", attn_norm, FKV_DIM_MODEL, false),                              \
        FKV_LAYER_MATRIX("attn_q", attn_q, FKV_DIM_Q, FKV_DIM_MODEL),                                       \
        FKV_LAYER_MATRIX("attn_k", attn_k, FKV_DIM_KV, FKV_DIM_MODEL),                                      \
        FKV_LAYER_MATRIX("attn_v", attn_v, FKV_DIM_KV, FKV_DIM_MODEL),                                      \
        FKV_LAYER_MATRIX("attn_output", attn_output, FKV_DIM_MODEL, FKV_DIM_Q),                             \
        FKV_LAYER_VECTOR("ffn_norm.weight", ffn_norm, FKV_DIM_MODEL, false),                                \
        FKV_LAYER_MATRIX("ffn_gate", ffn_gate, FKV_DIM_FF, FKV_DIM_MODEL),                                  \
        FKV_LAYER_MATRIX("ffn_up", ffn_up, FKV_DIM_FF, FKV_DIM_MODEL),                                      \
        FKV_LAYER_MATRIX("ffn_down", ffn_down, FKV_DIM_MODEL, FKV_DIM_FF)

#endif
