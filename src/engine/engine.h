/* engine.h: what engine, session and memory plan share of the two public objects. */
#ifndef FKV_ENGINE_ENGINE_H
#define FKV_ENGINE_ENGINE_H

#include "base/warnings.h"
#include "model/layer_loop.h"
#include "tokenizer/tokenizer.h"

/* A run of layers and the back end that computes them: see struct fkv_place. */
struct fkv_engine_place {
    struct fkv_backend *b;
    struct fkv_block_buffers block;
    int end;
};

struct fkv_engine {
    struct fkv_gguf *gguf;
    struct fkv_tokenizer *tokenizer;
    struct fkv_model *model; /* NULL when vocab_only */
    struct fkv_engine_place place[FKV_MAX_PLACES];
    int n_places;               /* 0 when vocab_only */
    char note[FKV_ERROR_BYTES]; /* why "auto" took the CPU */
    struct fkv_model_info info;
    struct fkv_warnings warnings;
    char *arch, *name, *chat_template; /* copies; "" when the file has none */
};

/* A session's parameters with the defaults filled in: n_ctx, cache types as enum fkv_kv_elem, tsp_layer. */
struct fkv_session_shape {
    struct fkv_session_params params;
    int k_type, v_type; /* what is retained */
    int k_work, v_work; /* the layer being prefilled */
};

/* Loads the model's weights to the back ends that p->device and p->gpu_layers ask for. On failure there are none. */
fkv_status fkv_engine_open_places(fkv_engine *e, const struct fkv_engine_params *p, struct fkv_error *error);
void fkv_engine_close_places(fkv_engine *e);
/* The back end of a layer. */
struct fkv_backend *fkv_engine_backend(const fkv_engine *e, int layer);

/* Activations of a session, laid out over `memory`, which is not touched; returns their number. NULL only counts. */
size_t fkv_lay_out_activations(struct fkv_place *f, const struct fkv_hparams *h, int n_ctx, float *memory);
/* Bytes of b's own memory that such a session takes while b computes the first n layers. */
uint64_t fkv_session_device_bytes(const struct fkv_session_shape *s, const struct fkv_hparams *h,
                                  const struct fkv_backend *b, int n_layers);

/* Checks the parameters against the model. */
fkv_status fkv_session_shape(struct fkv_session_shape *s, const fkv_engine *e, const struct fkv_session_params *params,
                             struct fkv_error *error);

#endif
