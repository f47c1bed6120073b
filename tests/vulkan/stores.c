/* Stores: what they hold after every operation, their bytes, and their entries from store to store. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "vulkan/cases.h"
#include "vulkan/problem.h"
#include "vulkan/vk_internal.h"

static const struct fkv_kv_shape halves = {3, 64, FKV_ELEM_F16, FKV_ELEM_F16},
                                 odd = {2, 80, FKV_ELEM_F32, FKV_ELEM_BF16},
                                 bytes_of_keys = {2, 96, FKV_ELEM_Q8_0, FKV_ELEM_F16};

void check_kv_create(void **state)
{
    (void)state;
    for (int i = 0; i < N_SIDES; i++)
        for (int whole = 0; whole < 2; whole++) {
            struct fkv_kv_store *s = NULL;
            assert_int_equal(side(i)->ops->kv_create(side(i), &s, &odd, 300, whole), FKV_OK);
            for (int h = 0; h < odd.heads; h++) assert_int_equal(side(i)->ops->kv_count(s, h), 0);
            assert_int_equal(side(i)->ops->kv_bytes(s), 0);
            side(i)->ops->kv_destroy(s);
        }
}

void check_kv_destroy(void **state)
{
    (void)state;
    for (int i = 0; i < N_SIDES; i++) {
        const uint64_t left = side(i)->ops->bytes_left(side(i));
        struct fkv_kv_store *s = NULL;
        side(i)->ops->kv_destroy(NULL);
        assert_int_equal(side(i)->ops->kv_create(side(i), &s, &halves, 300, true), FKV_OK);
        side(i)->ops->kv_destroy(s);
        assert_int_equal(side(i)->ops->kv_create(side(i), &s, &halves, 300, true), FKV_OK);
        side(i)->ops->kv_destroy(s);
        if (i != SIDE_CPU) assert_true(side(i)->ops->bytes_left(side(i)) + (64 << 20) >= left);
    }
}

void check_kv_count(void **state)
{
    struct problem p;
    (void)state;
    seed(31);
    problem_fill(&p, halves, 60, 5, true);
    assert_true(p.plain->head[0].n != p.plain->head[1].n || p.plain->head[1].n != p.plain->head[2].n);
    problem_assert_same(&p);
    problem_destroy(&p);
}

static uint64_t used(const struct fkv_backend *b) { return vk_memory_used(&((const struct vk_backend *)b)->c); }

/* A device's room is for tokens to come, too, but for none behind the last position. */
static void check_room(int i)
{
    enum { FIRST = 40, CAPACITY = 400 };
    const struct fkv_ops *ops = side(i)->ops;
    struct fkv_kv_store *s = NULL, *last = NULL;
    const uint64_t before = used(side(i));
    assert_int_equal(ops->kv_create(side(i), &s, &halves, CAPACITY, false), FKV_OK);
    side_reserve(i, s, FIRST, FIRST - 1);
    const uint64_t one = used(side(i));
    side_reserve(i, s, CAPACITY, CAPACITY - 1);
    assert_int_equal(used(side(i)), one);
    assert_int_equal(ops->kv_create(side(i), &last, &halves, CAPACITY, false), FKV_OK);
    side_reserve(i, last, FIRST, CAPACITY - 1);
    assert_true(used(side(i)) - one < (one - before) / 4);
    ops->kv_destroy(s);
    ops->kv_destroy(last);
    assert_int_equal(used(side(i)), before);
}

/* Room that is not to be had leaves the store as it was, and the back end well. */
static void check_no_room(void)
{
    enum { N = 40, CAPACITY = 500, D = 128 };
    const struct fkv_kv_shape wide = {64, D, FKV_ELEM_F32, FKV_ELEM_F32};
    struct fkv_backend *b = NULL;
    struct fkv_kv_store *s = NULL;
    struct fkv_error e = {""};
    float *x = random_floats(2 * N * D), got[2 * N * D];
    int32_t pos[2 * N];
    for (int i = 0; i < 2 * N; i++) pos[i] = i;
    setenv("FASTKV_VULKAN_MEMORY", "16777216", 1);
    assert_int_equal(sides_again(&b, &e), FKV_OK);
    unsetenv("FASTKV_VULKAN_MEMORY");
    assert_int_equal(b->ops->kv_create(b, &s, &wide, CAPACITY, false), FKV_OK);
    for (int i = 0; i < 2 * N; i += N) {
        assert_int_equal(b->ops->kv_reserve(s, N, i + N - 1), FKV_OK);
        b->ops->kv_import(s, 63, pos + i, x + i * D, x + i * D, N);
        assert_int_equal(b->ops->kv_reserve(s, CAPACITY - 2 * N, CAPACITY - 1), FKV_ERROR_MEMORY);
        assert_int_equal(b->ops->wait(b), FKV_OK);
    }
    b->ops->kv_export(s, 63, true, 0, 2 * N, got);
    assert_memory_equal(got, x, sizeof got);
    assert_memory_equal(b->ops->kv_positions(s, 63), pos, sizeof pos);
    b->ops->kv_destroy(s);
    b->ops->destroy(b);
    free(x);
}

void check_kv_reserve(void **state)
{
    struct fkv_kv_store *s = NULL;
    (void)state;
    seed(41);
    assert_int_equal(side(SIDE_CPU)->ops->kv_create(side(SIDE_CPU), &s, &halves, 10, false), FKV_OK);
    side_reserve(SIDE_CPU, s, 10, 9);
    side(SIDE_CPU)->ops->kv_destroy(s);
    check_room(SIDE_CHECK);
    check_room(SIDE_FAST);
    check_no_room();
}

/* The base is what was assigned; what is retained comes from behind it. */
void check_kv_assign(void **state)
{
    struct problem p;
    (void)state;
    seed(32);
    problem_fill(&p, odd, 200, 40, true);
    problem_assert_same(&p);
    for (int i = 0; i < N_SIDES; i++) side(i)->ops->kv_assign(p.on[i], NULL);
    plain_cut(p.plain, 0);
    problem_assert_same(&p);
    problem_destroy(&p);
}

static void cut(struct problem *p, int32_t pos)
{
    plain_cut(p->plain, pos);
    for (int i = 0; i < N_SIDES; i++) side(i)->ops->kv_cut(p->on[i], pos);
    problem_assert_same(p);
}

void check_kv_cut(void **state)
{
    struct problem p;
    (void)state;
    seed(33);
    problem_fill(&p, halves, 300, 50, true);
    cut(&p, p.next);     /* nothing */
    cut(&p, p.next - 7); /* the latest */
    problem_append(&p, 20, true);
    cut(&p, 250); /* within what was retained */
    problem_append(&p, 70, false);
    problem_assert_same(&p);
    cut(&p, 0);
    problem_append(&p, 3, false);
    problem_assert_same(&p);
    problem_destroy(&p);
}

/* It grows by single tokens, and gives up nothing. */
void check_kv_positions(void **state)
{
    struct problem p;
    (void)state;
    seed(34);
    problem_fill(&p, halves, 100, 1, true);
    for (int i = 0; i < 5; i++) {
        problem_append(&p, 1, true);
        problem_assert_same(&p);
    }
    problem_append(&p, 400, false);
    problem_assert_same(&p);
    problem_destroy(&p);
}

void check_kv_bytes(void **state)
{
    struct problem p;
    (void)state;
    seed(35);
    problem_fill(&p, halves, 0, 33, false);
    for (int i = 0; i < N_SIDES; i++)
        assert_int_equal(side(i)->ops->kv_bytes(p.on[i]), 3 * ((33 + FKV_TILE - 1) / FKV_TILE * FKV_TILE) * 64 * 2 * 2);
    problem_destroy(&p);
}

void check_kv_bytes_of(void **state)
{
    struct problem p;
    (void)state;
    seed(36);
    problem_fill(&p, bytes_of_keys, 0, 77, false);
    for (int i = 0; i < N_SIDES; i++)
        assert_int_equal(side(i)->ops->kv_bytes_of(side(i), &bytes_of_keys, 77), side(i)->ops->kv_bytes(p.on[i]));
    problem_destroy(&p);
}

/* Each goes its own way. */
void check_kv_fork(void **state)
{
    struct problem p, child;
    (void)state;
    seed(37);
    problem_fill(&p, odd, 400, 30, true);
    for (int32_t pos = 0; pos <= p.next + 2; pos += p.next / 3 + 1) {
        problem_create(&child, odd);
        plain_retain(child.plain, p.plain, NULL, NULL);
        for (int h = 0; h < odd.heads; h++) { /* the base too */
            struct plain_head *to = &child.plain->head[h];
            const struct plain_head *from = &p.plain->head[h];
            to->n = from->n;
            memcpy(to->pos, from->pos, sizeof to->pos);
            memcpy(to->k, from->k, (size_t)(to->n * odd.d) * sizeof *to->k);
            memcpy(to->v, from->v, (size_t)(to->n * odd.d) * sizeof *to->v);
        }
        plain_cut(child.plain, pos);
        child.next = pos;
        for (int i = 0; i < N_SIDES; i++) {
            side(i)->ops->kv_destroy(child.on[i]);
            assert_int_equal(side(i)->ops->kv_fork(p.on[i], pos, &child.on[i]), FKV_OK);
        }
        problem_assert_same(&child);
        problem_append(&child, 10, false);
        problem_append(&p, 5, false);
        problem_assert_same(&child);
        problem_assert_same(&p);
        problem_destroy(&child);
    }
    problem_destroy(&p);
}

/* ---- in canonical form ----------------------------------------------------------------------- */

/* All sides give the same bytes, of any range. */
static void check_exported(struct fkv_kv_shape shape)
{
    struct problem p;
    uint8_t *got[2] = {malloc(400 * 4 * 96), malloc(400 * 4 * 96)};
    problem_fill(&p, shape, 0, 300, false);
    for (int keys = 0; keys < 2; keys++) {
        const int type = keys ? shape.k_type : shape.v_type;
        const size_t bytes = type == FKV_ELEM_Q8_0 ? (size_t)(shape.d + 31) / 32 * 34
                                                   : (size_t)shape.d * (type == FKV_ELEM_F32 ? 4 : 2);
        side(0)->ops->kv_export(p.on[0], 1, keys, 0, 300, got[0]);
        for (int i = 1; i < N_SIDES; i++) {
            side(i)->ops->kv_export(p.on[i], 1, keys, 0, 300, got[1]);
            assert_memory_equal(got[0], got[1], 300 * bytes);
            side(i)->ops->kv_export(p.on[i], 1, keys, 17, 40, got[1]);
            assert_memory_equal(got[0] + 17 * bytes, got[1], 40 * bytes);
        }
    }
    free(got[0]);
    free(got[1]);
    problem_destroy(&p);
}

void check_kv_export(void **state)
{
    (void)state;
    seed(38);
    check_exported(halves);
    check_exported(odd);
    check_exported(bytes_of_keys);
}

/* Out of one side's store and into another side's, head by head: entries, positions and what comes after. */
static void check_imported(int i, int j, struct fkv_kv_shape shape)
{
    struct problem p;
    struct fkv_kv_store *s = NULL, *back = NULL;
    uint8_t *k = malloc(600 * 4 * 96), *v = malloc(600 * 4 * 96), *again = malloc(600 * 4 * 96);
    problem_fill(&p, shape, 200, 100, true);
    assert_int_equal(side(j)->ops->kv_create(side(j), &s, &shape, problem_capacity(&shape), false), FKV_OK);
    for (int h = 0; h < shape.heads; h++) {
        const int n = side(i)->ops->kv_count(p.on[i], h), first = n / 3;
        int32_t *pos = malloc((size_t)n * sizeof *pos);
        memcpy(pos, side(i)->ops->kv_positions(p.on[i], h), (size_t)n * sizeof *pos);
        for (int part = 0; part < 2; part++) { /* in two pieces */
            const int at = part ? first : 0, here = part ? n - first : first;
            memset(again, 0xff, 600 * 4 * 96);
            side(i)->ops->kv_export(p.on[i], h, true, at, here, k);
            side(i)->ops->kv_export(p.on[i], h, false, at, here, v);
            side_reserve(j, s, here, pos[n - 1]);
            side(j)->ops->kv_import(s, h, pos + at, k, v, here);
            side(j)->ops->kv_export(s, h, true, at, here, again);
            const size_t bytes = shape.k_type == FKV_ELEM_Q8_0
                                     ? (size_t)(shape.d + 31) / 32 * 34
                                     : (size_t)shape.d * (shape.k_type == FKV_ELEM_F32 ? 4 : 2);
            assert_memory_equal(again, k, (size_t)here * bytes);
        }
        assert_memory_equal(side(j)->ops->kv_positions(s, h), pos, (size_t)n * sizeof *pos);
        free(pos);
    }
    back = p.on[j];
    p.on[j] = s;
    problem_append(&p, 40, true);
    problem_assert_same(&p);
    side(j)->ops->kv_destroy(back);
    problem_destroy(&p);
    free(k);
    free(v);
    free(again);
}

void check_kv_import(void **state)
{
    (void)state;
    seed(39);
    for (int i = 0; i < N_SIDES; i++)
        for (int j = 0; j < N_SIDES; j++) check_imported(i, j, i == j ? bytes_of_keys : (i + j) % 2 ? odd : halves);
}

/* ---- from store to store --------------------------------------------------------------------- */

struct chosen {
    struct fkv_kv_store *to;
    const struct fkv_kv_store *from;
    struct fkv_choice *c, *other;
    struct fkv_tensor g;
    int heads;
    struct fkv_selection how;
};

/* A choice that lies on the device, another one after it, and the first one's retention, in one region. */
static void run_chosen(struct fkv_run *r, void *arg)
{
    const struct chosen *a = arg;
    const struct fkv_ops *ops = r->b->ops;
    struct fkv_selection other = a->how;
    other.spread = FKV_SPREAD_COMMON;
    other.keep--;
    ops->select(r, a->g, a->heads, &a->how, a->c);
    ops->select(r, a->g, a->heads, &other, a->other);
    ops->retain(r, a->to, a->from, a->c);
}

static void run_retained(struct fkv_run *r, void *arg)
{
    const struct chosen *a = arg;
    r->b->ops->retain(r, a->to, a->from, a->c);
}

/* By select, by unequal counts of the host's, and all of them, to one store of another type that has entries. Choices
   have room for more lists than these stores have heads: other layers have more. */
static void check_retained(struct fkv_kv_shape from, struct fkv_kv_shape to)
{
    enum { N = 300 };
    const struct fkv_selection how = {.n = N, .window = 8, .sinks = 2, .keep = 70};
    const size_t scored = N - 8, n = (size_t)from.heads * scored;
    struct problem work, kept;
    float *g = random_floats(n);
    int32_t *rows = malloc((size_t)(from.heads * N) * sizeof *rows), count[PLAIN_HEADS];
    problem_fill(&work, from, 90, N, true);
    problem_fill(&kept, to, 5, 2, false);
    work.next += 0;
    for (int i = 0; i < N_SIDES; i++) {
        struct chosen a =
            {kept.on[i], work.on[i], side_choice(i, from.heads + 2, N), side_choice(i, 1, N), side_floats(i, g, n),
             from.heads, how};
        side_reserve(i, a.to, how.keep, kept.next + N);
        on_side(i, run_chosen, &a);
        int32_t *at = rows;
        for (int h = 0; h < from.heads; h++, at += count[h - 1]) {
            count[h] = side(i)->ops->choice_count(a.c, h);
            memcpy(at, side(i)->ops->choice_read(a.c, h), (size_t)count[h] * sizeof *at);
        }
        if (i == 0) plain_retain(kept.plain, work.plain, count, rows);
        side(i)->ops->choice_destroy(a.c);
        side(i)->ops->choice_destroy(a.other);
        side_free(i, a.g, n);
    }
    problem_assert_same(&kept);
    random_choice(from.heads, N, count, rows);
    plain_retain(kept.plain, work.plain, count, rows);
    plain_retain(kept.plain, work.plain, NULL, NULL);
    for (int i = 0; i < N_SIDES; i++) {
        struct chosen a = {.to = kept.on[i], .from = work.on[i], .c = side_choice(i, from.heads + 1, N)};
        struct fkv_choice *made = a.c;
        side(i)->ops->choice_write(a.c, from.heads, count, rows);
        side_reserve(i, a.to, 2 * N, kept.next + 2 * N);
        on_side(i, run_retained, &a);
        a.c = NULL;
        on_side(i, run_retained, &a);
        side(i)->ops->choice_destroy(made);
    }
    problem_assert_same(&kept);
    free(g);
    free(rows);
    problem_destroy(&work);
    problem_destroy(&kept);
}

void check_retain(void **state)
{
    (void)state;
    seed(40);
    check_retained(halves, halves);
    check_retained(odd, (struct fkv_kv_shape){2, 80, FKV_ELEM_F16, FKV_ELEM_F32});
    check_retained((struct fkv_kv_shape){2, 96, FKV_ELEM_F16, FKV_ELEM_F16}, bytes_of_keys);
}
