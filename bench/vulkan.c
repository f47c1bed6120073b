/* What the Vulkan back end asks of a device, beside what the device gives: vulkan MODEL [TOKENS [times]]. Operations
   and bytes of every shader are counted in a dry run of a prompt and of one token after it, with full attention and
   with FastKV; copy bandwidth and fp32 rate are measured, and two products beside the CPU back end in plain C on the
   same cores. `times` runs the prompt in earnest too and prints the device's time in each shader. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "vulkan/vk_internal.h"

enum { ROWS = 512, COLS = 1024, REPETITIONS = 5 };

static void fail(const char *text)
{
    fprintf(stderr, "%s\n", text);
    exit(1);
}

/* ---- counts ---------------------------------------------------------------------------------- */

struct counts {
    struct vk_count prompt[VK_MAX_COUNTS], token[VK_MAX_COUNTS];
};

static void take(struct vk_context *c, struct vk_count to[VK_MAX_COUNTS])
{
    memcpy(to, c->count, sizeof c->count);
    memset(c->count, 0, sizeof c->count);
}

/* A prompt and a token after it. dry: counted only; else the device's times are noted too. */
static void run(fkv_engine *e, const char *policy, bool dry, const int32_t *ids, int n, struct counts *counts)
{
    struct fkv_session_params p = FKV_SESSION_PARAMS_INIT;
    struct vk_context *c = &((struct vk_backend *)e->ws.place[0].b)->c;
    fkv_session *s = NULL;
    char err[FKV_ERROR_BYTES];
    p.n_ctx = n + 1;
    p.kv.policy = policy;
    p.kv.kv_floor = dry ? p.kv.kv_floor : 0;
    p.kv.tsp_floor = dry ? p.kv.tsp_floor : 0;
    if (fkv_session_open(&s, e, &p, err) != FKV_OK) fail(err);
    c->dry = dry;
    c->timed = !dry;
    take(c, counts->prompt);
    if (fkv_session_sync(s, ids, (size_t)n) != FKV_OK) fail(fkv_session_error(s));
    take(c, counts->prompt);
    if (fkv_session_append(s, ids[0]) != FKV_OK) fail(fkv_session_error(s));
    take(c, counts->token);
    fkv_session_close(s);
    c->dry = c->timed = false;
}

static void print_row(const char *name, const struct vk_count *full, const struct vk_count *fast, double prompt,
                      double unit_work, double unit_bytes)
{
    if (full->dispatches + fast->dispatches == 0) return;
    printf("| %s | %.3f | %.3f | %.3f | %.3f |\n", name, full->work / prompt / unit_work,
           full->bytes / prompt / unit_bytes, fast->work / prompt / unit_work, fast->bytes / prompt / unit_bytes);
}

static void print_counts(const char *title, const struct vk_count *full, const struct vk_count *fast, double per)
{
    struct vk_count all[2] = {{0}};
    printf("\n%s\n\n| shader | full: M operations | MB | FastKV: M operations | MB |\n|---|---:|---:|---:|---:|\n",
           title);
    for (int i = 0; i < VK_N_SHADERS; i++) {
        print_row(vk_shader_name((enum vk_shader)i), &full[i], &fast[i], per, 1e6, 1e6);
        const struct vk_count *of[2] = {&full[i], &fast[i]};
        for (int j = 0; j < 2; j++) {
            all[j].dispatches += of[j]->dispatches;
            all[j].work += of[j]->work;
            all[j].bytes += of[j]->bytes;
        }
    }
    print_row("all", &all[0], &all[1], per, 1e6, 1e6);
    printf("\nFull attention asks for %.2f times the operations and %.2f times the bytes of FastKV; dispatches: %llu "
           "and %llu.\n",
           all[0].work / all[1].work, all[0].bytes / all[1].bytes, (unsigned long long)all[0].dispatches,
           (unsigned long long)all[1].dispatches);
}

static void print_times(const char *title, const struct vk_count counts[VK_MAX_COUNTS])
{
    double all = 0;
    printf("\n%s\n\n| shader | dispatches | ms | GFLOP/s | GB/s |\n|---|---:|---:|---:|---:|\n", title);
    for (int i = 0; i < VK_N_SHADERS; i++) {
        const struct vk_count *n = &counts[i];
        if (n->dispatches == 0) continue;
        printf("| %s | %llu | %.3f | %.0f | %.0f |\n", vk_shader_name((enum vk_shader)i),
               (unsigned long long)n->dispatches, 1e3 * n->seconds, 2e-9 * n->work / n->seconds,
               1e-9 * n->bytes / n->seconds);
        all += n->seconds;
    }
    printf("| all | | %.3f | | |\n", 1e3 * all);
}

/* ---- rates ----------------------------------------------------------------------------------- */

/* Best of some runs of one copy (bytes read and written) or of the shader `peak`, in seconds. */
static double best_s(struct vk_context *c, const struct vk_call *call, struct vk_slice from, struct vk_slice to)
{
    double best = 1e9;
    for (int i = 0; i < REPETITIONS; i++) {
        if (!vk_enter(c, 0)) fail(c->error.text);
        vk_finish(c);
        const double t0 = fkv_clock_s();
        if (call)
            vk_dispatch(c, call);
        else
            vk_copy(c, from.buffer, to.buffer, &(VkBufferCopy){from.offset, to.offset, from.bytes}, 1);
        vk_finish(c);
        const double s = fkv_clock_s() - t0;
        vk_leave(c);
        if (s < best) best = s;
    }
    return best;
}

static void print_device(struct vk_context *c)
{
    const uint64_t bytes = 64 << 20, groups = 512;
    struct vk_slice a = {0}, b = {0};
    const float factor = 0.5f;
    if (!vk_slice_alloc(c, bytes, &a) || !vk_slice_alloc(c, bytes, &b)) fail("no memory to copy");
    const struct vk_call call = {VK_SHADER_peak, {0},    {vk_first(a, groups * 256)},    &factor,
                                 sizeof factor,  groups, (double)groups * 256 * 256 * 64};
    const double copy = best_s(c, NULL, a, b), peak = best_s(c, &call, a, b);
    printf("%s: copies %.1f GB/s (read and written), fp32 %.1f GFLOP/s\n", c->properties.deviceName,
           2e-9 * (double)bytes / copy, 2e-9 * call.work / peak);
    vk_slice_free(c, &a);
    vk_slice_free(c, &b);
}

struct product {
    struct fkv_backend *b;
    struct fkv_weight w;
    struct fkv_tensor x, y;
    int n;
};

static void product_region(void *arg, int thread)
{
    const struct product *t = arg;
    double stage_s[FKV_N_STAGES] = {0};
    struct fkv_run r = {t->b, thread, stage_s};
    t->b->ops->product(&r, &(struct fkv_input){.x = t->x, .ld = COLS, .n = t->n},
                       &(struct fkv_output){.w = &t->w, .y = t->y, .ld = ROWS}, 1);
}

/* GFLOP/s of n rows times a Q8_0 matrix. */
static double product_rate(struct fkv_backend *b, const void *weight, const float *x, int n)
{
    struct product t =
        {.b = b,
         .w = {.data = weight, .stride = COLS / 32 * 34, .type = FKV_TYPE_Q8_0, .rows = ROWS, .cols = COLS, .n = 1},
         .n = n};
    struct fkv_error e = {""};
    double best = 1e9;
    if (b->ops->load_weight(b, &t.w, "bench", &e) != FKV_OK ||
        b->ops->alloc(b, &t.x, (size_t)n * COLS, true) != FKV_OK ||
        b->ops->alloc(b, &t.y, (size_t)n * ROWS, true) != FKV_OK)
        fail("no memory for a product");
    b->ops->write(b, t.x, x, (size_t)n * COLS);
    for (int i = 0; i < (n == 1 ? 100 : 2) * REPETITIONS; i++) {
        const double t0 = fkv_clock_s();
        fkv_team_run(b->team, product_region, &t);
        if (b->ops->wait(b) != FKV_OK) fail(b->error.text);
        const double s = fkv_clock_s() - t0;
        if (s < best) best = s;
    }
    b->ops->free(b, t.x, (size_t)n * COLS);
    b->ops->free(b, t.y, (size_t)n * ROWS);
    return 2e-9 * n * ROWS * COLS / best;
}

static void print_products(struct fkv_backend *gpu)
{
    static uint8_t weight[ROWS * COLS / 32 * 34];
    static float x[128 * COLS];
    struct fkv_backend *cpu = NULL;
    struct fkv_error e;
    for (size_t i = 0; i < sizeof weight; i++) weight[i] = (uint8_t)(i % 34 == 0 ? 0 : i % 34 == 1 ? 0x1c : i * 37);
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)(i % 251) / 251 - 0.5f;
    if (fkv_cpu_backend_create(&cpu, 0, "reference", false, false, COLS, &e) != FKV_OK) fail(e.text);
    printf("\n| Q8_0 %d x %d, GFLOP/s | device | CPU, plain C, %d threads | share |\n|---|---:|---:|---:|\n", ROWS,
           COLS, fkv_team_size(cpu->team));
    for (int n = 1; n <= 128; n *= 128) {
        const double g = product_rate(gpu, weight, x, n), c = product_rate(cpu, weight, x, n);
        printf("| %d row%s | %.2f | %.2f | %.0f %% |\n", n, n == 1 ? "" : "s", g, c, 100 * g / c);
    }
    cpu->ops->destroy(cpu);
}

int main(int argc, char **argv)
{
    char err[FKV_ERROR_BYTES];
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    fkv_engine *e = NULL;
    struct counts full, fast;
    if (argc < 2) fail("vulkan MODEL [TOKENS]");
    const int n = argc > 2 ? atoi(argv[2]) : 8192;
    p.device = "vulkan";
    p.gpu_layers = "all";
    if (fkv_engine_open(&e, argv[1], &p, err) != FKV_OK) fail(err);
    if (n < 1 || n >= fkv_engine_info(e)->n_ctx_train) fail("a prompt of that length does not fit the model's context");
    int32_t *ids = calloc((size_t)n, sizeof *ids);
    if (!ids) fail("no memory");
    print_device(&((struct vk_backend *)e->ws.place[0].b)->c);
    print_products(e->ws.place[0].b);
    run(e, "full", true, ids, n, &full);
    run(e, "fastkv", true, ids, n, &fast);
    printf(
        "\n%s, %s, a prompt of %d tokens. Operations are multiply-adds, or values where nothing is multiplied; bytes "
        "are those of the\n"
        "values and weights that a dispatch reads and writes, each once: what a shader reads again is not counted.\n",
        fkv_engine_info(e)->name, fkv_engine_info(e)->quantisation, n);
    print_counts("Per prompt token", full.prompt, fast.prompt, n);
    print_counts("Per token after it", full.token, fast.token, 1);
    if (argc > 3) {
        run(e, "full", false, ids, n, &full); /* makes the pipelines */
        run(e, "full", false, ids, n, &full);
        run(e, "fastkv", false, ids, n, &fast);
        print_times("Full attention, the prompt", full.prompt);
        print_times("Full attention, a token after it", full.token);
        print_times("FastKV with floors 0, the prompt", fast.prompt);
        print_times("FastKV with floors 0, a token after it", fast.token);
    }
    free(ids);
    fkv_engine_close(e);
    return 0;
}
