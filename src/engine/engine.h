/* engine.h: what engine, session and memory plan share of the two public objects. */
#ifndef FKV_ENGINE_ENGINE_H
#define FKV_ENGINE_ENGINE_H

#include "base/warnings.h"
#include "model/layer_loop.h"
#include "tokenizer/tokenizer.h"

struct fkv_engine {
    struct fkv_gguf *gguf;
    struct fkv_tokenizer *tokenizer;
    struct fkv_model *model;    /* NULL when vocab_only */
    struct fkv_workspace ws;    /* where the model is computed; no places when vocab_only */
    char note[FKV_ERROR_BYTES]; /* why "auto" took the CPU */
    struct fkv_warnings warnings;
    struct fkv_model_info info;
    uint64_t fingerprint; /* fkv_gguf_fingerprint(); 0 until a session is exported or imported, which takes a turn */
    char *arch, *name, *chat_template; /* copies; "" when the file has none */
};

/* Are all stores in the host's memory? Then a session's are its own, and need no turn to be read, filled or shared. */
bool fkv_engine_on_host(const fkv_engine *e);

/* A session's parameters with the defaults filled in: n_ctx, cache types as enum fkv_kv_elem, tsp_layer. */
struct fkv_session_shape {
    struct fkv_session_params params;
    int k_type, v_type; /* what is retained */
    int k_work, v_work; /* the layer being prefilled */
};

/* Loads the model's weights to the back ends that p->device and p->gpu_layers ask for. On failure there are none. */
fkv_status fkv_engine_open_places(fkv_engine *e, const struct fkv_engine_params *p, struct fkv_error *error);
void fkv_engine_close_places(fkv_engine *e);
/* The back end of a layer, and the shape of its cache. */
struct fkv_sequence_layer fkv_engine_layer(const fkv_engine *e, const struct fkv_session_shape *s, int layer);

/* Bytes of b's own memory that such a session takes while b computes the first n layers. */
uint64_t fkv_session_device_bytes(const struct fkv_session_shape *s, const fkv_engine *e, const struct fkv_backend *b,
                                  int n_layers);

/* Checks the parameters against the model. */
fkv_status fkv_session_shape(struct fkv_session_shape *s, const fkv_engine *e, const struct fkv_session_params *params,
                             struct fkv_error *error);

/* The same before the engine has places: with the first layers at b. */
fkv_status fkv_session_shape_on(struct fkv_session_shape *s, const fkv_engine *e, const struct fkv_backend *b,
                                const struct fkv_session_params *params, struct fkv_error *error);

/* *to (to_size bytes, filled with defaults, its first member its size) = the caller's structure of any size that begins
   with its own: members it does not have keep their defaults, those that are not known here must be zero. */
fkv_status fkv_take_params(void *to, size_t to_size, const void *from, const char *what, struct fkv_error *e);
/* A message to the caller's buffer, which may be NULL; returns status. */
fkv_status fkv_tell(char *err, const struct fkv_error *e, fkv_status status);

#endif
