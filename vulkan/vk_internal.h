/* vk_internal.h: what the files of the Vulkan back end share. Operations record dispatches; only `read`,
   `wait`, what the host reads of choices and stores, and what takes memory back wait for the device. */
#ifndef FKV_VULKAN_VK_INTERNAL_H
#define FKV_VULKAN_VK_INTERNAL_H

#include <assert.h>

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

/* Memory for activations, norms and biases: what a tensor's buffer is. */
struct fkv_buffer {
    struct fkv_buffer *next; /* all of the back end */
    struct vk_slice slice;
};

struct vk_backend {
    struct fkv_backend base;
    struct vk_context c;
    int max_cols;
    struct vk_weight *weights;
    struct fkv_buffer *buffers;
    struct vk_slice normed; /* [block_rows][max_cols]: a product's input, normalised */
    struct vk_slice x_halves,
        w_halves; /* where products multiply halves: a product's input; rows of weights, of which halves_used bytes were
                     taken */
    uint64_t halves_used;

    /* Scratch: see vk_prepare(). */
    struct fkv_extent extent;
    struct vk_slice part;        /* attention of the rows of a step: [n_head][pieces][d + 2] of each */
    struct vk_slice logits;      /* scores: [logit_heads][window][n_entries] */
    struct vk_slice stats, sums; /* [logit_heads][window][3]; [n_head][n_entries] */
    struct vk_slice total;       /* the scores of all heads added: [n_entries] */
    struct vk_slice work;        /* top_k: see the shader */
    int logit_heads;
};

/* Keys and values of one layer: per head, `room` entries as shaders/kv.glsl lays them out, and their positions. */
enum { VK_K, VK_V };
struct fkv_kv_store {
    struct vk_backend *b;
    int heads, d, capacity, room;
    int type[2];               /* enum fkv_kv_elem, of K and V */
    struct vk_slice memory[2]; /* [heads][room][entry] */
    struct vk_slice positions; /* [heads][room] */
    int *n, *base;             /* [heads] entries; those that were there before this prefill */
    int32_t last;              /* no entry is at a position above it */
    int32_t *read;             /* [heads][capacity] the positions, as the host has read them: */
    bool is_read;              /* they are the store's */
    size_t read_bytes;
};

/* Rows chosen of those of a prefill, on the device; of the host are their numbers, and the rows when it has read
   them. */
enum { VK_COPY_LISTS = 3 }; /* lists of kv_copy, a word per head: see the shader */
struct fkv_choice {
    struct vk_backend *b;
    int lists, n;
    struct vk_slice memory; /* VK_COPY_LISTS [heads of the store], which end where the rows begin; [lists][n] rows */
    int32_t *count, *rows;  /* [lists], [lists][n] */
    bool is_read;
    size_t bytes; /* of the host's */
};

/* The rows of a choice's lists from `list` on. */
static inline struct vk_slice vk_choice_rows(const struct fkv_choice *c, int list)
{
    const uint64_t begin = ((uint64_t)(VK_COPY_LISTS * c->lists) + (uint64_t)list * (uint64_t)c->n) * 4;
    return (struct vk_slice){c->memory.buffer, c->memory.offset + begin, c->memory.bytes - begin};
}

/* The lists of kv_copy for a store of so many heads, and the rows after them. */
static inline struct vk_slice vk_copy_lists(const struct fkv_choice *c, int heads)
{
    const uint64_t begin = (uint64_t)(VK_COPY_LISTS * (c->lists - heads)) * 4;
    return (struct vk_slice){c->memory.buffer, c->memory.offset + begin, c->memory.bytes - begin};
}

enum { VK_MAX_HEADS = 1024 };  /* KV heads: the model loader takes no more */
enum { VK_BLOCK_ROWS = 2048 }; /* most rows of one product or attention: they fill a large GPU */
enum { VK_FEW_ROWS = 8 };      /* rows that are faster multiplied one by one than in tiles */
enum { VK_PIECE = 256 };       /* entries of one piece of attention of one row */

static inline struct vk_backend *vk_of(struct fkv_run *r) { return (struct vk_backend *)r->b; }
/* n values of a tensor. */
static inline struct vk_slice vk_values(struct fkv_tensor x, size_t n)
{
    assert(x.buffer && (x.at + n) * sizeof(float) <= x.buffer->slice.bytes);
    return (struct vk_slice){x.buffer->slice.buffer, x.buffer->slice.offset + x.at * sizeof(float), n * sizeof(float)};
}
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
/* K or V from head `head` on, of n heads; their positions. */
struct vk_slice vk_kv_heads(const struct fkv_kv_store *s, int which, int head, int n);
struct vk_slice vk_positions_of(const struct fkv_kv_store *s, int head, int n);
int vk_longest(const struct fkv_kv_store *s);

/* Memory for n floats. NULL when there is none. */
struct fkv_buffer *vk_buffer_create(struct vk_backend *b, size_t n);
void vk_write_slice(struct vk_context *c, struct vk_slice to, const void *from);

/* The operations. */
#define OP(result, name, args) result vk_##name args;
#include "backend/ops.def"
/* Not there: models that need it are refused by fkv_model_runs_on(). */
#define vk_mixture NULL

#endif
