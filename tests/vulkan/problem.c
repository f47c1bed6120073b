#include "vulkan/problem.h"

#include <stdlib.h>
#include <string.h>

int problem_capacity(const struct fkv_kv_shape *shape)
{
    enum { SPARE = 64 }; /* what stores round up to */
    const int fit = (PLAIN_ENTRIES + SPARE) * 64 / ((shape->d + 31) / 32 * 32) - SPARE;
    return fit < PLAIN_ENTRIES ? fit : PLAIN_ENTRIES;
}

void problem_create(struct problem *p, struct fkv_kv_shape shape)
{
    *p = (struct problem){.shape = shape, .plain = plain_create(shape.heads, shape.d)};
    for (int i = 0; i < N_SIDES; i++)
        assert_int_equal(side(i)->ops->kv_create(side(i), &p->on[i], &shape, problem_capacity(&shape), false), FKV_OK);
}

void problem_destroy(struct problem *p)
{
    for (int i = 0; i < N_SIDES; i++) side(i)->ops->kv_destroy(p->on[i]);
    plain_destroy(p->plain);
}

/* ---- appending ------------------------------------------------------------------------------- */

struct append {
    struct fkv_kv_store *s;
    struct fkv_tensor k, v;
    size_t ld;
    const int32_t *pos;
    int n;
};

static void run_append(struct fkv_run *r, void *arg)
{
    const struct append *a = arg;
    r->b->ops->kv_append(r, &a->s, a->k, a->v, a->ld, &(struct fkv_rows){.n = a->n, .pos = a->pos});
}

static float *random_elements(size_t n)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)((int)(random_bits() >> 8 & 255) - 128) / 128;
    return x;
}

void problem_append(struct problem *p, int n, bool gaps)
{
    const size_t ld = (size_t)(p->shape.heads * p->shape.d), all = (size_t)n * ld;
    float *k = random_elements(all), *v = random_elements(all);
    int32_t *pos = malloc((size_t)n * sizeof *pos);
    for (int i = 0; i < n; i++) {
        pos[i] = p->next;
        p->next += gaps ? 1 + (int32_t)(random_bits() % 3) : 1;
    }
    plain_append(p->plain, k, v, pos, n);
    for (int i = 0; i < N_SIDES; i++) {
        const struct fkv_tensor sk = side_floats(i, k, all), sv = side_floats(i, v, all);
        for (int row = 0, here; row < n; row += here) {
            here = row == 0 ? 1 : n - row < 100 ? n - row : 100;
            const size_t at = (size_t)row * ld;
            side_reserve(i, p->on[i], here, pos[row + here - 1]);
            struct append a = {p->on[i], fkv_tensor_from(sk, at), fkv_tensor_from(sv, at), ld, pos + row, here};
            on_side(i, run_append, &a);
        }
        side_free(i, sk, all);
        side_free(i, sv, all);
    }
    free(k);
    free(v);
    free(pos);
}

/* ---- retaining ------------------------------------------------------------------------------- */

struct retain {
    struct fkv_kv_store *to;
    const struct fkv_kv_store *from;
    const struct fkv_choice *c;
};

static void run_retain(struct fkv_run *r, void *arg)
{
    const struct retain *a = arg;
    r->b->ops->retain(r, a->to, a->from, a->c);
}

void random_choice(int heads, int n, int32_t *count, int32_t *rows)
{
    for (int h = 0; h < heads; h++) {
        const uint32_t share = random_bits() % 8 + 1;
        count[h] = 0;
        for (int i = 0; i < n; i++)
            if (random_bits() % 8 < share) rows[count[h]++] = i;
        rows += count[h];
    }
}

void problem_fill(struct problem *p, struct fkv_kv_shape shape, int before, int n, bool gaps)
{
    struct problem kept;
    int32_t count[PLAIN_HEADS], *rows = malloc((size_t)(shape.heads * before + 1) * sizeof *rows);
    problem_create(p, shape);
    problem_create(&kept, shape);
    if (before > 0) {
        problem_append(p, before, gaps);
        random_choice(shape.heads, before, count, rows);
        plain_retain(kept.plain, p->plain, count, rows);
        plain_cut(p->plain, 0);
        plain_retain(p->plain, kept.plain, NULL, NULL);
    }
    plain_rebase(p->plain);
    for (int i = 0; i < N_SIDES; i++) {
        if (before > 0) {
            struct fkv_choice *c = side_choice(i, shape.heads, before);
            struct retain a = {kept.on[i], p->on[i], c};
            side(i)->ops->choice_write(c, shape.heads, count, rows);
            side_reserve(i, kept.on[i], before, p->next - 1);
            on_side(i, run_retain, &a);
            side(i)->ops->choice_destroy(c);
        }
        side_reserve(i, p->on[i], before, p->next - 1);
        side(i)->ops->kv_assign(p->on[i], kept.on[i]);
    }
    free(rows);
    problem_destroy(&kept);
    if (n > 0) problem_append(p, n, gaps);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static float element(int type, const uint8_t *at)
{
    float f;
    fkv_f16 half;
    fkv_bf16 brain;
    memcpy(&half, at, sizeof half);
    memcpy(&brain, at, sizeof brain);
    if (type != FKV_ELEM_F32) return type == FKV_ELEM_F16 ? fkv_f32_from_f16(half) : fkv_f32_from_bf16(brain);
    memcpy(&f, at, sizeof f);
    return f;
}

static void assert_entries(int i, struct problem *p, int h, bool keys)
{
    const struct plain_head *head = &p->plain->head[h];
    const int type = keys ? p->shape.k_type : p->shape.v_type, d = p->shape.d;
    const size_t bytes = type == FKV_ELEM_F32 ? 4 : 2;
    uint8_t *got = malloc((size_t)head->n * (size_t)d * bytes + 1);
    const float *want = keys ? head->k : head->v;
    side(i)->ops->kv_export(p->on[i], h, keys, 0, head->n, got);
    for (int e = 0; e < head->n * d; e++) assert_true(element(type, got + (size_t)e * bytes) == want[e]);
    free(got);
}

void problem_assert_same(struct problem *p)
{
    for (int i = 0; i < N_SIDES; i++)
        for (int h = 0; h < p->shape.heads; h++) {
            const struct plain_head *head = &p->plain->head[h];
            assert_int_equal(side(i)->ops->kv_count(p->on[i], h), head->n);
            if (head->n == 0) continue;
            assert_memory_equal(side(i)->ops->kv_positions(p->on[i], h), head->pos,
                                (size_t)head->n * sizeof *head->pos);
            if (p->shape.k_type != FKV_ELEM_Q8_0) assert_entries(i, p, h, true);
            if (p->shape.v_type != FKV_ELEM_Q8_0) assert_entries(i, p, h, false);
        }
}
