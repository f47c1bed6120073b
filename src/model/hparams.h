/* hparams.h: a model's shape, layer by layer, as the metadata of its file gives it. */
#ifndef FKV_MODEL_HPARAMS_H
#define FKV_MODEL_HPARAMS_H

#include "backend/backend.h"
#include "base/warnings.h"
#include "gguf/gguf.h"

struct fkv_arch;

/* By which tensor the angles are divided, pair by pair. */
enum fkv_rope_divisors {
    FKV_UNDIVIDED,
    FKV_DIVIDED,          /* rope_freqs */
    FKV_DIVIDED_BY_LENGTH /* rope_factors_short in a sequence of at most short_ctx tokens, else rope_factors_long */
};

/* A rotary table, one per distinct description. The i-th pair of channels of a row at `position` turns by
   position * base^(-2i / n_rot), which `divided` may divide, times 1 - share + share / scale, where a pair's share is
   (i - from) / width, within 0 and 1. Cosine and sine times magnitude, which grows with the position by
   1 + growth ln(1 + floor(position / growth_step)). */
struct fkv_rope_params {
    int d_head, n_rot; /* channels of a head, and how many of them turn */
    bool pairs;        /* which channels pair up: see struct fkv_rope */
    enum fkv_rope_divisors divided;
    float base, scale, magnitude; /* 10000, 1, 1 as a rule */
    float from, width;            /* -1, 1: every pair's share is 1 */
    float growth;                 /* 0: none */
    int growth_step;
};

enum fkv_layer_kind {
    FKV_LAYER_FULL, /* attends to all positions before */
    FKV_LAYER_LOCAL /* to a window of them */
};

/* How an architecture's files tell which layers are local: attention.sliding_window is the window (0 or no such key: no
   layer is local); attention.sliding_window_pattern has a bool per layer, true for a local one, or is a number: every
   so many layers the last is full, 0: none is. Keys with "_swa" behind their name are those of local layers:
   attention.key_length, attention.value_length, rope.dimension_count, rope.freq_base. Source: llama.cpp, gguf-py. */
struct fkv_local_layers {
    int period;      /* where the file has no pattern */
    float rope_base; /* where it has no base for local layers; 0: that of the others */
    bool rope_plain; /* their angles are neither scaled nor divided */
    bool in_context; /* a window as long as the training's context, or longer, is none */
};

/* How an architecture's files tell of experts: expert_count of them (0: all layers are dense), of which a row takes
   expert_used_count. What else they may say is assumed as the architecture has it: expert_feed_forward_length,
   expert_weights_norm, expert_weights_scale (0 stands for 1), expert_gating_func (1, softmax). */
struct fkv_experts {
    bool always;     /* a file without is an error */
    bool share_d_ff; /* without a length of their own, the chosen have feed_forward_length together; else each has it */
    bool norm;       /* the weights of the chosen add up to 1 */
};

struct fkv_layer_hparams {
    enum fkv_layer_kind kind;
    int n_head, n_kv_head, d_head;
    int d_ff, d_ff_expert; /* of the dense MLP; of an expert's: one of them is 0 */
    int window;            /* latest positions that a row sees, its own among them; 0: all */
    int rope, rope_q;      /* the rotary tables of keys and of queries, of struct fkv_hparams; -1: none */
    int kv_from;           /* the layer whose K and V it attends to: itself as a rule */
    float scale;           /* of the logits of attention: 1 / sqrt(d_head) as a rule */
};

struct fkv_hparams {
    int n_layer, d_model, n_vocab, n_ctx_train;
    int n_block;                 /* layers in the file: those from n_layer on only draft tokens, and are not used */
    int n_local;                 /* local layers */
    int n_expert, n_expert_used; /* 0: no layer is a mixture */
    bool expert_norm;            /* see struct fkv_mixture */
    float expert_scale;
    float norm_eps;
    float embed_scale, logit_scale; /* of the rows of the embedding table, of the logits: 1 as a rule */
    enum fkv_activation activation; /* of the MLP's gate */
    bool norm_after;                /* both halves of a layer end with a norm: see fkv_output_and_mlp() */
    int n_head, n_kv_head, d_head;  /* the most of any layer, as are the next: what buffers are sized for */
    int d_ff, ff_width;             /* of the MLP or of an expert; and of the logits of their router, too */
    int q_width, kv_width;          /* n_head d_head, n_kv_head d_head */
    int short_ctx;                  /* see FKV_DIVIDED_BY_LENGTH; 0: no table is */
    int n_ropes;
    struct fkv_rope_params *ropes;   /* [n_ropes] */
    struct fkv_layer_hparams *layer; /* [n_layer] */
};

/* Reads and checks all but n_vocab, which the embedding table has. Numbers that may differ from layer to layer may be
   arrays in the file. What no layer walk can do yet is refused. After a failure too, fkv_hparams_destroy() frees. */
fkv_status fkv_hparams_read(struct fkv_hparams *h, const struct fkv_arch *arch, const struct fkv_gguf *g,
                            struct fkv_warnings *warnings, struct fkv_error *e);
void fkv_hparams_destroy(struct fkv_hparams *h);
/* Images take positions in several sections of the channels that turn; of text all are one. FKV_ERROR_UNSUPPORTED when
   the file's rope.dimension_sections leave channels out. */
fkv_status fkv_hparams_check_sections(const struct fkv_hparams *h, const struct fkv_arch *arch,
                                      const struct fkv_gguf *g, struct fkv_error *e);
/* The index of a rotary table of this description, which is added if there is none. At most two per layer. */
int fkv_hparams_rope(struct fkv_hparams *h, const struct fkv_rope_params *rope);
/* table[rows][n_rot / 2][2]: cosine and sine of the angles of the positions from `first` on. divisors: [n_rot / 2], or
   NULL. Only the first row's take cos() and sin(), the others are it turned, in double: few rows at a time. */
void fkv_rope_angles(const struct fkv_rope_params *rope, const float *divisors, int first, int rows, float *table);
/* The tables of a model with short_ctx hold the short angles of so many positions, and behind them the long ones of
   all. Where those of a sequence of this capacity begin. */
static inline int fkv_rope_begin(const struct fkv_hparams *h, int capacity)
{
    return h->short_ctx && capacity > h->short_ctx ? h->short_ctx : 0;
}
/* Longest input row of any product of the model. */
int fkv_model_max_cols(const struct fkv_hparams *h);

#endif
