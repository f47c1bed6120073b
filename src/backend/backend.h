/* backend.h: the operations a model is made of, on tensors, for whichever device runs them.

   The layer loop and the architectures call these and do not know what is behind them. A back end fills struct fkv_ops;
   `cpu` is the first (backend/cpu/), `vulkan` the second (vulkan/). What it stores K and V in is its own business
   (struct fkv_kv_store); activations are fp32 rows.

   Memory. Activations, norms and biases (float *) lie where the back end computes: they come from `alloc` or
   `load_vector`, and only its operations may touch them, though arithmetic on the addresses is allowed. Lists of ids,
   positions and rows (int32_t *) are the host's.

   Threads. A block of a layer, or a token, is one region: every thread of the team calls the same operations in the
   same order with its own struct fkv_run, and an operation shares its work out inside. Unless it says otherwise, an
   operation ends with a barrier: what it wrote is visible to all threads. Arguments were validated when the model was
   loaded: operations cannot fail. A device can: then they do nothing any more, lists they return hold valid rows, and
   `wait` tells. */
#ifndef FKV_BACKEND_BACKEND_H
#define FKV_BACKEND_BACKEND_H

#include "base/error.h"
#include "base/team.h"
#include "simd/simd.h"

/* A matrix as the file stores it: `rows` output rows of `cols` inputs; or n of them, one after another (experts). */
struct fkv_weight {
    const void *data; /* [n][rows][stride bytes] */
    size_t stride;    /* bytes from row to row */
    uint32_t type;    /* enum fkv_type */
    int rows, cols, n;
};

/* Input of a product: rows, optionally normalised on the way: rms_norm(x) * norm. */
struct fkv_input {
    const float *x; /* [n][ld] */
    size_t ld;
    int n;             /* 1 .. block_rows of the back end */
    const float *norm; /* [cols], or NULL */
    float eps;
};

/* One output of a product: y = x W^T + bias, or y += that. */
struct fkv_output {
    const struct fkv_weight *w;
    const float *bias; /* [w->rows], or NULL */
    float *y;          /* [n][ld] */
    size_t ld;
    bool add;
    bool precise; /* of many rows: activations are not rounded to 8 bits */
};

/* silu(x gate^T + gate_bias) * (x up^T + up_bias) */
struct fkv_gate {
    const struct fkv_weight *gate, *up;
    const float *gate_bias, *up_bias; /* [gate->rows], or NULL */
};

/* Rotary position embedding: which channels pair up, and the table of every position's angles. */
struct fkv_rope {
    bool pairs; /* channels 2i, 2i + 1 (llama); else i, i + n_rot / 2 (NeoX) */
    int n_rot, d;
    const float *cos_sin; /* [position][n_rot / 2][2] */
};

/* How the rows of a prefill are scored: fastkv paper, section 3.2. */
struct fkv_scoring {
    int window; /* last rows, whose attention scores the others */
    bool pool_avg;
    int pool_kernel;
    float scale; /* of the logits */
};

/* Keys and values of one layer, a list per KV head; entries of a head are numbered in the order they came. Opaque but
   for the counts. */
struct fkv_kv_store;

enum fkv_stage { FKV_STAGE_PRODUCT, FKV_STAGE_ATTENTION, FKV_STAGE_ROWS, FKV_STAGE_SELECT, FKV_N_STAGES };

struct fkv_backend;

/* One thread's view of the region that runs. */
struct fkv_run {
    struct fkv_backend *b;
    int thread;
    double *stage_s; /* [FKV_N_STAGES] thread 0 adds its wall time by stage */
};

struct fkv_ops {
    const char *name;

    /* x[n][d_model] = rows `ids` of the table. */
    void (*embed)(struct fkv_run *r, const struct fkv_weight *table, const int32_t *ids, int n, float *x);
    /* One or more products of the same input, which is prepared once. Outputs do not overlap the input. */
    void (*product)(struct fkv_run *r, const struct fkv_input *in, const struct fkv_output *out, int n_out);
    /* y[n][ld]: see struct fkv_gate. */
    void (*gated)(struct fkv_run *r, const struct fkv_input *in, const struct fkv_gate *gate, float *y, size_t ld);

    /* Row operations: each thread does its share of the n rows and no barrier follows, so that they chain. In place. */
    void (*head_norm)(struct fkv_run *r, float *x, size_t ld, int n, int heads, int d, const float *norm, float eps);
    void (*rope)(struct fkv_run *r, const struct fkv_rope *rope, float *x, size_t ld, int n, int heads,
                 const int32_t *pos);

    /* Appends n rows of K and V, [n][ld] with the heads side by side, to every head. Starts with a barrier too. */
    void (*kv_append)(struct fkv_run *r, struct fkv_kv_store *s, const float *k, const float *v, size_t ld, int n);
    /* Causal attention of n rows: row i sees, in each head, the `base` entries that were there before this prefill and
       the first seen[i] after them; seen ascends; seen NULL: all entries. q and out: [n][ld], query heads side by side.
       n 1 splits the entries among the threads. */
    void (*attend)(struct fkv_run *r, const struct fkv_kv_store *s, int n_head, float scale, const float *q, size_t ld,
                   int n, const int32_t *seen, float *out);

    /* Scores of the rows of this prefill but the last `window`: g[head][n - window], pooled and summed over the query
       heads of the KV head. q: [window][ld], the queries of the last rows. */
    void (*score)(struct fkv_run *r, const struct fkv_kv_store *s, const struct fkv_scoring *how, int n_head,
                  const float *q, size_t ld, int n, float *g);
    /* rows[head][cap] of the n rows: the cap - window best scored and the window, ascending; the first `sinks` rows are
       forced. cap < n. A device may leave them to `wait`: until then the host sees others there, but `retain` takes the
       right ones. */
    void (*select)(struct fkv_run *r, const float *g, int heads, int n, int window, int sinks, int cap, int32_t *rows);
    /* The same for all heads together, at once: rows[cap], by the sum of g over the heads. */
    void (*select_common)(struct fkv_run *r, const float *g, int heads, int n, int window, int sinks, int cap,
                          int32_t *rows);
    /* x[i] = x[rows[i]] for i < n; rows ascend. In place. */
    void (*gather)(struct fkv_run *r, float *x, size_t d, const int32_t *rows, int n);
    /* Appends entries of `from` to `to`, in the latter's types: those at base + rows[head][i], i < n; rows NULL: base +
       0 .. n - 1. */
    void (*retain)(struct fkv_run *r, struct fkv_kv_store *to, const struct fkv_kv_store *from, const int32_t *rows,
                   int n);

    /* ---- outside a region ---- */

    /* Memory for x[n]. whole: it will be used from end to end, else the host's pages are taken as they are written. */
    fkv_status (*alloc)(struct fkv_backend *b, float **x, size_t n, bool whole);
    void (*free)(struct fkv_backend *b, float *x, size_t n);
    /* x[n] = from[n], of the host. */
    void (*write)(struct fkv_backend *b, float *x, const float *from, size_t n);
    /* x[n] for the host to read: x itself where it can, else copy[n], filled. */
    const float *(*read)(struct fkv_backend *b, const float *x, size_t n, float *copy);
    /* What x[n] holds is not needed any more. */
    void (*discard)(struct fkv_backend *b, float *x, size_t n);
    /* Brings a weight, or a vector of the host's, to where the back end computes: changes what `w` and `v` point to.
       The file and the vector stay in place until `destroy`, which takes back what was loaded. */
    fkv_status (*load_weight)(struct fkv_backend *b, struct fkv_weight *w, const char *name, struct fkv_error *e);
    fkv_status (*load_vector)(struct fkv_backend *b, const float **v, size_t n, const char *name, struct fkv_error *e);
    /* For a plan: bytes of the back end's own memory that load_weight and `prepare` would take, and how many are left.
       The CPU's is the host's: none are taken. */
    uint64_t (*weight_bytes)(const struct fkv_backend *b, const struct fkv_weight *w);
    uint64_t (*scratch_bytes)(const struct fkv_backend *b, int n_entries, int n_head, int window);
    uint64_t (*bytes_left)(struct fkv_backend *b);
    /* Returns when all operations so far are done. A failure of the device stays: its message is in `error`. */
    fkv_status (*wait)(struct fkv_backend *b);
    /* Sees to it that a device works on the operations so far, of which the latest may wait for more, and returns when
       it is at most a fraction of a second behind. Failures may come to light in a later call. */
    fkv_status (*pace)(struct fkv_backend *b);

    /* whole: it will be filled to its capacity at once. */
    fkv_status (*kv_create)(struct fkv_backend *b, struct fkv_kv_store **s, int heads, int d, int k_type, int v_type,
                            int capacity, bool whole);
    void (*kv_destroy)(struct fkv_kv_store *s);
    /* Makes `from` the contents of s, as its base entries (from NULL: empties it). s has room for them. */
    void (*kv_assign)(struct fkv_kv_store *s, const struct fkv_kv_store *from);
    /* Drops the entries from n on of one head. */
    void (*kv_cut)(struct fkv_kv_store *s, int head, int n);
    int (*kv_count)(const struct fkv_kv_store *s, int head);
    /* Bytes its entries take, whole tiles. */
    uint64_t (*kv_bytes)(const struct fkv_kv_store *s);
    /* Scratch for scoring and attending over n entries, kept for later calls; waits for regions that run. */
    fkv_status (*prepare)(struct fkv_backend *b, int n_entries, int n_head, int window);
    void (*destroy)(struct fkv_backend *b);
};

struct fkv_backend {
    const struct fkv_ops *ops;
    struct fkv_team *team;
    const char *isa;
    int block_rows;         /* most rows of one product or attention */
    const char *device;     /* what computes: "cpu", or the GPU's name */
    struct fkv_error error; /* why `wait` failed; "" as long as it did not */
    bool exact;             /* the fp32 check path */
    bool precise;           /* all products of many rows are: see struct fkv_output */
    int work_type; /* enum fkv_kv_elem: what K and V are while a layer is prefilled, unless the cache's type says
                      otherwise */
};

/* The CPU back end. isa: NULL for FASTKV_ISA or the best there is. max_cols: longest input row of any product. */
fkv_status fkv_cpu_backend_create(struct fkv_backend **b, int n_threads, const char *isa, bool exact, bool precise,
                                  int max_cols, struct fkv_error *e);
/* The level that isa names, FASTKV_ISA if it is NULL, the best if that is unset; an unknown or missing one is an error
   that lists those the machine has. */
fkv_status fkv_cpu_level(int *level, const char *isa, struct fkv_error *e);

#endif
