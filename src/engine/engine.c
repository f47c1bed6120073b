/* The engine: a model file opened, its tokenizer, its weights and the back end that multiplies them. */
#define _GNU_SOURCE
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"

/* A copy of a string key, "" for a missing one. */
static fkv_status copy_key(char **copy, const struct fkv_gguf *g, const char *key, struct fkv_error *e)
{
    struct fkv_str s = {"", 0};
    const fkv_status status = fkv_gguf_str(g, key, &s, e);
    if (status != FKV_OK) return status;
    *copy = strndup(s.data, s.n);
    return *copy ? FKV_OK : fkv_fail(e, FKV_ERROR_MEMORY, "no memory for %s", key);
}

/* The same for a key that the file could do without: one of another kind counts as missing, with a warning. */
static fkv_status copy_optional_key(char **copy, const struct fkv_gguf *g, const char *key,
                                    struct fkv_warnings *warnings, struct fkv_error *e)
{
    const fkv_status status = copy_key(copy, g, key, e);
    if (status != FKV_ERROR_FORMAT) return status;
    fkv_warn(warnings, "%.400s: ignored", e->text);
    *copy = strdup("");
    return *copy ? FKV_OK : fkv_fail(e, FKV_ERROR_MEMORY, "no memory for %s", key);
}

/* The type that most of the weights have. */
static const char *main_type(const struct fkv_gguf *g)
{
    uint64_t bytes[FKV_TYPE_LIMIT] = {0};
    uint32_t best = FKV_TYPE_F32;
    for (size_t i = 0; i < fkv_gguf_n_tensors(g); i++) {
        const struct fkv_gguf_tensor *t = fkv_gguf_tensor(g, i);
        bytes[t->type] += t->bytes;
        if (bytes[t->type] > bytes[best]) best = t->type;
    }
    return fkv_quant_find(best)->name;
}

static void fill_info(fkv_engine *e)
{
    struct fkv_model_info *info = &e->info;
    *info = (struct fkv_model_info){.arch = e->arch,
                                    .name = e->name,
                                    .quantisation = main_type(e->gguf),
                                    .isa = "",
                                    .device = "",
                                    .note = e->note,
                                    .n_vocab = fkv_tokenizer_n_vocab(e->tokenizer)};
    for (size_t i = 0; i < fkv_gguf_n_tensors(e->gguf); i++) {
        const struct fkv_gguf_tensor *t = fkv_gguf_tensor(e->gguf, i);
        info->n_params += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
        info->weight_bytes += t->bytes;
    }
    if (!e->model) return;
    const struct fkv_hparams *h = &e->model->h;
    info->n_layer = h->n_layer;
    info->n_head = h->n_head;
    info->n_kv_head = h->n_kv_head;
    info->d_head = h->d_head;
    info->d_model = h->d_model;
    info->d_ff = h->d_ff;
    for (int i = 0; i < h->n_layer; i++) {
        const struct fkv_layer_hparams *l = &h->layer[i];
        info->layers_differ |= l->n_head != h->n_head || l->n_kv_head != h->n_kv_head || l->d_head != h->d_head ||
                               l->d_ff + l->d_ff_expert != h->d_ff;
    }
    info->n_expert = h->n_expert;
    info->n_expert_used = h->n_expert_used;
    info->n_vocab = h->n_vocab;
    info->n_ctx_train = h->n_ctx_train;
    const struct fkv_place *first = e->ws.place, *last = first + e->ws.n_places - 1;
    info->isa = last->b->isa;
    info->device = first->b->device;
    info->n_threads = fkv_team_size(last->b->team);
    info->gpu_weight_bytes = fkv_model_place_bytes(e->model, first->b, first->end);
    info->gpu_layers = info->gpu_weight_bytes ? first->end : 0;
    if (info->gpu_layers) info->gpu_bytes = first->b->ops->bytes_left(first->b) + info->gpu_weight_bytes;
}

/* Ids of the vocabulary are rows of the table; rows beyond it are padding. Tokens beyond them, such as those of images
   that another part of the model makes, are refused where they are to be computed. */
static void look_at_vocabulary(fkv_engine *e)
{
    const int n = fkv_tokenizer_n_vocab(e->tokenizer), n_rows = e->model->h.n_vocab;
    if (n > n_rows)
        fkv_warn(&e->warnings, "token_embd.weight: %d rows for %d tokens: text with one of the others is refused",
                 n_rows, n);
}

fkv_status fkv_engine_open(fkv_engine **engine, const char *path, const struct fkv_engine_params *params, char *err)
{
    struct fkv_error error = {""};
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    fkv_engine *e = calloc(1, sizeof *e);
    fkv_status status = e ? FKV_OK : fkv_fail(&error, FKV_ERROR_MEMORY, "no memory for an engine");
    if (status == FKV_OK && params) status = fkv_take_params(&p, sizeof p, params, "engine parameters", &error);
    if (status == FKV_OK) status = fkv_gguf_open(&e->gguf, path, &error);
    if (status == FKV_OK && !p.vocab_only) status = fkv_model_refuse(e->gguf, &error);
    if (status == FKV_OK) status = copy_key(&e->arch, e->gguf, "general.architecture", &error);
    if (status == FKV_OK) status = copy_optional_key(&e->name, e->gguf, "general.name", &e->warnings, &error);
    if (status == FKV_OK) fkv_make_plain(e->name);
    if (status == FKV_OK)
        status = copy_optional_key(&e->chat_template, e->gguf, "tokenizer.chat_template", &e->warnings, &error);
    if (status == FKV_OK) status = fkv_tokenizer_create(&e->tokenizer, e->gguf, &e->warnings, &error);
    if (status == FKV_OK && !p.vocab_only) status = fkv_engine_open_places(e, &p, &error);
    if (status == FKV_OK) {
        if (!p.vocab_only) look_at_vocabulary(e);
        fill_info(e);
        *engine = e;
    } else {
        fkv_engine_close(e);
    }
    return fkv_tell(err, &error, status);
}

void fkv_engine_close(fkv_engine *e)
{
    if (!e) return;
    fkv_engine_close_places(e);
    fkv_tokenizer_destroy(e->tokenizer);
    fkv_gguf_close(e->gguf);
    fkv_warnings_destroy(&e->warnings);
    free(e->arch);
    free(e->name);
    free(e->chat_template);
    free(e);
}

bool fkv_engine_on_host(const fkv_engine *e)
{
    bool own = false;
    for (int i = 0; i < e->ws.n_places; i++) own = own || e->ws.place[i].b->own_memory;
    return !own;
}

void fkv_engine_pace(fkv_engine *e, double gap_s, double share)
{
    atomic_store(&e->ws.gap_s, gap_s);
    atomic_store(&e->ws.share, share);
}

const struct fkv_model_info *fkv_engine_info(const fkv_engine *e) { return &e->info; }

const char *fkv_engine_warning(const fkv_engine *e, size_t i) { return i < e->warnings.n ? e->warnings.text[i] : NULL; }

void fkv_free(void *memory) { free(memory); }

/* ---- text ------------------------------------------------------------------------------------ */

fkv_status fkv_tokenize(const fkv_engine *e, const char *text, size_t n_bytes, unsigned flags, int32_t **ids,
                        size_t *n_ids, char *err)
{
    struct fkv_error error = {""};
    return fkv_tell(err, &error, fkv_tokenizer_encode(e->tokenizer, text, n_bytes, flags, ids, n_ids, &error));
}

size_t fkv_token_bytes(const fkv_engine *e, int32_t id, bool special, const char **bytes)
{
    return fkv_tokenizer_bytes(e->tokenizer, id, special, bytes);
}

bool fkv_token_is_end(const fkv_engine *e, int32_t id) { return fkv_tokenizer_is_end(e->tokenizer, id); }

/* ---- devices --------------------------------------------------------------------------------- */

int fkv_isa_list(struct fkv_isa_level *levels, int n)
{
    int chosen = -1;
    if (fkv_cpu_level(&chosen, NULL, NULL) != FKV_OK) chosen = -1;
    for (int i = 0; i < fkv_simd_n_levels() && i < n; i++)
        levels[i] = (struct fkv_isa_level){fkv_simd_level_name(i), fkv_simd_level_available(i), i == chosen};
    return fkv_simd_n_levels();
}
