/* plain.h: a store in plain arrays, what it holds after every operation, and attention over it by the definition: each
   entry is looked at on its own and masked by its position. */
#ifndef FKV_TESTS_VULKAN_PLAIN_H
#define FKV_TESTS_VULKAN_PLAIN_H

#include "backend/backend.h"

enum { PLAIN_HEADS = 4, PLAIN_ENTRIES = 1200 };

struct plain_head {
    int n, base;
    int32_t pos[PLAIN_ENTRIES];
    float *k, *v; /* [PLAIN_ENTRIES][d] */
};

struct plain_store {
    int heads, d;
    struct plain_head head[PLAIN_HEADS];
};

struct plain_store *plain_create(int heads, int d);
void plain_destroy(struct plain_store *s);
/* Rows of K and V, [n][heads * d]. */
void plain_append(struct plain_store *s, const float *k, const float *v, const int32_t *pos, int n);
/* rows: of all heads one after the other, count[heads]; NULL: all behind the base. */
void plain_retain(struct plain_store *to, const struct plain_store *from, const int32_t *count, const int32_t *rows);
/* Its entries become the base. */
void plain_rebase(struct plain_store *s);
void plain_cut(struct plain_store *s, int32_t pos);

/* As the operations of these names have it; sinks: [n_head] or NULL. out: [n][n_head * d], g: [heads][n - window]. */
void plain_attend(const struct plain_store *s, const struct fkv_attention *how, const float *sinks, const float *q,
                  const struct fkv_rows *rows, float *out);
void plain_score(const struct plain_store *s, const struct fkv_attention *how, const float *sinks,
                 const struct fkv_scoring *scoring, const float *q, const struct fkv_rows *window, int n, float *g);

#endif
