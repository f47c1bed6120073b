/* cpu_backend.h: what the files of the CPU back end share. */
#ifndef FKV_BACKEND_CPU_CPU_BACKEND_H
#define FKV_BACKEND_CPU_CPU_BACKEND_H

#include <stdatomic.h>

#include "backend/backend.h"
#include "backend/cpu/blas.h"
#include "base/clock.h"

enum {
    CPU_CHUNK = 512,      /* entries of one piece of decode attention: a multiple of 256 */
    CPU_FLOAT_ROWS = 128, /* weight rows that are dequantised for one float product: FKV_MOST_PANEL_ROWS at most */
};

/* ---- scratch ----------------------------------------------------------------------------------- */

/* The entries of a KV head that a row sees, [first, end), and the pieces of CPU_CHUNK in which they lie: `n` from piece
   `first` on. */
struct cpu_view {
    int first, end;
};
struct cpu_pieces {
    struct cpu_view view;
    int first, n;
};

/* Memory of one thread, reserved: pages that are never used cost nothing. */
struct cpu_scratch {
    void *panel;    /* FKV_PANEL_SCRATCH */
    float *tile[2]; /* [FKV_BLOCK_ROWS][FKV_MOST_PANEL_ROWS] results before they are added or gated */
    float *floats;  /* [CPU_FLOAT_ROWS][max_cols] dequantised weights */
    float *rows;    /* [max_cols] a normalised row */
    void *vector;   /* a packed vector of max_cols */
    void *attend;   /* FKV_ATTEND_SCRATCH */
    float *logits, *sums, *pooled, *copy; /* [window][cpu_logits_apart(n)], [n], [n], [n] */
    float *halves;                        /* [2][n] */
    uint32_t *keys;                       /* [n] */
    float *values, *value_tile;           /* [FKV_TILE][d]; the same as a tile of keys */
    float *dots, *outputs;                /* [the larger of window and d][FKV_TILE]; [window][d] */
    struct cpu_pieces *pieces;            /* [FKV_STEP_ROWS][KV heads] */
};

/* From row to row of n logits: an odd number of cache lines, so that one below the other they do not share the few
   places that a cache has for one line. */
static inline size_t cpu_logits_apart(int n) { return ((size_t)n + 31) / 32 * 32 + 16; }

/* Which rows go to which experts, for all threads: see mixture.c. */
struct cpu_packed {
    size_t x8, x16; /* bytes from the beginning of the packed forms of a group */
};
struct cpu_bucket {
    int expert, first, n;     /* its rows are row[first .. first + n) */
    int group;                /* the first bucket of those that are multiplied together */
    struct cpu_packed in, ff; /* where its rows lie, packed for the first and for the second product */
};
struct cpu_routing {
    int32_t *expert;           /* [row][used] */
    float *chosen;             /* [row][used] their weights */
    int32_t *row;              /* [slot] */
    float *weight;             /* [slot] */
    struct cpu_bucket *bucket; /* [n_buckets], of experts that any row has chosen, ascending */
    int n_buckets;
};
struct fkv_carver;
void cpu_routing_lay_out(struct cpu_routing *g, struct fkv_carver *c);

struct cpu_backend {
    struct fkv_backend base;
    const struct fkv_kernels *k;
    int max_cols;
    void *packed; /* the input of the product that runs, prepared: x8, x16, floats or vectors */
    float *part;  /* attention by pieces: see attention.c */
    struct cpu_routing routing;
    struct fkv_extent most;      /* what the scratch is prepared for */
    struct cpu_scratch *scratch; /* [n_threads] */
    struct fkv_blas blas;        /* open once a weight wants it */
    void *memory, *long_memory;  /* reservations: what does not depend on `most`, and what does */
    size_t bytes, long_bytes;
};

static inline struct cpu_backend *cpu_of(struct fkv_run *r) { return (struct cpu_backend *)r->b; }
static inline struct cpu_scratch *cpu_scratch_of(struct fkv_run *r) { return &cpu_of(r)->scratch[r->thread]; }

/* A buffer here is its floats. NULL for no tensor. */
static inline float *cpu_floats(struct fkv_tensor x) { return x.buffer ? (float *)(void *)x.buffer + x.at : NULL; }

/* Adds the time since *t0 to a stage (thread 0 only). */
void cpu_stage(struct fkv_run *r, enum fkv_stage stage, double t0);

/* ---- choices ----------------------------------------------------------------------------------- */

struct fkv_choice {
    int lists, n;   /* room: rows of a list */
    int32_t *count; /* [lists] */
    int32_t *rows;  /* [lists][n] */
    void *memory;
    size_t bytes;
};

static inline int32_t *cpu_choice_rows(const struct fkv_choice *c, int list)
{
    return c->rows + (size_t)list * (size_t)c->n;
}

/* ---- stores -------------------------------------------------------------------------------------- */

/* Tiles of some entries of every head, reference-counted: those that several stores share are never written again. */
struct kv_segment {
    atomic_int uses;
    uint8_t *memory; /* K of all heads, then V */
    size_t bytes;
};

enum { KV_SHARED = 8, KV_OWN = KV_SHARED }; /* most shared segments of a store; where its own one stands */

struct kv_head {
    int n, base;             /* entries; those that were there before this prefill */
    int from[KV_SHARED + 2]; /* the first entry of each segment, multiples of CPU_CHUNK; those past the last shared one
                                 and the own one are equal; then INT_MAX */
    int32_t *pos;            /* [capacity] */
};

struct fkv_kv_store {
    struct cpu_backend *b;
    struct fkv_kv_shape shape;
    int capacity;
    size_t k_stride, v_stride; /* bytes from head to head within a segment */
    struct kv_segment *segment[KV_SHARED + 1];
    int n_shared;
    int32_t *pos; /* [heads][capacity] */
    size_t pos_bytes;
    struct kv_head head[];
};

/* K or V of a head. */
struct kv_part {
    uint8_t *tiles; /* where entry 0 would lie: entries of the segment are found from here by their number */
    int type;
    bool is_k;
};
/* As it is in the segment that holds `entry`. */
struct kv_part cpu_kv_part(const struct fkv_kv_store *s, int head, bool is_k, int entry);
/* The entry after the last one that lies in the same segment. */
int cpu_kv_segment_end(const struct fkv_kv_store *s, int head, int entry);

/* Are many rows multiplied as floats with this weight, and not on the check path? */
bool cpu_wants_blas(const struct cpu_backend *b, const struct fkv_weight *w);

/* The first of n ascending positions that is `least` or more; n when none is. */
int cpu_first_at(const int32_t *pos, int n, int32_t least);

/* What a row's sum of weighted values is multiplied with: its weights were relative to max, a logit in units of log 2.
   sink: a logit in its sum, or -infinity. */
float cpu_normaliser(float max, float sum, float sink);

/* x[n][d]: keys or values of n entries of a head from number `entry` on. */
void cpu_kv_read(const struct fkv_kv_store *s, int head, bool is_k, int entry, int n, float *x);

/* Copies n entries of a head, from number `entry` on or those of `rows`, to entries at .. at + n - 1 of `to`: K or
   V. */
void cpu_kv_copy(const struct fkv_kv_store *to, int at, const struct fkv_kv_store *from, int head, bool is_k, int entry,
                 const int32_t *rows, int n);

/* ---- the operations, by name ------------------------------------------------------------------- */

#define OP(result, name, args) result cpu_##name args;
#include "backend/ops.def"

#endif
