#include "vulkan/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vulkan/vk_internal.h"

static struct fkv_backend *sides[N_SIDES];

bool sides_open(char why[FKV_ERROR_BYTES])
{
    static const struct fkv_extent most = {MAX_ENTRIES, 8, FKV_MAX_HEAD, 20};
    struct fkv_error e = {""};
    fkv_status status = fkv_cpu_backend_create(&sides[SIDE_CPU], 1, "reference", true, false, MAX_COLS, &e);
    if (status == FKV_OK) status = fkv_vulkan_backend_create(&sides[SIDE_CHECK], "vulkan", true, MAX_COLS, &e);
    if (status == FKV_OK) status = fkv_vulkan_backend_create(&sides[SIDE_FAST], "vulkan", false, MAX_COLS, &e);
    for (int i = 0; i < N_SIDES && status == FKV_OK; i++) status = sides[i]->ops->prepare(sides[i], &most);
    memcpy(why, e.text, FKV_ERROR_BYTES);
    if (status != FKV_OK) sides_close();
    return status == FKV_OK;
}

void sides_close(void)
{
    for (int i = 0; i < N_SIDES; i++) {
        if (sides[i]) sides[i]->ops->destroy(sides[i]);
        sides[i] = NULL;
    }
}

fkv_status sides_again(struct fkv_backend **b, struct fkv_error *e)
{
    return fkv_vulkan_backend_create(b, "vulkan", false, MAX_COLS, e);
}

struct fkv_backend *side(int i) { return sides[i]; }

struct region {
    int side;
    void (*fn)(struct fkv_run *r, void *arg);
    void *arg;
};

static void run_region(void *arg, int thread)
{
    struct region *r = arg;
    double stage_s[FKV_N_STAGES] = {0};
    struct fkv_run run = {sides[r->side], thread, stage_s};
    r->fn(&run, r->arg);
}

void side_check(int i)
{
    if (sides[i]->ops->wait(sides[i]) != FKV_OK) fail_msg("%s", sides[i]->error.text);
}

void on_side(int i, void (*fn)(struct fkv_run *r, void *arg), void *arg)
{
    struct region r = {i, fn, arg};
    fkv_team_run(sides[i]->team, run_region, &r);
    side_check(i);
}

struct fkv_tensor side_floats(int i, const float *x, size_t n)
{
    struct fkv_tensor made = {0};
    if (sides[i]->ops->alloc(sides[i], &made, n, false) != FKV_OK) fail_msg("no memory for %zu floats", n);
    if (x) sides[i]->ops->write(sides[i], made, x, n);
    return made;
}

void side_free(int i, struct fkv_tensor x, size_t n) { sides[i]->ops->free(sides[i], x, n); }

void side_read(int i, struct fkv_tensor x, size_t n, float *to)
{
    const float *there = sides[i]->ops->read(sides[i], x, n, to);
    side_check(i);
    if (there != to) memcpy(to, there, n * sizeof *to);
}

struct fkv_choice *side_choice(int i, int lists, int n)
{
    struct fkv_choice *c = NULL;
    if (sides[i]->ops->choice_create(sides[i], &c, lists, n) != FKV_OK) fail_msg("no memory for a choice");
    return c;
}

void side_reserve(int i, struct fkv_kv_store *s, int n, int32_t last)
{
    if (sides[i]->ops->kv_reserve(s, n, last) != FKV_OK) fail_msg("no memory for %d more entries", n);
}

double rounding_of_product(uint32_t type)
{
    return vk_rounding(&((struct vk_backend *)sides[SIDE_FAST])->c, VK_SHADER_product,
                       (uint32_t[VK_MAX_CONSTANTS]){type});
}

double rounding_of_attend(int k_type, int v_type, int d)
{
    return vk_rounding(&((struct vk_backend *)sides[SIDE_FAST])->c, VK_SHADER_attend,
                       (uint32_t[VK_MAX_CONSTANTS]){(uint32_t)k_type, (uint32_t)v_type, vk_chunks(d)});
}

bool few(void) { return getenv("FKV_TEST_FEW") != NULL; }

static uint32_t state = 1;

void seed(uint32_t s) { state = s * 2654435761u + 1; }

uint32_t random_bits(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

float random_float(void) { return (float)(random_bits() >> 8) / (float)(1 << 23) - 1.0f; }

float *random_floats(size_t n)
{
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) x[i] = random_float();
    return x;
}

void assert_close(const char *what, const float *want, const float *got, size_t n, double share)
{
    double most = 0, top = 0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)want[i] - (double)got[i]);
        top = fmax(top, fabs((double)want[i]));
        if (!(d <= most)) {
            most = d;
            at = i;
        }
    }
    if (!(most <= share * top))
        fail_msg("%s: value %zu of %zu: wanted %g, got %g (largest %g)", what, at, n, (double)want[at], (double)got[at],
                 top);
}
