/* vk_internal.h: what the files of the Vulkan back end share. Operations record dispatches; only `read`,
   `select_common`, `wait` and what takes memory back wait for the device. */
#ifndef FKV_VULKAN_VK_INTERNAL_H
#define FKV_VULKAN_VK_INTERNAL_H

#include "vulkan/commands.h"
#include "vulkan/vk_backend.h"

/* A matrix on the device: what struct fkv_weight's data points to. Rows are cut into parts that one binding can see. */
struct vk_weight {
    struct vk_weight *next; /* all of the back end */
    uint32_t type;          /* enum fkv_type: the file's, or what it was converted to */
    uint32_t stride;        /* bytes from row to row: even */
    int part_rows;          /* of every part but the last */
    int n_parts;
    struct vk_slice part[];
};

struct vk_backend {
    struct fkv_backend base;
    struct vk_context c;
    int max_cols;
    struct vk_weight *weights;
    struct vk_slice normed; /* [block_rows][max_cols]: a product's input, normalised */
    struct vk_slice x_halves,
        w_halves; /* where products multiply halves: a product's input; rows of weights, of which halves_used bytes were
                     taken */
    uint64_t halves_used;

    /* Scratch for n_entries entries, n_head heads and a window: see vk_prepare(). */
    int n_entries, n_head, window;
    struct vk_slice part;        /* attention of one row: [n_head][pieces][d + 2] */
    struct vk_slice logits;      /* scores: [logit_heads][window][n_entries] */
    struct vk_slice stats, sums; /* [logit_heads][window][2]; [n_head][n_entries] */
    struct vk_slice total;       /* select_common: [n_entries] */
    struct vk_slice work, found; /* top_k: see the shader; [n_head][n_entries] */
    struct vk_slice lists;       /* kv_copy: [n_head][n_entries + 2] */
    const int32_t
        *selected; /* the host's rows of the latest select, until a retention: `found` has them but for the last
                     window_rows */
    int window_rows;
    int logit_heads;
};

/* Keys and values of one layer: per head, `room` entries as shaders/kv.glsl lays them out. */
enum { VK_K, VK_V };
struct fkv_kv_store {
    struct vk_backend *b;
    int heads, d, capacity, room;
    int type[2];               /* enum fkv_kv_elem, of K and V */
    struct vk_slice memory[2]; /* [heads][room][entry] */
    int *n, *base;             /* [heads] entries; those that were there before this prefill */
};

enum { VK_BLOCK_ROWS = 2048 }; /* most rows of one product or attention: they fill a large GPU */
enum { VK_PIECE = 256 };       /* entries of one piece of attention of one row */

static inline struct vk_backend *vk_of(struct fkv_run *r) { return (struct vk_backend *)r->b; }
static inline uint32_t vk_chunks(int d) { return (uint32_t)(d + 31) / 32; }
/* Values of a row of halves: see shaders/product_halves.glsl. */
static inline uint64_t vk_halves_ld(int cols) { return (uint64_t)(cols + 63) / 64 * 64; }
/* Words of an entry, and of a head's entries. */
uint32_t vk_entry_words(int type, int d);
static inline uint32_t vk_head_words(const struct fkv_kv_store *s, int which)
{
    return (uint32_t)s->room * vk_entry_words(s->type[which], s->d);
}
/* KV heads that one binding of K and one of V can see; at least 1. */
int vk_visible_heads(const struct fkv_kv_store *s);
/* K or V from head `head` on, of n heads. */
struct vk_slice vk_kv_heads(const struct fkv_kv_store *s, int which, int head, int n);
/* count[heads] of the entries that row 0 of `seen` sees, or of all where seen is NULL. */
void vk_count_keys(const struct fkv_kv_store *s, const int32_t *seen, int32_t *count);

enum { VK_MAX_HEADS = 1024 }; /* KV heads: the model loader takes no more */

/* The operations, by file. */
fkv_status vk_load_weight(struct fkv_backend *b, struct fkv_weight *w, const char *name, struct fkv_error *e);
fkv_status vk_load_vector(struct fkv_backend *b, const float **v, size_t n, const char *name, struct fkv_error *e);
uint64_t vk_weight_bytes(const struct fkv_backend *b, const struct fkv_weight *w);
void vk_write_slice(struct vk_context *c, struct vk_slice to, const void *from);

void vk_embed(struct fkv_run *r, const struct fkv_weight *table, const int32_t *ids, int n, float *x);
void vk_product(struct fkv_run *r, const struct fkv_input *in, const struct fkv_output *out, int n_out);
void vk_gated(struct fkv_run *r, const struct fkv_input *in, const struct fkv_gate *gate, float *y, size_t ld);

void vk_head_norm(struct fkv_run *r, float *x, size_t ld, int n, int heads, int d, const float *norm, float eps);
void vk_rope(struct fkv_run *r, const struct fkv_rope *rope, float *x, size_t ld, int n, int heads, const int32_t *pos);
void vk_gather(struct fkv_run *r, float *x, size_t d, const int32_t *rows, int n);

void vk_attend(struct fkv_run *r, const struct fkv_kv_store *s, int n_head, float scale, const float *q, size_t ld,
               int n, const int32_t *seen, float *out);

void vk_score(struct fkv_run *r, const struct fkv_kv_store *s, const struct fkv_scoring *how, int n_head,
              const float *q, size_t ld, int n, float *g);
void vk_select(struct fkv_run *r, const float *g, int heads, int n, int window, int sinks, int cap, int32_t *rows);
void vk_select_common(struct fkv_run *r, const float *g, int heads, int n, int window, int sinks, int cap,
                      int32_t *rows);

fkv_status vk_kv_create(struct fkv_backend *b, struct fkv_kv_store **s, int heads, int d, int k_type, int v_type,
                        int capacity, bool whole);
void vk_kv_destroy(struct fkv_kv_store *s);
void vk_kv_assign(struct fkv_kv_store *s, const struct fkv_kv_store *from);
void vk_kv_cut(struct fkv_kv_store *s, int head, int n);
int vk_kv_count(const struct fkv_kv_store *s, int head);
uint64_t vk_kv_bytes(const struct fkv_kv_store *s);
void vk_kv_append(struct fkv_run *r, struct fkv_kv_store *s, const float *k, const float *v, size_t ld, int n);
void vk_retain(struct fkv_run *r, struct fkv_kv_store *to, const struct fkv_kv_store *from, const int32_t *rows, int n);

#endif
