/* Files of Ollama's own converter, as it was until 2026: names and values that differ from what every other writer has
   under the same architecture. They are renamed here, once, and nobody else knows. A name that the file has under the
   common spelling stays, so that no other file changes. Source: Ollama's llama.cpp compatibility layer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf_internal.h"

/* ---- the tables ------------------------------------------------------------------------------ */

struct alias {
    const char *arch, *from, *to; /* of a key without its architecture, of a tensor without its block */
};

static const struct alias arch_aliases[] = {{"", "gptoss", "gpt-oss"}, {"", "qwen25vl", "qwen2vl"}, {0}};

static const struct alias key_aliases[] = {
    {"gemma3", "rope.global.freq_base", "rope.freq_base"},
    {"gemma3", "rope.local.freq_base", "rope.freq_base_swa"},
    {"mistral3", "rope.scaling.beta_fast", "rope.scaling.yarn_beta_fast"},
    {"mistral3", "rope.scaling.beta_slow", "rope.scaling.yarn_beta_slow"},
    {"mistral3", "rope.scaling.mscale_all_dim", "rope.scaling.yarn_log_multiplier"},
    {"mistral3", "rope.scaling_beta", "attention.temperature_scale"},
    {"qwen2vl", "rope.mrope_section", "rope.dimension_sections"},
    {0},
};

static const struct alias tensor_aliases[] = {
    {"gpt-oss", "attn_out.weight", "attn_output.weight"},
    {"gpt-oss", "attn_out.bias", "attn_output.bias"},
    {"gpt-oss", "attn_sinks", "attn_sinks.weight"},
    {"gpt-oss", "ffn_norm.weight", "post_attention_norm.weight"},
    {"gemma4", "ffn_gate_inp.per_expert_scale", "ffn_down_exps.scale"},
    {"qwen35", "ssm_dt", "ssm_dt.bias"},
    {"qwen35moe", "ssm_dt", "ssm_dt.bias"},
    {"lfm2", "output_norm.weight", "token_embd_norm.weight"},
    {0},
};

static const char pre_key[] = "tokenizer.ggml.pre", model_key[] = "tokenizer.ggml.model";

static struct fkv_str text_of(const struct fkv_gguf *g, const char *key)
{
    struct fkv_str text = {"", 0};
    (void)fkv_gguf_str(g, key, &text, NULL);
    return text;
}

static bool is_always(const struct fkv_gguf *g, const char *key) { return (void)g, (void)key, true; }
static bool is_missing(const struct fkv_gguf *g, const char *key) { return !fkv_gguf_has(g, key); }

static bool says_nothing(const struct fkv_gguf *g, const char *key)
{
    return is_missing(g, key) || fkv_str_is(text_of(g, key), "default");
}

static bool is_llama3(const struct fkv_gguf *g, const char *key)
{
    enum { EOT = 128009 };
    uint64_t n = 0;
    return says_nothing(g, key) && fkv_gguf_array(g, "tokenizer.ggml.tokens", FKV_GGUF_STRING, &n, NULL) == FKV_OK &&
           n > EOT && fkv_str_is(fkv_gguf_array_str(g, "tokenizer.ggml.tokens", EOT), "<|eot_id|>");
}

static bool is_long_gemma3(const struct fkv_gguf *g, const char *key)
{
    uint32_t context = 0;
    return is_missing(g, key) && fkv_gguf_u32(g, "gemma3.context_length", &context, NULL) == FKV_OK &&
           context >= 131072;
}

static bool scales_somehow(const struct fkv_gguf *g, const char *key)
{
    return is_missing(g, key) && fkv_gguf_has(g, "gpt-oss.rope.scaling.factor");
}

static bool is_gemma4_in_truth(const struct fkv_gguf *g, const char *key)
{
    return fkv_str_is(text_of(g, key), "llama") && fkv_str_is(text_of(g, pre_key), "gemma4");
}

/* Values that such files lack, or have wrongly. */
static const struct value {
    const char *arch, *key, *text; /* text: NULL for a number */
    float number;
    bool (*applies)(const struct fkv_gguf *g, const char *key);
} values[] = {
    {"llama", pre_key, "llama-bpe", 0, is_llama3},
    {"gemma3", "gemma3.attention.layer_norm_rms_epsilon", NULL, 1e-6f, is_missing},
    {"gemma3", "gemma3.rope.scaling.factor", NULL, 8, is_long_gemma3},
    {"gemma4", model_key, "gemma4", 0, is_gemma4_in_truth},
    {"gpt-oss", "gpt-oss.rope.scaling.type", "yarn", 0, scales_somehow},
    {"gpt-oss", pre_key, "gpt-4o", 0, is_always},
    {"mistral3", pre_key, "tekken", 0, says_nothing},
    {"lfm2", pre_key, "lfm2", 0, says_nothing},
    {0},
};

/* ---- changes --------------------------------------------------------------------------------- */

/* Memory that lives as long as the file; NULL when there is none. */
static uint8_t *keep(struct fkv_gguf *g, size_t bytes)
{
    struct fkv_gguf_made *made = malloc(sizeof *made + bytes);
    if (!made) return NULL;
    made->next = g->made;
    g->made = made;
    return made->bytes;
}

/* Gives a key another value, or the file another key. */
static bool set_value(struct fkv_gguf *g, const char *name, enum fkv_gguf_kind kind, const void *bytes, size_t n)
{
    const size_t n_name = strlen(name);
    uint8_t *data = keep(g, n + n_name);
    if (!data) return false;
    memcpy(data, bytes, n);
    struct fkv_gguf_key key = {.kind = kind, .elem = kind, .count = 1, .data = data};
    key.name = (struct fkv_str){memcpy(data + n, name, n_name), n_name};
    const struct fkv_name_entry *found = fkv_name_index_find(&g->key_index, key.name);
    if (found) {
        free(g->keys[found->i].strings);
        key.name = g->keys[found->i].name;
        g->keys[found->i] = key;
        return true;
    }
    struct fkv_gguf_key *keys = realloc(g->keys, (g->n_keys + 1) * sizeof *keys);
    if (!keys) return false;
    g->keys = keys;
    g->keys[g->n_keys++] = key;
    return fkv_gguf_index_keys(g, NULL) == FKV_OK;
}

static bool set_text(struct fkv_gguf *g, const char *name, const char *text)
{
    uint8_t bytes[sizeof(uint64_t) + 32];
    const uint64_t n = strlen(text);
    memcpy(bytes, &n, sizeof n);
    memcpy(bytes + sizeof n, text, n);
    return set_value(g, name, FKV_GGUF_STRING, bytes, sizeof n + n);
}

/* Renames a key, if the file has none of that name; the index is to be made again. */
static bool rename_key(struct fkv_gguf *g, size_t i, const char *to)
{
    if (fkv_gguf_has(g, to)) return true;
    uint8_t *name = keep(g, strlen(to));
    if (name) g->keys[i].name = (struct fkv_str){memcpy(name, to, strlen(to)), strlen(to)};
    return name != NULL;
}

/* "<arch>.<rest>" is what the key is called, and its rest: NULL where it is another's. */
static const char *rest_of(struct fkv_str key, const char *arch, size_t *n)
{
    const size_t n_arch = strlen(arch);
    if (key.n <= n_arch || memcmp(key.data, arch, n_arch) != 0 || key.data[n_arch] != '.') return NULL;
    *n = key.n - n_arch - 1;
    return key.data + n_arch + 1;
}

/* Takes the file for one of another architecture. */
static bool rename_arch(struct fkv_gguf *g, const struct alias *a)
{
    char name[FKV_GGUF_NAME_BYTES];
    bool ok = set_text(g, "general.architecture", a->to);
    for (size_t i = 0; ok && i < g->n_keys; i++) {
        size_t n = 0;
        const char *rest = rest_of(g->keys[i].name, a->from, &n);
        if (!rest || n + strlen(a->to) + 2 > sizeof name) continue;
        snprintf(name, sizeof name, "%s.%.*s", a->to, (int)n, rest);
        ok = rename_key(g, i, name);
    }
    return ok && fkv_gguf_index_keys(g, NULL) == FKV_OK;
}

static bool rename_keys(struct fkv_gguf *g, const char *arch)
{
    char from[FKV_GGUF_NAME_BYTES], to[FKV_GGUF_NAME_BYTES];
    bool ok = true;
    for (const struct alias *a = key_aliases; ok && a->arch; a++) {
        if (strcmp(a->arch, arch) != 0) continue;
        snprintf(from, sizeof from, "%s.%s", arch, a->from);
        snprintf(to, sizeof to, "%s.%s", arch, a->to);
        const struct fkv_name_entry *found = fkv_name_index_find(&g->key_index, (struct fkv_str){from, strlen(from)});
        if (found) ok = rename_key(g, found->i, to);
    }
    return ok && fkv_gguf_index_keys(g, NULL) == FKV_OK;
}

static bool set_values(struct fkv_gguf *g, const char *arch)
{
    bool ok = true;
    for (const struct value *v = values; ok && v->arch; v++) {
        if (strcmp(v->arch, arch) != 0 || !v->applies(g, v->key)) continue;
        ok = v->text ? set_text(g, v->key, v->text) : set_value(g, v->key, FKV_GGUF_F32, &v->number, sizeof v->number);
    }
    return ok;
}

/* Renames tensors; a name that would be there twice stays. */
static bool rename_tensors(struct fkv_gguf *g, const char *arch)
{
    bool changed = false;
    for (size_t i = 0; i < g->n_tensors; i++) {
        char *name = g->tensors[i].tensor.name, to[sizeof g->tensors[i].tensor.name];
        int block = -1, n_prefix = 0;
        if (sscanf(name, "blk.%d.%n", &block, &n_prefix) < 1) n_prefix = 0;
        for (const struct alias *a = tensor_aliases; a->arch; a++) {
            if (strcmp(a->arch, arch) != 0 || strcmp(a->from, name + n_prefix) != 0) continue;
            if ((size_t)snprintf(to, sizeof to, "%.*s%s", n_prefix, name, a->to) >= sizeof to) continue;
            if (fkv_gguf_find(g, to) < g->n_tensors) continue;
            strcpy(name, to);
            changed = true;
            break;
        }
    }
    return !changed || fkv_gguf_index_tensors(g, NULL) == FKV_OK;
}

/* gpt-oss: the experts' length, which only their tensor says. */
static bool find_expert_length(struct fkv_gguf *g)
{
    static const char key[] = "gpt-oss.expert_feed_forward_length";
    const struct fkv_gguf_tensor *gate = fkv_gguf_find_tensor(g, "blk.0.ffn_gate_exps.weight");
    if (fkv_gguf_has(g, key) || !gate || gate->dims[1] > UINT32_MAX) return true;
    const uint32_t length = (uint32_t)gate->dims[1];
    return set_value(g, key, FKV_GGUF_U32, &length, sizeof length);
}

fkv_status fkv_gguf_take_aliases(struct fkv_gguf *g, struct fkv_error *e)
{
    char arch[32] = "";
    struct fkv_str name = text_of(g, "general.architecture");
    bool ok = true;
    if (name.n == 0 || name.n >= sizeof arch) return FKV_OK;
    memcpy(arch, name.data, name.n);
    for (const struct alias *a = arch_aliases; ok && a->arch; a++) {
        if (strcmp(arch, a->from) != 0) continue;
        ok = rename_arch(g, a);
        strcpy(arch, a->to);
    }
    ok = ok && rename_keys(g, arch) && set_values(g, arch) && rename_tensors(g, arch);
    if (ok && strcmp(arch, "gpt-oss") == 0) ok = find_expert_length(g);
    return ok ? FKV_OK : fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory for the names of its keys", g->file);
}
