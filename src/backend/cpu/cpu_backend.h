/* cpu_backend.h: what the files of the CPU back end share. */
#ifndef FKV_BACKEND_CPU_CPU_BACKEND_H
#define FKV_BACKEND_CPU_CPU_BACKEND_H

#include "backend/backend.h"
#include "backend/cpu/blas.h"
#include "base/clock.h"

enum {
    CPU_CHUNK = 512,      /* entries of one piece of decode attention: a multiple of 256 */
    CPU_FLOAT_ROWS = 128, /* weight rows that are dequantised for one float product: FKV_MOST_PANEL_ROWS at most */
};

/* Memory of one thread, reserved: pages that are never used cost nothing. */
struct cpu_scratch {
    void *panel;    /* FKV_PANEL_SCRATCH */
    float *tile[2]; /* [FKV_BLOCK_ROWS][FKV_MOST_PANEL_ROWS] results before they are added or gated */
    float *floats;  /* [CPU_FLOAT_ROWS][max_cols] dequantised weights */
    float *rows;    /* [FKV_PACK_ROWS][max_cols] normalised rows */
    void *vector;   /* a packed vector of max_cols */
    void *attend;   /* FKV_ATTEND_SCRATCH */
    float *logits, *sums, *pooled, *copy; /* [window][n], [n], [n], [n] */
    uint32_t *keys;                       /* [n] */
    void *memory;
    size_t bytes;
    void *long_memory; /* holds what depends on n */
    size_t long_bytes;
};

struct cpu_backend {
    struct fkv_backend base;
    const struct fkv_kernels *k;
    int max_cols;
    void *packed; /* the input of the product that runs, prepared: x8, x16 or floats */
    size_t packed_bytes;
    float *part;      /* decode attention's pieces: [pieces][n_head][d + 2] */
    size_t n_entries; /* what the scratch is prepared for */
    int window;
    size_t part_bytes;
    struct cpu_scratch *scratch; /* [n_threads] */
    struct fkv_blas blas;        /* open once a weight wants it */
};

static inline struct cpu_backend *cpu_of(struct fkv_run *r) { return (struct cpu_backend *)r->b; }
static inline struct cpu_scratch *cpu_scratch_of(struct fkv_run *r) { return &cpu_of(r)->scratch[r->thread]; }

/* Adds the time since *t0 to a stage (thread 0 only). */
void cpu_stage(struct fkv_run *r, enum fkv_stage stage, double t0);

struct kv_head {
    int n, base;    /* entries; those that were there before this prefill */
    uint8_t *k, *v; /* tiles */
};

struct fkv_kv_store {
    int heads, d, k_type, v_type, capacity;
    const struct fkv_kernels *kernels;
    uint8_t *memory;
    size_t bytes, k_stride, v_stride; /* of the reservation; from head to head */
    struct kv_head head[];
};

/* The operations, by file. */
void cpu_embed(struct fkv_run *r, const struct fkv_weight *table, const int32_t *ids, int n, float *x);
void cpu_product(struct fkv_run *r, const struct fkv_input *in, const struct fkv_output *out, int n_out);
void cpu_gated(struct fkv_run *r, const struct fkv_input *in, const struct fkv_gate *gate, float *y, size_t ld);
/* Are many rows multiplied as floats with this weight, and not on the check path? */
bool cpu_wants_blas(const struct cpu_backend *b, const struct fkv_weight *w);

void cpu_head_norm(struct fkv_run *r, float *x, size_t ld, int n, int heads, int d, const float *norm, float eps);
void cpu_rope(struct fkv_run *r, const struct fkv_rope *rope, float *x, size_t ld, int n, int heads,
              const int32_t *pos);
void cpu_gather(struct fkv_run *r, float *x, size_t d, const int32_t *rows, int n);

void cpu_attend(struct fkv_run *r, const struct fkv_kv_store *s, int n_head, float scale, const float *q, size_t ld,
                int n, const int32_t *seen, float *out);

void cpu_score(struct fkv_run *r, const struct fkv_kv_store *s, const struct fkv_scoring *how, int n_head,
               const float *q, size_t ld, int n, float *g);
void cpu_select(struct fkv_run *r, const float *g, int heads, int n, int window, int sinks, int cap, int32_t *rows);
void cpu_select_common(struct fkv_run *r, const float *g, int heads, int n, int window, int sinks, int cap,
                       int32_t *rows);

fkv_status cpu_kv_create(struct fkv_backend *b, struct fkv_kv_store **s, int heads, int d, int k_type, int v_type,
                         int capacity, bool whole);
void cpu_kv_destroy(struct fkv_kv_store *s);
void cpu_kv_assign(struct fkv_kv_store *s, const struct fkv_kv_store *from);
void cpu_kv_cut(struct fkv_kv_store *s, int head, int n);
int cpu_kv_count(const struct fkv_kv_store *s, int head);
uint64_t cpu_kv_bytes(const struct fkv_kv_store *s);
void cpu_kv_append(struct fkv_run *r, struct fkv_kv_store *s, const float *k, const float *v, size_t ld, int n);
void cpu_retain(struct fkv_run *r, struct fkv_kv_store *to, const struct fkv_kv_store *from, const int32_t *rows,
                int n);

#endif
