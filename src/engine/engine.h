/* engine.h: what engine, session and memory plan share of the two public objects. */
#ifndef FKV_ENGINE_ENGINE_H
#define FKV_ENGINE_ENGINE_H

#include "model/layer_loop.h"
#include "tokenizer/tokenizer.h"

struct fkv_engine {
    struct fkv_gguf *gguf;
    struct fkv_tokenizer *tokenizer;
    struct fkv_model *model;       /* NULL when vocab_only */
    struct fkv_backend *backend;   /* NULL when vocab_only */
    struct fkv_block_buffers block;
    struct fkv_model_info info;
    char *arch, *name, *chat_template; /* copies; the template may be NULL */
};

/* A session's parameters with the defaults filled in: n_ctx, cache types as enum fkv_kv_elem, tsp_layer. */
struct fkv_session_shape {
    struct fkv_session_params params;
    int k_type, v_type;            /* what is retained */
    int k_work, v_work;            /* the layer being prefilled */
};

/* Checks the parameters against the model. */
fkv_status fkv_session_shape(struct fkv_session_shape *s, const fkv_engine *e, const struct fkv_session_params *params, struct fkv_error *error);

#endif
