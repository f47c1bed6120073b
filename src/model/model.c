/* Loading: hyper-parameters from the metadata, weights from the tensors, every shape checked. */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"

#define MODEL(name) extern const struct fkv_arch fkv_arch_##name;
#include "models/models.def"
#undef MODEL

static const struct fkv_arch *const archs[] = {
#define MODEL(name) &fkv_arch_##name,
#include "models/models.def"
#undef MODEL
};
enum { N_ARCHS = sizeof archs / sizeof *archs };

int fkv_model_max_cols(const struct fkv_hparams *h)
{
    const int q = h->n_head * h->d_head, most = q > h->d_ff ? q : h->d_ff;
    return most > h->d_model ? most : h->d_model;
}

/* ---- hyper-parameters ------------------------------------------------------------------------ */

static fkv_status find_arch(const struct fkv_arch **arch, const struct fkv_gguf *g, struct fkv_error *e)
{
    struct fkv_str name = {"", 0};
    const fkv_status status = fkv_gguf_str(g, "general.architecture", &name, e);
    if (status != FKV_OK) return status;
    char known[128] = "";
    for (int i = 0; i < N_ARCHS; i++) {
        if (strlen(archs[i]->name) == name.n && memcmp(archs[i]->name, name.data, name.n) == 0) {
            *arch = archs[i];
            return FKV_OK;
        }
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", archs[i]->name);
    }
    return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "general.architecture: expected one of %s, found \"%.*s\"", known,
                    (int)(name.n < 64 ? name.n : 64), name.data);
}

/* An integer key "<arch>.<suffix>" within [least, most]; *value holds the default, -1 when the key is required. */
static fkv_status read_int(const struct fkv_gguf *g, const char *arch, const char *suffix, int least, int most,
                           int *value, struct fkv_error *e)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", arch, suffix);
    if (!fkv_gguf_has(g, key)) {
        if (*value >= 0) return FKV_OK;
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: expected a number, the file has no such key", key);
    }
    uint32_t u = 0;
    const fkv_status status = fkv_gguf_u32(g, key, &u, e);
    if (status != FKV_OK) return status;
    if (u < (uint32_t)least || u > (uint32_t)most)
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: expected %d to %d, found %u", key, least, most, u);
    *value = (int)u;
    return FKV_OK;
}

static fkv_status read_float(const struct fkv_gguf *g, const char *arch, const char *suffix, float *value,
                             struct fkv_error *e)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", arch, suffix);
    const fkv_status status = fkv_gguf_f32(g, key, value, e);
    if (status != FKV_OK) return status;
    if (!(*value > 0 && *value < 1e30f))
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: expected a positive number, found %g", key, (double)*value);
    return FKV_OK;
}

static fkv_status read_rope_scaling(struct fkv_hparams *h, const struct fkv_gguf *g, const char *arch,
                                    struct fkv_error *e)
{
    char key[96];
    struct fkv_str type = {"none", 4};
    snprintf(key, sizeof key, "%s.rope.scaling.type", arch);
    const fkv_status status = fkv_gguf_str(g, key, &type, e);
    if (status != FKV_OK) return status;
    h->rope_scale = 1;
    if (type.n == 4 && memcmp(type.data, "none", 4) == 0) return FKV_OK;
    if (type.n == 6 && memcmp(type.data, "linear", 6) == 0)
        return read_float(g, arch, "rope.scaling.factor", &h->rope_scale, e);
    return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "%s: expected none or linear, found \"%.*s\"", key,
                    (int)(type.n < 32 ? type.n : 32), type.data);
}

static fkv_status check_heads(const struct fkv_hparams *h, const char *arch, int d_value, struct fkv_error *e)
{
    if (h->n_head % h->n_kv_head)
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s.attention.head_count_kv: expected a divisor of the %d heads, found %d",
                        arch, h->n_head, h->n_kv_head);
    if (h->d_head % 2 || h->d_head > FKV_MAX_HEAD)
        return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "%s: expected an even head size of at most %d, found %d", arch,
                        FKV_MAX_HEAD, h->d_head);
    if (d_value != h->d_head)
        return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "%s.attention.value_length: expected the key length %d, found %d",
                        arch, h->d_head, d_value);
    if (h->n_rot % 2 || h->n_rot > h->d_head)
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s.rope.dimension_count: expected an even number of at most %d, found %d",
                        arch, h->d_head, h->n_rot);
    const int widths[] = {h->d_model, h->d_ff, h->n_head * h->d_head};
    for (int i = 0; i < 3; i++)
        if (widths[i] % 32)
            return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "%s: expected widths that divide by 32, found %d", arch,
                            widths[i]);
    return FKV_OK;
}

static fkv_status read_hparams(struct fkv_hparams *h, const struct fkv_gguf *g, const char *arch,
                               struct fkv_warnings *warnings, struct fkv_error *e)
{
    *h = (struct fkv_hparams){.n_layer = -1,
                              .n_head = -1,
                              .d_model = -1,
                              .d_ff = -1,
                              .n_ctx_train = -1,
                              .rope_base = 10000,
                              .norm_eps = 1e-5f};
    fkv_status status;
    if ((status = read_int(g, arch, "block_count", 1, 1024, &h->n_layer, e)) != FKV_OK) return status;
    if ((status = read_int(g, arch, "context_length", 1, 1 << 24, &h->n_ctx_train, e)) != FKV_OK) return status;
    if ((status = read_int(g, arch, "embedding_length", 32, 1 << 17, &h->d_model, e)) != FKV_OK) return status;
    if ((status = read_int(g, arch, "feed_forward_length", 32, 1 << 19, &h->d_ff, e)) != FKV_OK) return status;
    if ((status = read_int(g, arch, "attention.head_count", 1, 1024, &h->n_head, e)) != FKV_OK) return status;
    h->n_kv_head = h->n_head;
    if ((status = read_int(g, arch, "attention.head_count_kv", 1, h->n_head, &h->n_kv_head, e)) != FKV_OK)
        return status;
    h->d_head = h->d_model / h->n_head;
    if ((status = read_int(g, arch, "attention.key_length", 2, 1 << 16, &h->d_head, e)) != FKV_OK) return status;
    int d_value = h->d_head;
    if ((status = read_int(g, arch, "attention.value_length", 2, 1 << 16, &d_value, e)) != FKV_OK) return status;
    h->n_rot = h->d_head;
    if ((status = read_int(g, arch, "rope.dimension_count", 2, 1 << 16, &h->n_rot, e)) != FKV_OK) return status;
    if ((status = read_float(g, arch, "rope.freq_base", &h->rope_base, e)) != FKV_OK) return status;
    char key[96];
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", arch);
    if (!fkv_gguf_has(g, key)) fkv_warn(warnings, "%s: not in the file: %g is assumed", key, (double)h->norm_eps);
    if ((status = read_float(g, arch, "attention.layer_norm_rms_epsilon", &h->norm_eps, e)) != FKV_OK) return status;
    if ((status = read_rope_scaling(h, g, arch, e)) != FKV_OK) return status;
    return check_heads(h, arch, d_value, e);
}

/* ---- weights --------------------------------------------------------------------------------- */

static int dim(const struct fkv_hparams *h, enum fkv_dim d)
{
    switch (d) {
    case FKV_DIM_ONE: return 1;
    case FKV_DIM_MODEL: return h->d_model;
    case FKV_DIM_Q: return h->n_head * h->d_head;
    case FKV_DIM_KV: return h->n_kv_head * h->d_head;
    case FKV_DIM_HEAD: return h->d_head;
    case FKV_DIM_FF: return h->d_ff;
    case FKV_DIM_VOCAB: return h->n_vocab;
    case FKV_DIM_ROT_HALF: return h->n_rot / 2;
    }
    return 0;
}

static fkv_status check_shape(const struct fkv_gguf_tensor *t, int rows, int cols, struct fkv_error *e)
{
    if (t->dims[0] == (uint64_t)cols && t->dims[1] == (uint64_t)rows && t->dims[2] == 1 && t->dims[3] == 1)
        return FKV_OK;
    char found[96] = "";
    for (int i = t->n_dims - 1; i >= 0; i--)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%llu%s", (unsigned long long)t->dims[i],
                 i ? " x " : "");
    if (rows == 1) return fkv_fail(e, FKV_ERROR_FORMAT, "%s: expected [%d], file has [%s]", t->name, cols, found);
    return fkv_fail(e, FKV_ERROR_FORMAT, "%s: expected [%d x %d], file has [%s]", t->name, rows, cols, found);
}

/* Binds one weight to its place in `object`. *vectors: where the next vector's floats go. */
static fkv_status bind(const struct fkv_weight_name *w, const char *name, const struct fkv_hparams *h,
                       const struct fkv_gguf *g, void *object, float **vectors, struct fkv_error *e)
{
    const struct fkv_gguf_tensor *t = fkv_gguf_find_tensor(g, name);
    const int rows = dim(h, w->rows), cols = dim(h, w->cols);
    char *place = (char *)object + w->offset;
    if (!t)
        return w->optional ? FKV_OK
                           : fkv_fail(e, FKV_ERROR_FORMAT, "%s: expected [%d x %d], the file has no such tensor", name,
                                      rows, cols);
    const fkv_status status = check_shape(t, rows, cols, e);
    if (status != FKV_OK) return status;
    const struct fkv_quant_type *q = fkv_quant_find(t->type);
    if (w->rows == FKV_DIM_ONE) {
        q->dequantize(t->data, *vectors, (size_t)cols);
        *(const float **)(void *)place = *vectors;
        *vectors += cols;
    } else {
        *(struct fkv_weight *)(void *)place = (struct fkv_weight){t->data, fkv_quant_row_bytes(q, (size_t)cols),
                                                                  t->type, rows, cols};
    }
    return FKV_OK;
}

/* The tensor's name in a layer; every name with a %d starts "blk.%d". */
static void weight_name(char name[96], const struct fkv_weight_name *w, int layer)
{
    const char *per_layer = strchr(w->name, '%');
    if (per_layer)
        snprintf(name, 96, "blk.%d%s", layer, per_layer + 2);
    else
        snprintf(name, 96, "%s", w->name);
}

static int instances(const struct fkv_weight_name *w, const struct fkv_hparams *h)
{
    return strchr(w->name, '%') ? h->n_layer : 1;
}

/* Floats of the vectors that are in the file. */
static size_t vector_floats(const struct fkv_model *m, const struct fkv_gguf *g)
{
    size_t n = 0;
    char name[96];
    for (const struct fkv_weight_name *w = m->arch->weights; w->name; w++)
        for (int l = 0; w->rows == FKV_DIM_ONE && l < instances(w, &m->h); l++) {
            weight_name(name, w, l);
            if (fkv_gguf_find_tensor(g, name)) n += (size_t)dim(&m->h, w->cols);
        }
    return n;
}

static fkv_status bind_all(struct fkv_model *m, const struct fkv_gguf *g, struct fkv_error *e)
{
    fkv_status status = FKV_OK;
    float *vectors = m->vectors;
    char name[96];
    for (const struct fkv_weight_name *w = m->arch->weights; w->name; w++)
        for (int l = 0; l < instances(w, &m->h) && status == FKV_OK; l++) {
            weight_name(name, w, l);
            status = bind(w, name, &m->h, g, strchr(w->name, '%') ? (void *)&m->layer[l] : m, &vectors, e);
        }
    if (!m->output.data) m->output = m->token_embd;
    return status;
}

/* The vocabulary's size is the embedding table's. */
static fkv_status read_vocab(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e)
{
    const struct fkv_gguf_tensor *t = fkv_gguf_find_tensor(g, "token_embd.weight");
    if (!t || t->n_dims != 2)
        return fkv_fail(e, FKV_ERROR_FORMAT,
                        "token_embd.weight: expected [vocabulary x %d], the file has no such matrix", h->d_model);
    if (t->dims[1] < 1 || t->dims[1] > 1u << 24)
        return fkv_fail(e, FKV_ERROR_FORMAT, "token_embd.weight: expected 1 to %d tokens, found %llu", 1 << 24,
                        (unsigned long long)t->dims[1]);
    h->n_vocab = (int)t->dims[1];
    return FKV_OK;
}

fkv_status fkv_model_load(struct fkv_model **model, const struct fkv_gguf *g, struct fkv_warnings *warnings,
                          struct fkv_error *e)
{
    struct fkv_model *m = calloc(1, sizeof *m);
    fkv_status status = m ? FKV_OK : fkv_fail(e, FKV_ERROR_MEMORY, "no memory for a model");
    if (status == FKV_OK) status = find_arch(&m->arch, g, e);
    if (status == FKV_OK) status = read_hparams(&m->h, g, m->arch->name, warnings, e);
    if (status == FKV_OK) status = m->arch->hparams(&m->h, g, e);
    if (status == FKV_OK) status = read_vocab(&m->h, g, e);
    if (status == FKV_OK) {
        m->layer = calloc((size_t)m->h.n_layer, sizeof *m->layer);
        m->vectors = calloc(vector_floats(m, g) + 1, sizeof *m->vectors);
        status = m->layer && m->vectors
                     ? bind_all(m, g, e)
                     : fkv_fail(e, FKV_ERROR_MEMORY, "no memory for the weights of %d layers", m->h.n_layer);
    }
    if (status == FKV_OK)
        *model = m;
    else
        fkv_model_free(m);
    return status;
}

/* Brings one weight of `object` to the back end. */
static fkv_status place(const struct fkv_weight_name *w, const char *name, const struct fkv_hparams *h, void *object,
                        struct fkv_backend *b, struct fkv_error *e)
{
    void *at = (char *)object + w->offset;
    if (w->cols == FKV_DIM_ROT_HALF) return FKV_OK; /* the host makes the angles */
    if (w->rows == FKV_DIM_ONE) {
        const float **vector = at;
        return *vector ? b->ops->load_vector(b, vector, (size_t)dim(h, w->cols), name, e) : FKV_OK;
    }
    return b->ops->load_weight(b, at, name, e);
}

/* How many instances of a weight belong to the first n layers: the head comes after the last. */
static int placed(const struct fkv_weight_name *w, const struct fkv_hparams *h, int n_layers)
{
    const bool head = w->offset == offsetof(struct fkv_model, output) ||
                      w->offset == offsetof(struct fkv_model, output_norm);
    if (strchr(w->name, '%')) return n_layers;
    return head ? n_layers == h->n_layer : n_layers > 0;
}

fkv_status fkv_model_place(struct fkv_model *m, struct fkv_backend *b, int n_layers, struct fkv_error *e)
{
    fkv_status status = FKV_OK;
    char name[96];
    const bool tied = m->output.data == m->token_embd.data;
    for (const struct fkv_weight_name *w = m->arch->weights; w->name; w++)
        for (int l = 0; l < placed(w, &m->h, n_layers) && status == FKV_OK; l++) {
            if (tied && w->offset == offsetof(struct fkv_model, output) && !strchr(w->name, '%')) continue;
            weight_name(name, w, l);
            status = place(w, name, &m->h, strchr(w->name, '%') ? (void *)&m->layer[l] : m, b, e);
        }
    if (tied && n_layers == m->h.n_layer) m->output = m->token_embd;
    return status;
}

uint64_t fkv_model_place_bytes(const struct fkv_model *m, const struct fkv_backend *b, int n_layers)
{
    uint64_t bytes = 0;
    for (const struct fkv_weight_name *w = m->arch->weights; w->name; w++)
        for (int l = 0; l < placed(w, &m->h, n_layers); l++) {
            const void *object = strchr(w->name, '%') ? (const void *)&m->layer[l] : m;
            const struct fkv_weight *weight = (const void *)((const char *)object + w->offset);
            const bool twice = weight == &m->output && m->output.data == m->token_embd.data;
            if (w->rows != FKV_DIM_ONE && !twice) bytes += b->ops->weight_bytes(b, weight);
        }
    return bytes;
}

void fkv_model_free(struct fkv_model *m)
{
    if (!m) return;
    free(m->layer);
    free(m->vectors);
    free(m);
}
