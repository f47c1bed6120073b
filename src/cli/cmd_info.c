#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/report.h"
#include "gguf/gguf.h"
#include "quant/quant.h"

static void print_text(const char *label, const struct fkv_gguf *gguf, const char *key)
{
    struct fkv_str s = {"-", 1};
    fkv_gguf_str(gguf, key, &s, NULL);
    printf("%-16s", label);
    for (size_t i = 0; i < s.n; i++) putchar((unsigned char)s.data[i] < ' ' ? ' ' : s.data[i]);
    putchar('\n');
}

/* "Q4_K 168, F32 141": how many tensors each type has. */
static void print_types(const struct fkv_gguf *gguf)
{
    const struct fkv_quant_type *type;
    char name[16];
    int printed = 0;
    printf("%-16s", "tensor types");
    for (int row = 0; (type = fkv_quant_row(row)); row++) {
        size_t n = 0;
        for (size_t i = 0; i < fkv_gguf_n_tensors(gguf); i++) n += fkv_gguf_tensor(gguf, i)->type == type->type;
        if (n) printf("%s%s %zu", printed++ ? ", " : "", fkv_quant_name(type->type, name), n);
    }
    putchar('\n');
}

static void print_file(const struct fkv_gguf *gguf, const struct fkv_model_info *info)
{
    print_text("name", gguf, "general.name");
    print_text("architecture", gguf, "general.architecture");
    printf("%-16s%s, %s parameters, %zu tensors\n", "size", SIZE(info->weight_bytes), COUNT(info->n_params),
           fkv_gguf_n_tensors(gguf));
    print_types(gguf);
    if (info->n_layer)
        printf("%-16s%d, width %s, feed-forward %s\n%-16s%d heads of %d, %d KV heads\n", "layers", info->n_layer,
               COUNT(info->d_model), COUNT(info->d_ff), "attention", info->n_head, info->d_head, info->n_kv_head);
    if (info->n_ctx_train) printf("%-16s%s tokens\n", "context", COUNT(info->n_ctx_train));
    printf("%-16s%s ids\n", "vocabulary", COUNT(info->n_vocab));
    print_text("tokenizer", gguf, "tokenizer.ggml.model");
    print_text("pre-tokenizer", gguf, "tokenizer.ggml.pre");
    printf("%-16s%s\n", "chat template", fkv_gguf_has(gguf, "tokenizer.chat_template") ? "yes" : "no");
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
    printf("%-16s%12s  (%s available)\n", "in all", SIZE(memory_need_bytes(p)),
           p->available ? SIZE(p->available) : "an unknown amount");
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
    struct fkv_error e = {""};
    struct fkv_gguf *gguf = NULL;
    struct generator g = {.settings = settings};
    int status = open_model(&g, settings, why_not);
    if (status != EXIT_SUCCESS) return status;
    report_warnings(stderr, g.engine);
    const struct fkv_model_info *info = fkv_engine_info(g.engine);
    g.n_ctx = settings->session.n_ctx ? settings->session.n_ctx : info->n_ctx_train;
    if (fkv_gguf_open(&gguf, settings->model, &e) != FKV_OK)
        status = console_error("%s", e.text);
    else {
        print_file(gguf, info);
        if (*why_not)
            printf("%-16sno: %s\n", "can run", why_not);
        else
            printf("%-16syes: %s, %s, %d threads\n", "can run", info->device, info->isa, info->n_threads);
        if (!*why_not) status = print_memory(&g);
        fkv_gguf_close(gguf);
    }
    generator_close(&g);
    return status;
}
