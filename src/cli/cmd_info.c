#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/report.h"

static void print_text(const char *label, const fkv_engine *engine, const char *key)
{
    char text[256] = "-";
    if (!fkv_metadata_text(engine, key, text, sizeof text)) strcpy(text, "-");
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ') *c = ' ';
    printf("%-16s%s\n", label, text);
}

struct tensor_types {
    int n;
    struct {
        const char *name;
        size_t tensors;
    } type[64];
};

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* "F32 141, Q4_K 168": how many tensors each type has. */
static void print_types(const fkv_engine *engine)
{
    struct tensor_types types = {0};
    struct fkv_tensor_info tensor;
    for (size_t i = 0; fkv_tensor_list(engine, i, &tensor); i++) {
        int at = 0;
        while (at < types.n && strcmp(types.type[at].name, tensor.type)) at++;
        if (at == sizeof types.type / sizeof *types.type) continue; /* more types than there are */
        if (at == types.n) types.type[types.n++].name = tensor.type;
        types.type[at].tensors++;
    }
    qsort(types.type, (size_t)types.n, sizeof *types.type, by_name);
    printf("%-16s", "tensor types");
    for (int i = 0; i < types.n; i++) printf("%s%s %zu", i ? ", " : "", types.type[i].name, types.type[i].tensors);
    putchar('\n');
}

static size_t count_tensors(const fkv_engine *engine)
{
    struct fkv_tensor_info tensor;
    size_t n = 0;
    while (fkv_tensor_list(engine, n, &tensor)) n++;
    return n;
}

static bool has_key(const fkv_engine *engine, const char *key)
{
    struct fkv_metadata m;
    for (size_t i = 0; fkv_metadata_list(engine, i, &m); i++)
        if (m.key_bytes == strlen(key) && !memcmp(m.key, key, m.key_bytes)) return true;
    return false;
}

/* "<|im_end|> 151645, <|endoftext|> 151643": the tokens that end an answer. */
static void print_ends(const fkv_engine *engine, int n_vocab)
{
    enum { MOST = 12 };
    int n = 0;
    printf("%-16s", "ends");
    for (int32_t id = 0; id < n_vocab; id++) {
        const char *bytes;
        if (!fkv_token_is_end(engine, id) || n++ >= MOST) continue;
        const size_t n_bytes = fkv_token_bytes(engine, id, true, &bytes);
        printf("%s", n > 1 ? ", " : "");
        for (size_t i = 0; i < n_bytes && i < 64; i++) putchar((unsigned char)bytes[i] < ' ' ? '?' : bytes[i]);
        printf(" %d", (int)id);
    }
    if (n > MOST) printf(" and %d more", n - MOST);
    printf("%s\n", n ? "" : "-");
}

static void print_file(const fkv_engine *engine, const struct fkv_model_info *info)
{
    print_text("name", engine, "general.name");
    print_text("architecture", engine, "general.architecture");
    printf("%-16s%s, %s parameters, %zu tensors\n", "size", SIZE(info->weight_bytes), COUNT(info->n_params),
           count_tensors(engine));
    print_types(engine);
    const char *most = info->layers_differ ? "at most " : "";
    if (info->n_layer)
        printf("%-16s%d, width %s, feed-forward %s%s\n%-16s%s%d heads of %d, %d KV heads\n", "layers", info->n_layer,
               COUNT(info->d_model), most, COUNT(info->d_ff), "attention", most, info->n_head, info->d_head,
               info->n_kv_head);
    if (info->n_expert) printf("%-16s%d, of which a token takes %d\n", "experts", info->n_expert, info->n_expert_used);
    if (info->n_ctx_train) printf("%-16s%s tokens\n", "context", COUNT(info->n_ctx_train));
    printf("%-16s%s ids\n", "vocabulary", COUNT(info->n_vocab));
    print_text("tokenizer", engine, "tokenizer.ggml.model");
    print_text("pre-tokenizer", engine, "tokenizer.ggml.pre");
    print_ends(engine, info->n_vocab);
    printf("%-16s%s\n", "chat template", has_key(engine, "tokenizer.chat_template") ? "yes" : "no");
}

static int print_memory(const struct generator *g)
{
    const struct settings *s = g->settings;
    struct memory_need need;
    int status = generator_plan(g, &s->session, (size_t)g->n_ctx, 0, &need);
    if (status != EXIT_SUCCESS) return status;
    const struct fkv_memory_plan *p = &need.plan;
    printf("\nmemory for a prompt of %s tokens\n", COUNT(need.n_prompt));
    printf("%-16s%12s\n", "weights", SIZE(p->weights));
    printf("%-16s%12s  (policy %s; full attention %s)\n", "KV cache", SIZE(p->kv), s->session.kv.policy,
           SIZE(p->kv_full));
    printf("%-16s%12s  (one layer's full K and V while the prompt is computed)\n", "prefill", SIZE(p->kv_prefill));
    printf("%-16s%12s\n", "scratch", SIZE(p->scratch));
    printf("%-16s%12s  (%s)\n", "in all", SIZE(memory_need_bytes(p)), report_available((char[320]){""}, p));
    return EXIT_SUCCESS;
}

/* Opens the file's metadata alone when the model cannot run; *why_not is then the reason, else empty. */
static int open_model(struct generator *g, struct settings *s, char *why_not)
{
    *why_not = '\0';
    if (fkv_engine_open(&g->engine, s->model, &s->engine, why_not) == FKV_OK)
        *why_not = '\0';
    else {
        s->engine.vocab_only = true;
        if (fkv_engine_open(&g->engine, s->model, &s->engine, NULL) != FKV_OK) return console_error("%s", why_not);
    }
    return EXIT_SUCCESS;
}

int cmd_info(struct settings *settings)
{
    char why_not[FKV_ERROR_BYTES];
    struct generator g = {.settings = settings};
    int status = open_model(&g, settings, why_not);
    if (status != EXIT_SUCCESS) return status;
    report_warnings(stderr, g.engine);
    const struct fkv_model_info *info = fkv_engine_info(g.engine);
    g.n_ctx = settings->session.n_ctx ? settings->session.n_ctx : info->n_ctx_train;
    print_file(g.engine, info);
    if (*why_not)
        printf("%-16sno: %s\n", "can run", why_not);
    else
        printf("%-16syes: %s, %s, %d threads\n", "can run", info->device, info->isa, info->n_threads);
    if (!*why_not) status = print_memory(&g);
    generator_close(&g);
    return status;
}
