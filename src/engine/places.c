/* Where the layers of a model are computed: all on one back end, or the first on a GPU and the rest, for which it has
   no room, on the CPU. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/devices.h"
#include "engine/engine.h"

/* An engine on its way to its places. */
struct opening {
    fkv_engine *e;
    const struct fkv_engine_params *params;
    struct fkv_place place[FKV_MAX_PLACES]; /* their back ends, until the workspace has them */
    int n_places;
    bool cpu_instead; /* of the device that was wanted */
};

struct fkv_sequence_layer fkv_engine_layer(const fkv_engine *e, const struct fkv_session_shape *s, int layer)
{
    const struct fkv_layer_hparams *l = &e->model->h.layer[layer];
    const struct fkv_place *place = e->ws.place;
    while (place->end <= layer) place++;
    return (struct fkv_sequence_layer){place->b, {l->n_kv_head, l->d_head, s->k_type, s->v_type}, NULL};
}

void fkv_engine_close_places(fkv_engine *e)
{
    fkv_workspace_destroy(&e->ws);
    fkv_model_free(e->model);
    e->model = NULL;
}

static void drop(struct opening *o, int place)
{
    if (o->place[place].b) o->place[place].b->ops->destroy(o->place[place].b);
    o->place[place].b = NULL;
}

/* ---- how many layers ----------------------------------------------------------------------------- */

/* The most layers that leave room for a session; a sixteenth stays free for what the driver takes. */
static fkv_status layers_that_fit(const struct opening *o, int *n, struct fkv_error *error)
{
    const struct fkv_session_params defaults = FKV_SESSION_PARAMS_INIT, *params = o->params->session;
    const fkv_engine *e = o->e;
    struct fkv_backend *b = o->place[0].b;
    struct fkv_session_shape shape;
    const uint64_t left = b->ops->bytes_left(b) / 16 * 15;
    const fkv_status status = fkv_session_shape_on(&shape, e, b, params ? params : &defaults, error);
    if (status != FKV_OK) return status;
    for (*n = e->model->h.n_layer; *n > 0; --*n)
        if (fkv_model_place_bytes(e->model, b, *n) + fkv_session_device_bytes(&shape, e, b, *n) <= left) break;
    return FKV_OK;
}

/* ---- which is faster ------------------------------------------------------------------------- */

struct trial {
    struct fkv_backend *b;
    struct fkv_weight w;
    struct fkv_tensor x, y;
    int n;
};

static void trial_region(void *arg, int thread)
{
    const struct trial *t = arg;
    double stage_s[FKV_N_STAGES] = {0};
    struct fkv_run r = {t->b, thread, stage_s};
    const struct fkv_input in = {.x = t->x, .ld = (size_t)t->w.cols, .n = t->n};
    t->b->ops->product(&r, &in, &(struct fkv_output){.w = &t->w, .y = t->y, .ld = (size_t)t->w.rows}, 1);
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
    if (fkv_tensor_is(t.x)) b->ops->free(b, t.x, 64 * cols);
    if (fkv_tensor_is(t.y)) b->ops->free(b, t.y, 64 * rows);
    return ok ? best : -1;
}

/* Is place[0], a GPU, faster than the CPU in place[1]? Else the engine's note says why not. */
static bool gpu_is_faster(const struct opening *o)
{
    fkv_engine *e = o->e;
    const struct fkv_weight *w = &e->model->layer[0].ffn_gate;
    const size_t n = 64 * (size_t)w->cols;
    float *x = malloc(n * sizeof *x);
    if (!x) return false;
    for (size_t i = 0; i < n; i++) x[i] = (float)((int)(i * 2654435761u >> 16 & 255) - 128) / 128;
    const double gpu = trial_s(o->place[0].b, e->model, x), cpu = trial_s(o->place[1].b, e->model, x);
    const double gflop = 2e-9 * 64 * w->cols * (w->rows < 1024 ? w->rows : 1024);
    free(x);
    if (gpu < 0)
        snprintf(e->note, sizeof e->note, "the GPU failed: %.400s", o->place[0].b->error.text);
    else if (gpu >= cpu)
        snprintf(e->note, sizeof e->note, "CPU is faster here: %.1f GFLOP/s in the products of a prompt, %s %.1f",
                 gflop / cpu, o->place[0].b->device, gflop / gpu);
    return gpu >= 0 && gpu < cpu;
}

/* ---- opening ------------------------------------------------------------------------------------- */

static fkv_status open_cpu(struct opening *o, int place, struct fkv_error *error)
{
    const struct fkv_engine_params *p = o->params;
    return fkv_cpu_backend_create(&o->place[place].b, p->n_threads, p->isa, p->exact, p->precise,
                                  fkv_model_max_cols(&o->e->model->h), error);
}

/* The GPU in place[0] computes n layers; the CPU the rest. */
static fkv_status divide(struct opening *o, int n, struct fkv_error *error)
{
    const int n_layer = o->e->model->h.n_layer;
    fkv_status status = FKV_OK;
    o->place[0].end = n;
    o->place[1].end = n_layer;
    o->n_places = n < n_layer ? 2 : 1;
    if (n == 0) {
        drop(o, 0);
        o->place[0] = o->place[1];
        o->place[1].b = NULL;
        o->n_places = 1;
    } else if (n == n_layer) {
        drop(o, 1);
    }
    struct fkv_place *last = &o->place[o->n_places - 1];
    if (!last->b) status = open_cpu(o, o->n_places - 1, error);
    if (status == FKV_OK) status = fkv_model_place(o->e->model, o->place[0].b, o->place[0].end, error);
    if (status != FKV_OK) return status;
    status = fkv_workspace_create(&o->e->ws, o->e->model, o->place, o->n_places);
    o->place[0].b = o->place[1].b = NULL; /* they are the workspace's */
    return status == FKV_OK ? FKV_OK : fkv_fail(error, status, "no memory for the activations");
}

/* The GPU's layers: those asked for, none if the CPU is faster, or as many as fit, but `most`; *fitted: their number if
   it was the last of these. */
static fkv_status count_layers(struct opening *o, const struct fkv_device *device, int most, int *n, int *fitted,
                               struct fkv_error *error)
{
    fkv_status status = fkv_layers_find(n, o->params->gpu_layers, o->e->model->h.n_layer, error);
    if (status == FKV_OK && !device->kind && *n > 0 && !o->cpu_instead)
        return fkv_fail(error, FKV_ERROR_ARGUMENT,
                        "layers on the GPU: %s wanted, but the device is the CPU: choose a GPU or auto",
                        o->params->gpu_layers);
    if (status != FKV_OK || !device->kind) {
        *n = 0;
        return status;
    }
    status = device->kind->create(&o->place[0].b, device->text, o->params->exact, fkv_model_max_cols(&o->e->model->h),
                                  error);
    if (status == FKV_OK) status = fkv_model_runs_on(o->e->model, o->place[0].b, error);
    if (status == FKV_OK && device->automatic) {
        status = open_cpu(o, 1, error);
        if (status == FKV_OK && !gpu_is_faster(o)) *n = 0;
    }
    if (status == FKV_OK && *n == FKV_LAYERS_AUTO) {
        status = layers_that_fit(o, n, error);
        if (*n > most) *n = most;
        *fitted = *n;
    }
    return status;
}

/* most: so many layers at most on a GPU when their number is `auto`; *fitted: how many there were to be. */
static fkv_status open_on(fkv_engine *e, const struct fkv_engine_params *p, const struct fkv_device *device,
                          bool cpu_instead, int most, int *fitted, struct fkv_error *error)
{
    struct opening o = {.e = e, .params = p, .cpu_instead = cpu_instead};
    int n = 0;
    *fitted = 0;
    fkv_status status = fkv_model_load(&e->model, e->gguf, &e->warnings, error);
    if (status == FKV_OK) status = count_layers(&o, device, most, &n, fitted, error);
    if (status == FKV_OK) status = divide(&o, n, error);
    for (int i = 0; i < FKV_MAX_PLACES; i++) drop(&o, i);
    if (status != FKV_OK) fkv_engine_close_places(e);
    return status;
}

fkv_status fkv_engine_open_places(fkv_engine *e, const struct fkv_engine_params *p, struct fkv_error *error)
{
    struct fkv_device device;
    int fitted = 0;
    fkv_status status = fkv_device_find(&device, p->device, error);
    if (status != FKV_OK) return status;
    status = open_on(e, p, &device, false, INT_MAX, &fitted, error);
    /* The plan counted on memory that was not to be had: fewer layers. */
    while (status == FKV_ERROR_MEMORY && fitted > 0) {
        *error = (struct fkv_error){""};
        status = open_on(e, p, &device, false, fitted * 3 / 4, &fitted, error);
    }
    if (status == FKV_OK || !device.automatic || status == FKV_ERROR_ARGUMENT) return status;
    memcpy(e->note, error->text, sizeof e->note);
    *error = (struct fkv_error){""};
    return open_on(e, p, &(struct fkv_device){.text = "cpu"}, true, 0, &fitted, error);
}
