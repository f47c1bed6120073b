/* problem.h: the same random store on every side and in plain arrays. */
#ifndef FKV_TESTS_VULKAN_PROBLEM_H
#define FKV_TESTS_VULKAN_PROBLEM_H

#include "vulkan/plain.h"
#include "vulkan/support.h"

struct problem {
    struct fkv_kv_shape shape;
    struct plain_store *plain;
    struct fkv_kv_store *on[N_SIDES];
    int32_t next; /* position of the next row */
};

/* Entries of a store of that shape that fit on every device: a binding sees a head of them where it is capped. */
int problem_capacity(const struct fkv_kv_shape *shape);
void problem_create(struct problem *p, struct fkv_kv_shape shape);
void problem_destroy(struct problem *p);
/* Appends n random rows, at positions that follow each other or (gaps) leave some out, in parts. Values are halves and
   brain floats too. */
void problem_append(struct problem *p, int n, bool gaps);
/* A store whose heads have kept other entries and numbers of them of `before` rows, at random (gaps: of positions too),
   which are the base of n more. */
void problem_fill(struct problem *p, struct fkv_kv_shape shape, int before, int n, bool gaps);
/* Positions, counts and exported entries are those of the plain store on every side. */
void problem_assert_same(struct problem *p);
/* Rows count[heads] at random of n for every head, ascending, one list after the other. */
void random_choice(int heads, int n, int32_t *count, int32_t *rows);

#endif
