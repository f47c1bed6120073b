/* Loading: the architecture, its hyper-parameters, its weights, and nothing in the file that is left over. */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL(name) extern const struct fkv_arch fkv_arch_##name;
#include "models/models.def"
#undef MODEL

static const struct fkv_arch *const archs[] = {
#define MODEL(name) &fkv_arch_##name,
#include "models/models.def"
#undef MODEL
};
enum { N_ARCHS = sizeof archs / sizeof *archs };

bool fkv_model_has_arch(struct fkv_str name)
{
    for (int i = 0; i < N_ARCHS; i++)
        if (fkv_str_is(name, archs[i]->name)) return true;
    return false;
}

static fkv_status find_arch(const struct fkv_arch **arch, const struct fkv_gguf *g, struct fkv_error *e)
{
    struct fkv_str name = {"", 0};
    const fkv_status status = fkv_gguf_str(g, "general.architecture", &name, e);
    if (status != FKV_OK) return status;
    char known[512] = "";
    for (int i = 0; i < N_ARCHS; i++) {
        if (fkv_str_is(name, archs[i]->name)) {
            *arch = archs[i];
            return FKV_OK;
        }
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", archs[i]->name);
    }
    return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "general.architecture: expected one of %s, found \"%.*s\"", known,
                    (int)(name.n < 64 ? name.n : 64), name.data);
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

/* ---- tensors that nobody reads --------------------------------------------------------------- */

static bool begins(const char *name, const char *with) { return strncmp(name, with, strlen(with)) == 0; }

static bool ends(const char *name, const char *with)
{
    const size_t n = strlen(name), m = strlen(with);
    return n >= m && strcmp(name + n - m, with) == 0;
}

/* Not needed for text: images and sound, blocks that draft tokens, rotary tables of old files. */
static bool is_of_no_matter(const struct fkv_hparams *h, const char *name)
{
    static const char *const beginnings[] = {"v.", "mm.", "a.", "s.", "model.vision_tower.", "mtp."};
    static const char *const endings[] = {".attn_rot_embd", ".attn_rot_embd.weight", "rotary_emb.inv_freq"};
    int block = -1;
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (begins(name, beginnings[i])) return true;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (ends(name, endings[i])) return true;
    return begins(name, "blk.") && sscanf(name, "blk.%d.", &block) == 1 && block >= h->n_layer && block < h->n_block;
}

static fkv_status refuse_unseen(const struct fkv_model *m, const struct fkv_gguf *g, const bool *seen,
                                struct fkv_error *e)
{
    for (size_t i = 0; i < fkv_gguf_n_tensors(g); i++) {
        const char *name = fkv_gguf_tensor(g, i)->name;
        if (!seen[i] && !is_of_no_matter(&m->h, name))
            return fkv_fail(e, FKV_ERROR_UNSUPPORTED,
                            "%s: expected no such tensor in a model of %d layers of architecture %s, the file has one: "
                            "without it the results would be wrong",
                            name, m->h.n_layer, m->arch->name);
    }
    return FKV_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void multiply(struct fkv_tensor x, int n, float by)
{
    float *values = (float *)(void *)x.buffer;
    for (int i = 0; values && i < n; i++) values[i] *= by;
}

/* Logits are linear in the last norm's weights, and in their bias; both are still floats of the host. */
static void scale_logits(struct fkv_model *m)
{
    if (m->h.logit_scale == 1) return;
    multiply(m->output_norm, m->h.d_model, m->h.logit_scale);
    multiply(m->output_bias, m->h.n_vocab, m->h.logit_scale);
}

static fkv_status load_weights(struct fkv_model *m, const struct fkv_gguf *g, struct fkv_error *e)
{
    bool *seen = calloc(fkv_gguf_n_tensors(g) + 1, sizeof *seen);
    m->layer = calloc((size_t)m->h.n_layer, sizeof *m->layer);
    fkv_status status = seen && m->layer
                            ? fkv_model_bind(m, g, seen, e)
                            : fkv_fail(e, FKV_ERROR_MEMORY, "no memory for the weights of %d layers", m->h.n_layer);
    if (status == FKV_OK) status = refuse_unseen(m, g, seen, e);
    if (status == FKV_OK) scale_logits(m);
    for (int l = 0; status == FKV_OK && l < m->h.n_layer; l++) {
        const struct fkv_attention how = fkv_layer_attention(&m->h.layer[l], &m->layer[l]);
        char name[32];
        snprintf(name, sizeof name, "blk.%d", l);
        status = fkv_attention_check(&how, name, e);
    }
    free(seen);
    return status;
}

fkv_status fkv_model_load(struct fkv_model **model, const struct fkv_gguf *g, struct fkv_warnings *warnings,
                          struct fkv_error *e)
{
    struct fkv_model *m = calloc(1, sizeof *m);
    fkv_status status = m ? FKV_OK : fkv_fail(e, FKV_ERROR_MEMORY, "no memory for a model");
    if (status == FKV_OK) status = find_arch(&m->arch, g, e);
    if (status == FKV_OK) status = fkv_hparams_read(&m->h, m->arch, g, warnings, e);
    if (status == FKV_OK) status = read_vocab(&m->h, g, e);
    if (status == FKV_OK) status = load_weights(m, g, e);
    if (status == FKV_OK)
        *model = m;
    else
        fkv_model_free(m);
    return status;
}

fkv_status fkv_model_runs_on(const struct fkv_model *m, const struct fkv_backend *b, struct fkv_error *e)
{
    if (m->h.n_expert == 0 || b->ops->mixture) return FKV_OK;
    return fkv_fail(
        e, FKV_ERROR_UNSUPPORTED,
        "%s.expert_count: expected 0 on the device %s, which has no experts yet, found %d: run it on the CPU",
        m->arch->name, b->ops->name, m->h.n_expert);
}

bool fkv_model_needs_spare(const struct fkv_hparams *h) { return h->n_expert > 0 || h->norm_after; }

void fkv_model_free(struct fkv_model *m)
{
    if (!m) return;
    fkv_hparams_destroy(&m->h);
    free(m->layer);
    free(m->grams);
    free(m->vectors);
    free(m);
}
