/* model.h: a model's shape and weights, and the interface of an architecture.

   An architecture is one file, models/<name>.c, and one row of models/models.def: how to read its hyper-parameters,
   which weights it has, and the two halves of a layer around attention. */
#ifndef FKV_MODEL_MODEL_H
#define FKV_MODEL_MODEL_H

#include "backend/backend.h"
#include "model/hparams.h"

struct fkv_layer {
    struct fkv_tensor attn_norm, ffn_norm;           /* [d_model] */
    struct fkv_tensor post_attn_norm, post_ffn_norm; /* [d_model], or none: see fkv_output_and_mlp() */
    struct fkv_weight attn_q, attn_k, attn_v;        /* [n_head d_head][d_model], [n_kv_head d_head][d_model] twice */
    struct fkv_tensor q_bias, k_bias, v_bias;        /* or none, as all biases */
    struct fkv_tensor q_norm, k_norm;                /* [d_head], or none */
    struct fkv_tensor attn_sinks;                    /* [n_head] logits, or none: see struct fkv_attention */
    struct fkv_tensor value_gram;                    /* see there and fkv_model_make_grams() */
    struct fkv_weight attn_output;                   /* [d_model][n_head d_head] */
    struct fkv_weight ffn_gate, ffn_up;              /* [d_ff][d_model]; of every expert [d_ff_expert][d_model] */
    struct fkv_weight ffn_down;                      /* [d_model][d_ff], [d_model][d_ff_expert] */
    struct fkv_weight ffn_router;                    /* [n_expert][d_model], or none: the layer is dense */
    struct fkv_tensor attn_output_bias, ffn_router_bias;
    struct fkv_tensor ffn_gate_bias, ffn_up_bias, ffn_down_bias; /* of experts: [n_expert][of one] */
};

struct fkv_model {
    struct fkv_hparams h;
    const struct fkv_arch *arch;
    struct fkv_weight token_embd, output; /* [n_vocab][d_model]; output is token_embd where the file has none */
    struct fkv_tensor output_norm;        /* [d_model] */
    struct fkv_tensor output_bias;        /* [n_vocab], or none */
    const float *rope_freqs, *rope_short, *rope_long; /* [n_rot / 2] divisors: see enum fkv_rope_divisors; or NULL */
    struct fkv_layer *layer;                          /* [n_layer] */
    float *vectors; /* norms and biases as floats: the model owns them, and they are what its tensors stand for until a
                       back end has loaded them */
    float *grams;   /* of all layers' value_gram, or NULL */
};

/* ---- tables of weights ----------------------------------------------------------------------- */

/* What a weight's dimension is. */
enum fkv_dim {
    FKV_DIM_ONE,
    FKV_DIM_MODEL,
    FKV_DIM_Q,
    FKV_DIM_KV,
    FKV_DIM_HEAD,
    FKV_DIM_HEADS,
    FKV_DIM_FF,
    FKV_DIM_VOCAB,
    FKV_DIM_ROT_HALF,
    FKV_DIM_EXPERTS,
    FKV_DIM_FF_EXPERT
};

/* Where a weight is used. */
enum fkv_where {
    FKV_AT_LAYER, /* one in every layer, of tensors "blk.<layer>.<name>" */
    FKV_AT_INPUT, /* before the first layer */
    FKV_AT_HEAD,  /* after the last */
    FKV_AT_HOST   /* on the host, which makes the rotary tables */
};

enum { FKV_FUSED_PARTS = 3 };

/* A tensor whose rows are those of several weights, one after the other. It serves where the file has none of
   theirs. */
struct fkv_fused {
    const char *name;
    const char *part[FKV_FUSED_PARTS]; /* their own names, in the order of their rows; one may be `name` */
    enum fkv_dim rows[FKV_FUSED_PARTS];
};
extern const struct fkv_fused fkv_fused_qkv, fkv_fused_qkv_bias, fkv_fused_gate_up, fkv_fused_gate_up_exps;

/* One weight of an architecture. */
struct fkv_weight_name {
    const char *name; /* of the tensor */
    enum fkv_where where;
    size_t offset;           /* in struct fkv_layer for those of a layer, in struct fkv_model for the others */
    enum fkv_dim rows, cols; /* rows ONE: a vector, held as a struct fkv_tensor (at the HOST: a const float *);
                                else a struct fkv_weight */
    enum fkv_dim matrices;   /* EXPERTS: so many matrices, or vectors, in one tensor */
    bool optional;
    bool (*in_layer)(const struct fkv_hparams *h, int layer); /* does that layer have it? NULL: all have */
    const struct fkv_fused *fused;                            /* or NULL */
    int part;                                                 /* which of its parts this is */
};

/* One thread's view of a block of rows on its way through a layer. */
struct fkv_block {
    struct fkv_run run;
    const struct fkv_hparams *h;
    const struct fkv_layer_hparams *layer; /* of the layer that runs */
    const struct fkv_rope *rope, *rope_q;  /* its rotary tables */
    const struct fkv_rows *rows;
    struct fkv_tensor x;       /* [n][d_model] the residual stream */
    struct fkv_tensor q, k, v; /* [n][n_head d_head], [n][n_kv_head d_head] twice */
    struct fkv_tensor att, ff; /* [n][n_head d_head], [n][d_ff] */
    struct fkv_tensor spare;   /* [n][d_model] scratch of models that need it: fkv_model_needs_spare() */
};
/* Floats of a row of its q, and of its k or v. */
static inline size_t fkv_q_width(const struct fkv_block *b)
{
    return (size_t)b->layer->n_head * (size_t)b->layer->d_head;
}
static inline size_t fkv_kv_width(const struct fkv_block *b)
{
    return (size_t)b->layer->n_kv_head * (size_t)b->layer->d_head;
}

enum { FKV_WANT_Q = 1, FKV_WANT_KV = 2 };

struct fkv_arch {
    const char *name;                      /* general.architecture */
    const struct fkv_weight_name *weights; /* ends with a NULL name */
    bool rope_pairs;                       /* see struct fkv_rope */
    bool yarn_unrounded;                   /* YaRN's scaled share begins and ends between pairs */
    const struct fkv_local_layers *local;  /* NULL: no layer is local, whatever the file says */
    const struct fkv_experts *experts;     /* NULL: a file with experts is refused */
    /* Adjusts what fkv_hparams_read() has read from the keys all architectures share, and refuses what it cannot run.
       NULL: nothing to do. */
    fkv_status (*hparams)(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e);
    /* The two halves of a layer. Attention, scoring, retention and the choice of the rows that go on stand between
       them, in the layer loop. In a region. attn_in: from x what is wanted of q and of k, v, rotated. attn_out_ffn:
       from att and x the new x. */
    void (*attn_in)(struct fkv_block *b, const struct fkv_layer *w, unsigned want);
    void (*attn_out_ffn)(struct fkv_block *b, const struct fkv_layer *w);
};

/* FKV_ERROR_UNSUPPORTED for a file of another kind than a language model, and for a kind of model that is known and
   not there: the message says what it is. */
fkv_status fkv_model_refuse(const struct fkv_gguf *g, struct fkv_error *e);
/* Is it in models.def? */
bool fkv_model_has_arch(struct fkv_str name);

/* Finds the architecture, reads and checks hyper-parameters and every tensor's shape. A tensor that nothing here uses
   is an error, but for those that are known not to matter; what the file lacks and can be assumed becomes a warning.
   Weights stay in the gguf, which must outlive the model. Messages: "blk.3.attn_q.weight: expected [4096 x 4096], file
   has [4096 x 1024]". */
fkv_status fkv_model_load(struct fkv_model **model, const struct fkv_gguf *g, struct fkv_warnings *warnings,
                          struct fkv_error *e);
/* Brings the weights of the first n layers to where the back end computes: the embedding table with them and, if these
   are all layers, the output head. After a failure the model can only be freed. */
fkv_status fkv_model_place(struct fkv_model *model, struct fkv_backend *b, int n_layers, struct fkv_error *e);
/* Bytes of the matrices that it would bring, there. */
uint64_t fkv_model_place_bytes(const struct fkv_model *model, const struct fkv_backend *b, int n_layers);
void fkv_model_free(struct fkv_model *model);
/* What scores by the norms of values need, in the host's memory; nothing when it is there. No pass runs. */
fkv_status fkv_model_make_grams(struct fkv_model *model, struct fkv_team *team);
/* FKV_ERROR_UNSUPPORTED for layers that the back end cannot compute. */
fkv_status fkv_model_runs_on(const struct fkv_model *model, const struct fkv_backend *b, struct fkv_error *e);
/* Do its layers use the scratch `spare` of a block? */
bool fkv_model_needs_spare(const struct fkv_hparams *h);

/* Part of loading: fills in the weights that the table of model->arch names; h is read. seen[tensors of the file]: set
   for those that serve. */
fkv_status fkv_model_bind(struct fkv_model *model, const struct fkv_gguf *g, bool *seen, struct fkv_error *e);

/* How a layer attends. */
struct fkv_attention fkv_layer_attention(const struct fkv_layer_hparams *l, const struct fkv_layer *w);

/* ---- steps that architectures share ---------------------------------------------------------- */

/* Norm, then the products that are wanted, with the layer's biases where it has them. */
void fkv_project_qkv(struct fkv_block *b, const struct fkv_layer *w, unsigned want);
/* RMS norm of every head of q and k. */
void fkv_norm_heads(struct fkv_block *b, const struct fkv_layer *w, unsigned want);
/* By the layer's table, if it has one. */
void fkv_rotate(struct fkv_block *b, unsigned want);
/* x += att W_o; then x += (silu(x' W_gate) * x' W_up) W_down with x' = norm(x); biases where the layer has them. Or, in
   place of the second, what the experts make of x'. Where the layer has norms for it, what is added is normalised
   before. */
void fkv_output_and_mlp(struct fkv_block *b, const struct fkv_layer *w);

/* Rows of a weight table. */
#define FKV_LAYER_ROW(tensor, member, ...)                                        \
    {                                                                             \
        .name = tensor, .offset = offsetof(struct fkv_layer, member), __VA_ARGS__ \
    }
#define FKV_MODEL_ROW(tensor, place, member, ...)                                                 \
    {                                                                                             \
        .name = tensor, .where = place, .offset = offsetof(struct fkv_model, member), __VA_ARGS__ \
    }
#define FKV_MATRIX(of_rows, of_cols) .rows = of_rows, .cols = of_cols
#define FKV_VECTOR(of_cols) .rows = FKV_DIM_ONE, .cols = of_cols
#define FKV_BIAS(of_cols) FKV_VECTOR(of_cols), .optional = true
#define FKV_PART(tensor, index) .fused = &tensor, .part = index
/* Those that all decoders here have. */
#define FKV_DECODER_WEIGHTS FKV_DECODER_ENDS, FKV_DECODER_ATTENTION, FKV_DECODER_MLP
/* Those of layers with experts, which have none of the MLP. */
bool fkv_layer_is_dense(const struct fkv_hparams *h, int layer);
bool fkv_layer_has_experts(const struct fkv_hparams *h, int layer);
#define FKV_EXPERTS(of_rows, of_cols) \
    FKV_MATRIX(of_rows, of_cols), .matrices = FKV_DIM_EXPERTS, .in_layer = fkv_layer_has_experts
#define FKV_EXPERT_BIASES(of_cols) FKV_VECTOR(of_cols), .matrices = FKV_DIM_EXPERTS, .in_layer = fkv_layer_has_experts
#define FKV_DECODER_EXPERTS                                                                            \
    FKV_LAYER_ROW("ffn_gate_inp.weight", ffn_router, FKV_MATRIX(FKV_DIM_EXPERTS, FKV_DIM_MODEL),       \
                  .in_layer = fkv_layer_has_experts),                                                  \
        FKV_LAYER_ROW("ffn_gate_exps.weight", ffn_gate, FKV_EXPERTS(FKV_DIM_FF_EXPERT, FKV_DIM_MODEL), \
                      FKV_PART(fkv_fused_gate_up_exps, 0)),                                            \
        FKV_LAYER_ROW("ffn_up_exps.weight", ffn_up, FKV_EXPERTS(FKV_DIM_FF_EXPERT, FKV_DIM_MODEL),     \
                      FKV_PART(fkv_fused_gate_up_exps, 1)),                                            \
        FKV_LAYER_ROW("ffn_down_exps.weight", ffn_down, FKV_EXPERTS(FKV_DIM_MODEL, FKV_DIM_FF_EXPERT))
#define FKV_DECODER_ENDS                                                                                      \
    FKV_MODEL_ROW("token_embd.weight", FKV_AT_INPUT, token_embd, FKV_MATRIX(FKV_DIM_VOCAB, FKV_DIM_MODEL)),   \
        FKV_MODEL_ROW("output_norm.weight", FKV_AT_HEAD, output_norm, FKV_VECTOR(FKV_DIM_MODEL)),             \
        FKV_MODEL_ROW("output.weight", FKV_AT_HEAD, output, FKV_MATRIX(FKV_DIM_VOCAB, FKV_DIM_MODEL),         \
                      .optional = true),                                                                      \
        FKV_MODEL_ROW("output.bias", FKV_AT_HEAD, output_bias, FKV_BIAS(FKV_DIM_VOCAB)),                      \
        FKV_ROPE_ROW("rope_freqs.weight", rope_freqs), FKV_ROPE_ROW("rope_factors_short.weight", rope_short), \
        FKV_ROPE_ROW("rope_factors_long.weight", rope_long)
#define FKV_ROPE_ROW(tensor, member) \
    FKV_MODEL_ROW(tensor, FKV_AT_HOST, member, FKV_VECTOR(FKV_DIM_ROT_HALF), .optional = true)
#define FKV_DECODER_ATTENTION                                                                                      \
    FKV_LAYER_ROW("attn_norm.weight", attn_norm, FKV_VECTOR(FKV_DIM_MODEL)),                                       \
        FKV_LAYER_ROW("attn_q.weight", attn_q, FKV_MATRIX(FKV_DIM_Q, FKV_DIM_MODEL), FKV_PART(fkv_fused_qkv, 0)),  \
        FKV_LAYER_ROW("attn_k.weight", attn_k, FKV_MATRIX(FKV_DIM_KV, FKV_DIM_MODEL), FKV_PART(fkv_fused_qkv, 1)), \
        FKV_LAYER_ROW("attn_v.weight", attn_v, FKV_MATRIX(FKV_DIM_KV, FKV_DIM_MODEL), FKV_PART(fkv_fused_qkv, 2)), \
        FKV_LAYER_ROW("attn_q.bias", q_bias, FKV_BIAS(FKV_DIM_Q), FKV_PART(fkv_fused_qkv_bias, 0)),                \
        FKV_LAYER_ROW("attn_k.bias", k_bias, FKV_BIAS(FKV_DIM_KV), FKV_PART(fkv_fused_qkv_bias, 1)),               \
        FKV_LAYER_ROW("attn_v.bias", v_bias, FKV_BIAS(FKV_DIM_KV), FKV_PART(fkv_fused_qkv_bias, 2)),               \
        FKV_LAYER_ROW("attn_output.weight", attn_output, FKV_MATRIX(FKV_DIM_MODEL, FKV_DIM_Q)),                    \
        FKV_LAYER_ROW("attn_output.bias", attn_output_bias, FKV_BIAS(FKV_DIM_MODEL))
#define FKV_DENSE(of_rows, of_cols) FKV_MATRIX(of_rows, of_cols), .in_layer = fkv_layer_is_dense
#define FKV_DECODER_MLP                                                                                               \
    FKV_LAYER_ROW("ffn_norm.weight", ffn_norm, FKV_VECTOR(FKV_DIM_MODEL)),                                            \
        FKV_LAYER_ROW("ffn_gate.weight", ffn_gate, FKV_DENSE(FKV_DIM_FF, FKV_DIM_MODEL),                              \
                      FKV_PART(fkv_fused_gate_up, 0)),                                                                \
        FKV_LAYER_ROW("ffn_up.weight", ffn_up, FKV_DENSE(FKV_DIM_FF, FKV_DIM_MODEL), FKV_PART(fkv_fused_gate_up, 1)), \
        FKV_LAYER_ROW("ffn_down.weight", ffn_down, FKV_DENSE(FKV_DIM_MODEL, FKV_DIM_FF)),                             \
        FKV_LAYER_ROW("ffn_gate.bias", ffn_gate_bias, FKV_BIAS(FKV_DIM_FF), .in_layer = fkv_layer_is_dense),          \
        FKV_LAYER_ROW("ffn_up.bias", ffn_up_bias, FKV_BIAS(FKV_DIM_FF), .in_layer = fkv_layer_is_dense),              \
        FKV_LAYER_ROW("ffn_down.bias", ffn_down_bias, FKV_BIAS(FKV_DIM_MODEL), .in_layer = fkv_layer_is_dense)

#endif
