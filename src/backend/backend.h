/* backend.h: the operations a model is made of, on tensors, for whichever device runs them.

   The layer loop and the architectures call these and do not know what is behind them. A back end fills struct fkv_ops,
   a member per row of ops.def; `cpu` is the first (backend/cpu/), those of backends.def follow. What it stores K and V
   in is its own business (struct fkv_kv_store); activations are fp32 rows.

   Memory. Activations, norms and biases lie where the back end computes: struct fkv_tensor is a handle, and only the
   back end's operations touch what it stands for. Lists of ids, positions and rows (int32_t *) are the host's.

   Threads. A block of a layer, or a token, is one region: every thread of the team calls the same operations in the
   same order with its own struct fkv_run, and an operation shares its work out inside. Unless it says otherwise, an
   operation ends with a barrier: what it wrote is visible to all threads. Arguments were validated when the model was
   loaded and the pass began: operations cannot fail. A device can: then they do nothing any more, and `wait` tells. */
#ifndef FKV_BACKEND_BACKEND_H
#define FKV_BACKEND_BACKEND_H

#include "base/error.h"
#include "base/team.h"
#include "simd/simd.h"

/* ---- tensors ------------------------------------------------------------------------------------ */

/* Memory of a back end; what it is, only the back end knows. */
struct fkv_buffer;

/* fp32 values where a back end computes, from value `at` of a buffer on. No buffer: there is no such tensor. */
struct fkv_tensor {
    struct fkv_buffer *buffer;
    size_t at;
};

static inline bool fkv_tensor_is(struct fkv_tensor x) { return x.buffer != NULL; }
/* The same, from its n-th value on. */
static inline struct fkv_tensor fkv_tensor_from(struct fkv_tensor x, size_t n)
{
    return (struct fkv_tensor){x.buffer, x.at + n};
}

/* A matrix as the file stores it: `rows` output rows of `cols` inputs; or n of them (experts). */
struct fkv_weight {
    const void *data; /* [n][rows][stride bytes] */
    size_t stride;    /* bytes from row to row */
    size_t apart;     /* bytes from matrix to matrix; not read where there is one */
    uint32_t type;    /* enum fkv_type */
    int rows, cols, n;
};

/* ---- products ------------------------------------------------------------------------------------ */

/* Input of a product: rows, optionally normalised on the way: rms_norm(x) * norm. */
struct fkv_input {
    struct fkv_tensor x; /* [n][ld] */
    size_t ld;
    int n;                  /* 1 .. block_rows of the back end; `alone`: at most FKV_STEP_ROWS */
    struct fkv_tensor norm; /* [cols], or none */
    float eps;
    bool alone; /* every row gets the bits that it gets when n is 1; each stored weight is still read once */
};

/* One output of a product: y = x W^T + bias, or y += that. */
struct fkv_output {
    const struct fkv_weight *w;
    struct fkv_tensor bias; /* [w->rows], or none */
    struct fkv_tensor y;    /* [n][ld] */
    size_t ld;
    bool add;
    bool precise; /* of many rows: activations are not rounded to 8 bits */
};

/* act(x gate^T + gate_bias) * (x up^T + up_bias) */
enum fkv_activation {
    FKV_SILU,
    FKV_GELU,        /* of tanh, see geglu in simd.h */
    FKV_SILU_CLAMPED /* g / (1 + exp(-1.702 g)) (u + 1), of g = min(gate, 7) and u = up within -7 and 7 (gpt-oss) */
};
struct fkv_gate {
    const struct fkv_weight *gate, *up;
    struct fkv_tensor gate_bias, up_bias; /* [gate->rows], or none */
    enum fkv_activation activation;
};

/* A mixture of experts, of which every row x takes the `used` with the largest logits x router^T (ties: the first):
   the sum over them of weight * (act(x gate^T) * (x up^T)) down^T, with the biases of router and experts where there
   are any. The weights are the softmax of the logits, divided by its sum over the chosen where `norm`, times scale. */
enum { FKV_MOST_EXPERTS = 512, FKV_MOST_USED = 32 };
struct fkv_mixture {
    const struct fkv_weight *router;                              /* a row for each expert */
    const struct fkv_weight *gate, *up, *down;                    /* a matrix for each */
    struct fkv_tensor router_bias, gate_bias, up_bias, down_bias; /* [rows], [n][rows] thrice, or none */
    enum fkv_activation activation;
    int used;
    bool norm;
    float scale;
    struct fkv_tensor rows, ff; /* scratch: [block_rows] rows as wide as x; as the wider of gate and router */
};

/* Rotary position embedding: which channels pair up, and the table of every position's angles. */
struct fkv_rope {
    bool pairs; /* channels 2i, 2i + 1 (llama); else i, i + n_rot / 2 (NeoX) */
    int n_rot, d;
    struct fkv_tensor cos_sin; /* [position][n_rot / 2][2] */
};

/* ---- rows and attention ---------------------------------------------------------------------------- */

enum { FKV_STEP_ROWS = 8 }; /* most rows of a decode step: tokens of several sequences, or a draft of one */

/* Rows on their way through the layers. */
struct fkv_rows {
    int n;
    const int32_t *id;       /* [n] tokens; not read after the first layer */
    const int32_t *pos;      /* [n] absolute positions, ascending within a sequence */
    const int32_t *turn;     /* [n] rows of the rotary tables by which they turn; NULL: pos */
    const int32_t *sequence; /* [n] which of the pass's sequences, ascending; NULL: the first */
    const int32_t *hidden;   /* [n] how many of the latest entries of its sequence's store a row does not see: the rows
                                 after it. NULL: none */
    bool alone;              /* a decode step: see struct fkv_input */
};

/* The end of the rows from `row` on that belong to the same sequence. */
static inline int fkv_rows_end(const struct fkv_rows *rows, int row)
{
    int end = row + 1;
    if (!rows->sequence) return rows->n;
    while (end < rows->n && rows->sequence[end] == rows->sequence[row]) end++;
    return end;
}

/* How a layer attends. What no back end does yet, fkv_attention_check() refuses. */
struct fkv_attention {
    int n_head;                   /* query heads */
    float scale;                  /* of the logits: 1 / sqrt(d) as a rule */
    struct fkv_tensor value_gram; /* [KV head][d][d] the mean over its query heads of W W', where W is what the output
                                     projection has for one: what scores by the values' norms need, else none */
    int window;                   /* a row at position p sees entries at positions above p - window only; 0: all */
    struct fkv_tensor sinks;      /* [n_head] logits that take part in the softmax and carry no value, or none */
    float soft_cap;               /* logits become cap tanh(logit / cap); 0: they stay */
    const int32_t *blocks;        /* the key blocks that a sparse prefill visits, or NULL */
    const bool *skip;             /* [KV head] a decode step leaves the head out, or NULL */
    const float *bias;            /* [entry] added to the logits of a decode step, or NULL */
};

/* FKV_ERROR_UNSUPPORTED for what is described and not done yet, with a message that begins with `name`. */
fkv_status fkv_attention_check(const struct fkv_attention *how, const char *name, struct fkv_error *e);

/* Which scores the rows of a prefill get (fastkv paper, section 3.2; methods: docs of the policies).

   SUM: of each query head the window's rows are added, then pooled; the group's heads are added.
   MAX (DefensiveKV, arXiv 2510.13334): the largest over the rows and the group's heads, then pooled. Pooling by maximum
   commutes with that; the average is of the largest, not of each row. With the values' norm as there: the average of
   each row, which keeps its sum, and no score below the head's mean before it is multiplied.
   DROP (DropKV): of each query head (p / (1 - p))^2 |o - v|^2 is added over the rows, where o = sum of p v is what the
   row makes of all it sees: the square of what it loses with the entry; then as SUM. */
enum fkv_reduce { FKV_REDUCE_SUM, FKV_REDUCE_MAX, FKV_REDUCE_DROP };

struct fkv_scoring {
    int window; /* last rows, whose attention scores the others */
    enum fkv_reduce reduce;
    const float *weight; /* [window] what each row is multiplied with, not below 0, or NULL: all 1. A row of weight 0
                            takes no part, whatever its queries are */
    bool value_norm;     /* times the norm of the entry's projected value, in the mean over the query heads */
    bool pool_avg;       /* else by maximum */
    int pool_kernel;
    int span; /* at last, a row takes the best score of itself and so many rows before it: answers go on to the right of
                 what a question looks at */
};
/* FKV_ERROR_UNSUPPORTED for scores that the back end cannot make. */
struct fkv_backend;
fkv_status fkv_scoring_check(const struct fkv_scoring *how, const struct fkv_backend *b, struct fkv_error *e);

/* How many of a layer's rows each KV head keeps. */
enum fkv_spread {
    FKV_SPREAD_EQUAL,  /* `keep` in every head */
    FKV_SPREAD_POOLED, /* heads * keep in all: each head its forced rows and its best `least`, then the best of all
                          heads */
    FKV_SPREAD_COMMON  /* one list for all heads, by the sum of their scores */
};

struct fkv_selection {
    int n, window, sinks; /* rows of the prefill; the last and the first of them, always chosen */
    int keep;             /* rows of a list, those among them: window + sinks <= keep < n */
    enum fkv_spread spread;
    int least; /* POOLED: rows of a head that its own order alone decides; <= keep - window - sinks */
};

/* Rows chosen of those of a prefill: a list per KV head, or one; each ascends. */
struct fkv_choice;

/* Keys and values of one layer: per KV head a list of entries (absolute position, K already rotated, V), positions
   ascending. Counts differ per head. */
struct fkv_kv_store;

struct fkv_kv_shape {
    int heads, d;
    int k_type, v_type; /* enum fkv_kv_elem */
};

/* Bytes of an entry's keys, or values, in canonical form: see kv_export. */
static inline size_t fkv_kv_entry_bytes(int type, int d)
{
    if (type == FKV_ELEM_Q8_0) return (size_t)fkv_padded_head(d) / 32 * (sizeof(fkv_f16) + 32);
    return (size_t)d * (type == FKV_ELEM_F32 ? sizeof(float) : sizeof(fkv_f16));
}

/* ---- back ends --------------------------------------------------------------------------------------- */

enum fkv_stage { FKV_STAGE_PRODUCT, FKV_STAGE_ATTENTION, FKV_STAGE_ROWS, FKV_STAGE_SELECT, FKV_N_STAGES };

struct fkv_backend;

/* One thread's view of the region that runs. */
struct fkv_run {
    struct fkv_backend *b;
    int thread;
    double *stage_s; /* [FKV_N_STAGES] thread 0 adds its wall time by stage */
};

/* What scratch is sized for: the largest of everything that will come. */
struct fkv_extent {
    int n_entries, n_head, d, window;
};

/* Memory by where it lies. */
struct fkv_bytes {
    uint64_t host, device;
};

/* embed      x[n][d_model] = scale times rows `ids` of the table.
   product    One or more products of the same input, which is prepared once. Outputs do not overlap the input.
   gated      y[n][ld]: see struct fkv_gate.
   mixture    y[n][ld] += see struct fkv_mixture. y may be the input. NULL: see fkv_model_runs_on().

   head_norm, rope   Each thread does its share of the n rows and no barrier follows, so that they chain. In place.

   add_normed x[n][d] += rms_norm(y[n][d]) * norm.

   kv_append  Appends K and V of the rows, [n][ld] with the heads side by side, to every head of stores[sequence], with
              their positions. Starts with a barrier too.
   attend     Row i attends to the entries of its sequence's store but the latest hidden[i], within the window. q and
              out: [n][ld], query heads side by side. One row, or rows that are `alone`, share the entries out among the
              threads.
   score      Scores of the n rows of this prefill but the last `window`, which lie in s after its base entries:
              g[head][n - window] of the KV heads, by struct fkv_scoring. q: [window][ld], the queries of the rows
              `window`. looked[2][head][n - window], or none: what the window attends to, by every other row of those
              that count from the first on, and by the others, summed over a KV head's query heads.
   select     Fills c by the scores g[heads][n - window]. false, on every thread and with nothing done, for a spread
   that
              the back end leaves to the host: see fkv_select().
   gather     x[i] = x[row i of c's first list]. In place.
   retain     Appends to `to`, in its types, the entries of `from` that c chose among those after its base; c NULL: all.

   alloc      Memory for x[n]. whole: it will be used from end to end, else the host's pages are taken as they are
              written.
   write, read, discard   x[n] = from[n], of the host; x[n] for the host to read: where it lies if it can, else copy[n],
              filled; what x[n] holds is not needed any more.
   load_weight, load_vector   Bring a weight of the file, or a vector of the host's, to where the back end computes:
              change what w points to, make v. The file and the vector stay in place until `destroy`, which takes back
              what was loaded. weight_bytes: what load_weight would take of the back end's own memory.
   prepare    Scratch for passes of that extent, kept for later ones; waits for regions that run. scratch_bytes: what
              such scratch takes, whether it is there or not.
   bytes_left For a plan: how many bytes of the back end's memory are free.
   wait       Returns when all operations so far are done. A failure of the device stays: its message is in `error`.
   pace       Sees to it that a device works on the operations so far, of which the latest may wait for more, and
              returns when it is at most a fraction of a second behind. Failures may come to light in a later call.

   choice_create, _bytes, _write, _count, _read   Room for `lists` lists of n rows each; its bytes; lists of the host's
              (the rows of all one after the other); the number of rows, which never waits; the rows, which wait for the
              device and stay valid until the choice changes.

   kv_create  whole: it will be filled to its capacity at once. Else room for entries is taken by kv_reserve.
   kv_reserve Room for n more entries in every head, the latest at position `last`: kv_append, retain, kv_assign and
              kv_import take none. A device takes some for tokens to come, too. FKV_ERROR_MEMORY: s is as it was. Not in
              a region.
   kv_assign  Makes `from` the contents of s, as its base entries (from NULL: empties it).
   kv_cut     Drops the entries at positions >= pos.
   kv_positions   [count] of a head, ascending; waits for the device; valid until the store changes.
   kv_bytes   What its entries take, whole tiles. kv_bytes_of: what n entries in every head would take.
   kv_fork    A store with the entries at positions below pos, which shares memory with s where it can; both go their
              own way from here. Between passes.
   kv_export  Keys or values first .. first + n - 1 of a head in canonical form: entries in list order, elements of the
              stored type side by side; q8_0: per 32 channels an f16 scale and 32 int8.
   kv_import  Appends n entries of that form to one head, with their positions. */
struct fkv_ops {
    const char *name;
#define OP(result, name, args) result(*name) args;
#include "backend/ops.def"
};

struct fkv_backend {
    const struct fkv_ops *ops;
    struct fkv_team *team;
    const char *isa;
    int block_rows;         /* most rows of one product or attention */
    int few_rows;           /* a row gets the same bits in all blocks of more rows; 0: never (BLAS) */
    const char *device;     /* what computes: "cpu", or the GPU's name */
    bool own_memory;        /* tensors, weights and stores do not lie in the host's memory */
    struct fkv_error error; /* why `wait` failed; "" as long as it did not */
    bool exact;             /* the fp32 check path */
    bool scores_values;     /* it can score by values: their norm, and DROP */
    bool precise;           /* all products of many rows are: see struct fkv_output */
    int work_type; /* enum fkv_kv_elem: what K and V are while a layer is prefilled, unless the cache's type says
                      otherwise */
};

/* The choice by the back end's `select`; where it leaves that to the host, by fkv_choose() from the scores read back.
   scratch: of the host, fkv_choose_bytes(heads, n). */
void fkv_select(struct fkv_run *r, struct fkv_tensor g, int heads, const struct fkv_selection *how,
                struct fkv_choice *c, void *scratch);
/* The host's choice by scores[lists][n - window] of its own, of which COMMON has one for all lists, to c. scratch: as
   above. */
void fkv_choose_into(struct fkv_backend *b, struct fkv_choice *c, const float *scores, int lists,
                     const struct fkv_selection *how, void *scratch);
/* The same to lists: count[lists], and the rows of all lists one after the other, ascending in each: at most lists * n.
   copy, keys: [lists][n] scratch. */
void fkv_choose(const float *scores, int lists, const struct fkv_selection *how, float *copy, uint32_t *keys,
                int32_t *count, int32_t *rows);
size_t fkv_choose_bytes(int lists, int n);

/* The CPU back end. isa: NULL for FASTKV_ISA or the best there is. max_cols: longest input row of any product. */
fkv_status fkv_cpu_backend_create(struct fkv_backend **b, int n_threads, const char *isa, bool exact, bool precise,
                                  int max_cols, struct fkv_error *e);
/* The level that isa names, FASTKV_ISA if it is NULL, the best if that is unset; an unknown or missing one is an error
   that lists those the machine has. */
fkv_status fkv_cpu_level(int *level, const char *isa, struct fkv_error *e);

#endif
