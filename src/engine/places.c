/* Where the layers of a model are computed: all on one back end, or the first on a GPU and the rest, for which it has
   no room, on the CPU. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "vulkan/vk_backend.h"

enum { NO_LAYERS = -1 }; /* `auto`: as many as there is room for */

struct fkv_backend *fkv_engine_backend(const fkv_engine *e, int layer)
{
    int i = 0;
    while (e->place[i].end <= layer) i++;
    return e->place[i].b;
}

void fkv_engine_close_places(fkv_engine *e)
{
    for (int i = 0; i < FKV_MAX_PLACES; i++) {
        fkv_block_buffers_destroy(&e->place[i].block);
        if (e->place[i].b) e->place[i].b->ops->destroy(e->place[i].b);
        e->place[i] = (struct fkv_engine_place){0};
    }
    fkv_model_free(e->model);
    e->model = NULL;
    e->n_places = 0;
}

/* ---- how many layers ------------------------------------------------------------------------- */

/* The number that p->gpu_layers asks for, or NO_LAYERS. */
static fkv_status layers_asked(const struct fkv_engine_params *p, int n_layer, int *n, struct fkv_error *e)
{
    const char *text = p->gpu_layers ? p->gpu_layers : "auto";
    const bool gpu = p->device && strcmp(p->device, "cpu") != 0;
    char *end;
    const long asked = strtol(text, &end, 10);
    *n = NO_LAYERS;
    if (strcmp(text, "auto") == 0) return FKV_OK;
    if (strcmp(text, "all") == 0)
        *n = n_layer;
    else if (end == text || *end || asked < 0)
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "layers on the GPU: expected a number, auto or all, found %s", text);
    else
        *n = asked < n_layer ? (int)asked : n_layer;
    if (*n > 0 && !gpu)
        return fkv_fail(e, FKV_ERROR_ARGUMENT,
                        "layers on the GPU: %s wanted, but the device is the CPU: choose vulkan or auto", text);
    return FKV_OK;
}

/* The most layers that leave room for a session; a sixteenth stays free for what the driver takes. */
static fkv_status layers_that_fit(const fkv_engine *e, const struct fkv_engine_params *p, int *n,
                                  struct fkv_error *error)
{
    const struct fkv_session_params defaults = FKV_SESSION_PARAMS_INIT;
    struct fkv_backend *b = e->place[0].b;
    struct fkv_session_shape shape;
    const uint64_t left = b->ops->bytes_left(b) / 16 * 15;
    const fkv_status status = fkv_session_shape(&shape, e, p->session ? p->session : &defaults, error);
    if (status != FKV_OK) return status;
    for (*n = e->model->h.n_layer; *n > 0; --*n)
        if (fkv_model_place_bytes(e->model, b, *n) + fkv_session_device_bytes(&shape, &e->model->h, b, *n) <= left)
            break;
    return FKV_OK;
}

/* ---- which is faster ------------------------------------------------------------------------- */

struct trial {
    struct fkv_backend *b;
    struct fkv_weight w;
    float *x, *y;
    int n;
};

static void trial_region(void *arg, int thread)
{
    const struct trial *t = arg;
    double stage_s[FKV_N_STAGES] = {0};
    struct fkv_run r = {t->b, thread, stage_s};
    const struct fkv_input in = {t->x, (size_t)t->w.cols, t->n, NULL, 0};
    t->b->ops->product(&r, &in, &(struct fkv_output){&t->w, NULL, t->y, (size_t)t->w.rows, false, false}, 1);
}

/* Seconds of a product of 64 rows with part of the model's first MLP, the better of two runs after one that makes
   ready; negative after a failure. */
static double trial_s(struct fkv_backend *b, const struct fkv_model *m, const float *host)
{
    struct trial t = {.b = b, .w = m->layer[0].ffn_gate, .n = 64};
    const size_t cols = (size_t)t.w.cols;
    double best = -1;
    struct fkv_error ignored = {""};
    if (t.w.rows > 1024) t.w.rows = 1024;
    const size_t rows = (size_t)t.w.rows;
    bool ok = b->ops->load_weight(b, &t.w, "trial", &ignored) == FKV_OK &&
              b->ops->alloc(b, &t.x, 64 * cols, true) == FKV_OK && b->ops->alloc(b, &t.y, 64 * rows, true) == FKV_OK;
    if (ok) b->ops->write(b, t.x, host, 64 * cols);
    for (int i = 0; i < 3 && ok; i++) {
        const double t0 = fkv_clock_s();
        fkv_team_run(b->team, trial_region, &t);
        ok = b->ops->wait(b) == FKV_OK;
        const double s = fkv_clock_s() - t0;
        if (i > 0 && (best < 0 || s < best)) best = s;
    }
    if (t.x) b->ops->free(b, t.x, 64 * cols);
    if (t.y) b->ops->free(b, t.y, 64 * rows);
    return ok ? best : -1;
}

/* Is place[0], a GPU, faster than the CPU in place[1]? Else e->note says why not. */
static bool gpu_is_faster(fkv_engine *e)
{
    const struct fkv_weight *w = &e->model->layer[0].ffn_gate;
    const size_t n = 64 * (size_t)w->cols;
    float *x = malloc(n * sizeof *x);
    if (!x) return false;
    for (size_t i = 0; i < n; i++) x[i] = (float)((int)(i * 2654435761u >> 16 & 255) - 128) / 128;
    const double gpu = trial_s(e->place[0].b, e->model, x), cpu = trial_s(e->place[1].b, e->model, x);
    const double gflop = 2e-9 * 64 * w->cols * (w->rows < 1024 ? w->rows : 1024);
    free(x);
    if (gpu < 0)
        snprintf(e->note, sizeof e->note, "the GPU failed: %.400s", e->place[0].b->error.text);
    else if (gpu >= cpu)
        snprintf(e->note, sizeof e->note, "CPU is faster here: %.1f GFLOP/s in the products of a prompt, %s %.1f",
                 gflop / cpu, e->place[0].b->device, gflop / gpu);
    return gpu >= 0 && gpu < cpu;
}

/* ---- opening --------------------------------------------------------------------------------- */

static fkv_status open_cpu(fkv_engine *e, const struct fkv_engine_params *p, int place, struct fkv_error *error)
{
    return fkv_cpu_backend_create(&e->place[place].b, p->n_threads, p->isa, p->exact, p->precise,
                                  fkv_model_max_cols(&e->model->h), error);
}

static void drop(fkv_engine *e, int place)
{
    if (e->place[place].b) e->place[place].b->ops->destroy(e->place[place].b);
    e->place[place].b = NULL;
}

/* The GPU in place[0] computes n layers; the CPU the rest. */
static fkv_status divide(fkv_engine *e, const struct fkv_engine_params *p, int n, struct fkv_error *error)
{
    const int n_layer = e->model->h.n_layer;
    fkv_status status = FKV_OK;
    e->place[0].end = n;
    e->place[1].end = n_layer;
    e->n_places = n < n_layer ? 2 : 1;
    if (n == 0) {
        drop(e, 0);
        e->place[0] = e->place[1];
        e->place[1].b = NULL;
        e->n_places = 1;
    } else if (n == n_layer) {
        drop(e, 1);
    }
    struct fkv_engine_place *last = &e->place[e->n_places - 1];
    if (!last->b) status = open_cpu(e, p, e->n_places - 1, error);
    if (status == FKV_OK) status = fkv_model_place(e->model, e->place[0].b, e->place[0].end, error);
    for (int i = 0; i < e->n_places && status == FKV_OK; i++)
        if (fkv_block_buffers_create(&e->place[i].block, e->place[i].b, &e->model->h) != FKV_OK)
            status = fkv_fail(error, FKV_ERROR_MEMORY, "no memory for the activations");
    return status;
}

/* device: "cpu", or as fkv_vulkan_backend_create() has it. most: so many layers at most on a GPU when their number is
   `auto`; *on_gpu: how many there were to be. */
static fkv_status open_on(fkv_engine *e, const struct fkv_engine_params *p, const char *device, int most, int *on_gpu,
                          struct fkv_error *error)
{
    const bool gpu = strcmp(device, "cpu") != 0;
    int n = 0;
    *on_gpu = 0;
    fkv_status status = fkv_model_load(&e->model, e->gguf, &e->warnings, error);
    if (status == FKV_OK) status = layers_asked(p, e->model->h.n_layer, &n, error);
    if (status == FKV_OK && gpu)
        status = fkv_vulkan_backend_create(&e->place[0].b, device, p->exact, fkv_model_max_cols(&e->model->h), error);
    if (status == FKV_OK && strcmp(device, "auto") == 0) {
        status = open_cpu(e, p, 1, error);
        if (status == FKV_OK && !gpu_is_faster(e)) n = 0;
    }
    if (status == FKV_OK && !gpu) n = 0;
    if (status == FKV_OK && n == NO_LAYERS) {
        status = layers_that_fit(e, p, &n, error);
        if (n > most) n = most;
        *on_gpu = n;
    }
    if (status == FKV_OK) status = divide(e, p, n, error);
    if (status != FKV_OK) fkv_engine_close_places(e);
    return status;
}

fkv_status fkv_engine_open_places(fkv_engine *e, const struct fkv_engine_params *p, struct fkv_error *error)
{
    const char *device = p->device ? p->device : "cpu";
    const bool automatic = strcmp(device, "auto") == 0;
    int on_gpu;
    if (!automatic && strcmp(device, "cpu") != 0 && strcmp(device, "vulkan") != 0 && strncmp(device, "vulkan:", 7) != 0)
        return fkv_fail(error, FKV_ERROR_ARGUMENT, "device %s: expected cpu, vulkan[:N] or auto", device);
    fkv_status status = open_on(e, p, device, INT_MAX, &on_gpu, error);
    /* The plan counted on memory that was not to be had: fewer layers. */
    while (status == FKV_ERROR_MEMORY && on_gpu > 0) {
        *error = (struct fkv_error){""};
        status = open_on(e, p, device, on_gpu * 3 / 4, &on_gpu, error);
    }
    if (status == FKV_OK || !automatic || status == FKV_ERROR_ARGUMENT) return status;
    memcpy(e->note, error->text, sizeof e->note);
    *error = (struct fkv_error){""};
    return open_on(e, p, "cpu", 0, &on_gpu, error);
}
