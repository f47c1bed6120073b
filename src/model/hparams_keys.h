/* hparams_keys.h: reading the keys of an architecture: of hparams.c and rope.c. */
#ifndef FKV_MODEL_HPARAMS_KEYS_H
#define FKV_MODEL_HPARAMS_KEYS_H

#include "model/hparams.h"

enum { FKV_KEY_BYTES = 96, FKV_ALL_LAYERS = -1, FKV_REQUIRED = -1 };

/* How a file says that positions are scaled: see rope.c. */
struct fkv_rope_scaling {
    float factor; /* 1: they are not */
    bool yarn;
    int n_ctx; /* positions before they were */
    float beta_fast, beta_slow;
};

struct fkv_reader {
    const struct fkv_gguf *g;
    const char *arch;
    const struct fkv_local_layers *local; /* NULL: none is */
    const struct fkv_experts *experts;    /* NULL: all layers are dense */
    bool yarn_unrounded;                  /* see struct fkv_arch */
    struct fkv_rope_params rope[2];       /* of full and of local layers, but for what depends on their widths */
    struct fkv_rope_scaling scaling[2];
    int n_block;
    struct fkv_warnings *warnings;
    struct fkv_error *e;
};

/* "<arch>.<suffix>" */
const char *fkv_reader_key(const struct fkv_reader *r, const char *suffix, char key[FKV_KEY_BYTES]);
bool fkv_reader_has(const struct fkv_reader *r, const char *suffix);
/* An integer within [least, most]; *value holds the default, or REQUIRED. layer: whose it is in an array, or
   ALL_LAYERS, for a key that is one number. */
fkv_status fkv_read_int(const struct fkv_reader *r, const char *suffix, int layer, int least, int most, int *value);
/* The same of a layer, which may be of the kind that has keys of its own. */
fkv_status fkv_read_int_of(const struct fkv_reader *r, const struct fkv_layer_hparams *l, const char *suffix, int layer,
                           int most, int *value);
/* A positive number; *value holds the default. */
fkv_status fkv_read_float(const struct fkv_reader *r, const char *suffix, bool or_zero, float *value);

/* Rotary embedding: r->rope and r->scaling; then a layer's tables, which h gets. */
fkv_status fkv_read_ropes(struct fkv_reader *r, struct fkv_hparams *h, bool pairs);
fkv_status fkv_read_rope_of(const struct fkv_reader *r, struct fkv_hparams *h, struct fkv_layer_hparams *l, int n_rot);

#endif
