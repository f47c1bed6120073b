/* Memory, scratch, and waiting. */
#include <stdlib.h>
#include <string.h>

#include "vulkan/cases.h"
#include "vulkan/support.h"

enum { N = 3000 };

/* Pieces that lie side by side do not touch each other. */
void check_alloc(void **state)
{
    (void)state;
    seed(51);
    for (int i = 0; i < N_SIDES; i++) {
        float *x = random_floats(N), *y = random_floats(N), *got = random_floats(N);
        const struct fkv_tensor a = side_floats(i, x, N), b = side_floats(i, y, N);
        assert_true(fkv_tensor_is(a) && fkv_tensor_is(b));
        side_read(i, a, N, got);
        assert_memory_equal(got, x, N * sizeof *x);
        side_read(i, b, N, got);
        assert_memory_equal(got, y, N * sizeof *y);
        side_free(i, a, N);
        side_read(i, b, N, got);
        assert_memory_equal(got, y, N * sizeof *y);
        side_free(i, b, N);
        free(x);
        free(y);
        free(got);
    }
}

/* Memory that was freed is given again: without that, this takes 6 GiB. */
void check_free(void **state)
{
    enum { MANY = 4 << 20 };
    (void)state;
    for (int i = 0; i < N_SIDES; i++)
        for (int j = 0; j < 400; j++) {
            struct fkv_tensor x = {0};
            assert_int_equal(side(i)->ops->alloc(side(i), &x, MANY, false), FKV_OK);
            side(i)->ops->free(side(i), x, MANY);
        }
}

/* A part in the middle. */
void check_write(void **state)
{
    (void)state;
    seed(52);
    for (int i = 0; i < N_SIDES; i++) {
        float *x = random_floats(N), *got = random_floats(N);
        const struct fkv_tensor a = side_floats(i, x, N);
        side(i)->ops->write(side(i), fkv_tensor_from(a, 1001), x, 500);
        memmove(x + 1001, x, 500 * sizeof *x);
        side_read(i, a, N, got);
        assert_memory_equal(got, x, N * sizeof *x);
        side_free(i, a, N);
        free(x);
        free(got);
    }
}

/* More than a download holds at once, from the middle. */
void check_read(void **state)
{
    enum { MANY = 700000 };
    (void)state;
    seed(53);
    for (int i = 0; i < N_SIDES; i++) {
        float *x = random_floats(MANY), *got = malloc(MANY * sizeof *got);
        const struct fkv_tensor a = side_floats(i, x, MANY);
        side_read(i, fkv_tensor_from(a, 17), MANY - 17, got);
        assert_memory_equal(got, x + 17, (MANY - 17) * sizeof *x);
        side_free(i, a, MANY);
        free(x);
        free(got);
    }
}

/* What is discarded can be written again. */
void check_discard(void **state)
{
    float x[4] = {1, 2, 3, 4}, got[4];
    (void)state;
    for (int i = 0; i < N_SIDES; i++) {
        const struct fkv_tensor a = side_floats(i, x, 4);
        side(i)->ops->discard(side(i), a, 4);
        side(i)->ops->write(side(i), a, x, 4);
        side_read(i, a, 4, got);
        assert_memory_equal(got, x, sizeof x);
        side_free(i, a, 4);
    }
}

void check_load_vector(void **state)
{
    static const float x[3] = {1, -2, 0.5f};
    (void)state;
    for (int i = 0; i < N_SIDES; i++) {
        struct fkv_tensor v = {0};
        struct fkv_error e = {""};
        float got[3];
        assert_int_equal(side(i)->ops->load_vector(side(i), &v, x, 3, "norm", &e), FKV_OK);
        side_read(i, v, 3, got);
        assert_memory_equal(got, x, sizeof x);
    }
}

/* What is prepared for stays when less is asked for; more can be. */
void check_prepare(void **state)
{
    (void)state;
    for (int i = 0; i < N_SIDES; i++) {
        const struct fkv_extent less = {10, 1, 32, 1}, more = {MAX_ENTRIES, 8, FKV_MAX_HEAD, 24};
        bool stayed = false;
        for (int tries = 0; tries < 20 && !stayed; tries++) { /* others take memory of the machine meanwhile */
            const uint64_t left = side(i)->ops->bytes_left(side(i));
            assert_int_equal(side(i)->ops->prepare(side(i), &less), FKV_OK);
            stayed = side(i)->ops->bytes_left(side(i)) == left;
        }
        assert_true(stayed);
        assert_int_equal(side(i)->ops->prepare(side(i), &more), FKV_OK);
    }
}

void check_scratch_bytes(void **state)
{
    (void)state;
    for (int i = 0; i < N_SIDES; i++) {
        const struct fkv_extent small = {1000, 4, 64, 8}, large = {2000, 8, 64, 8};
        const struct fkv_bytes s = side(i)->ops->scratch_bytes(side(i), &small),
                               l = side(i)->ops->scratch_bytes(side(i), &large);
        assert_int_equal(s.host == 0, i != SIDE_CPU);
        assert_int_equal(s.device == 0, i == SIDE_CPU);
        assert_true(l.host + l.device > s.host + s.device);
    }
}

void check_bytes_left(void **state)
{
    (void)state;
    for (int i = 0; i < N_SIDES; i++) {
        enum { MANY = 40 << 20 }; /* more than a block holds */
        const uint64_t before = side(i)->ops->bytes_left(side(i));
        struct fkv_tensor x = {0};
        assert_int_equal(side(i)->ops->alloc(side(i), &x, MANY, false), FKV_OK);
        if (i != SIDE_CPU) assert_true(side(i)->ops->bytes_left(side(i)) + MANY * sizeof(float) <= before);
        side(i)->ops->free(side(i), x, MANY);
    }
}

void check_wait(void **state)
{
    (void)state;
    for (int i = 0; i < N_SIDES; i++) {
        assert_int_equal(side(i)->ops->wait(side(i)), FKV_OK);
        assert_string_equal(side(i)->error.text, "");
    }
}

void check_pace(void **state)
{
    float x[4] = {1, 2, 3, 4}, got[4];
    (void)state;
    for (int i = 0; i < N_SIDES; i++) {
        const struct fkv_tensor a = side_floats(i, x, 4);
        assert_int_equal(side(i)->ops->pace(side(i)), FKV_OK);
        side_read(i, a, 4, got);
        assert_memory_equal(got, x, sizeof x);
        side_free(i, a, 4);
    }
}

/* With vectors and memory that nobody freed. */
void check_destroy(void **state)
{
    static const float x[3] = {1, 2, 3};
    struct fkv_backend *b = NULL;
    struct fkv_tensor v, w;
    struct fkv_error e = {""};
    (void)state;
    assert_int_equal(sides_again(&b, &e), FKV_OK);
    assert_int_equal(b->ops->load_vector(b, &v, x, 3, "norm", &e), FKV_OK);
    assert_int_equal(b->ops->alloc(b, &w, 100, false), FKV_OK);
    b->ops->destroy(b);
}
