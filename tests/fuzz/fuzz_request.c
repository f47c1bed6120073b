/* Bodies of requests: whatever they hold, there is a request within its limits, or an error that says why. The first
   byte of the input chooses the door. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/request.h"
#include "server/routes.h"
#include "support/tiny_vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { CONTEXT = 512 };

static const char chat_template[] = "{% for m in messages %}<|begin|>{{ m.role }}{{ m.content }}<|im_end|>{% endfor %}"
                                    "{% if add_generation_prompt %}<|begin|>assistant{% endif %}";

static fkv_engine *open_engine(void)
{
    const struct tiny_vocab v = tiny_bpe("qwen2");
    struct fkv_engine_params params = FKV_ENGINE_PARAMS_INIT;
    char path[] = "/tmp/fastkv-fuzz-XXXXXX", why[FKV_ERROR_BYTES];
    size_t bytes;
    uint8_t *file = tiny_file(&v, &bytes);
    fkv_engine *engine = NULL;
    const int fd = mkstemp(path);
    params.vocab_only = true;
    if (fd < 0 || write(fd, file, bytes) != (ssize_t)bytes || fkv_engine_open(&engine, path, &params, why)) abort();
    close(fd);
    unlink(path);
    free(file);
    return engine;
}

/* All that a server needs to read requests; kept until the end of the process. */
static struct server *get_server(void)
{
    static struct settings settings = {.session = FKV_SESSION_PARAMS_INIT,
                                       .sampler = FKV_SAMPLER_PARAMS_INIT,
                                       .n_predict = -1,
                                       .seed = 1};
    static struct server server = {.settings = &settings, .n_ctx = CONTEXT, .model_id = "fuzz"};
    if (server.engine) return &server;
    if (!doorbell_open(&server.bell)) abort();
    server.chat_template = strdup(chat_template);
    server.engine = open_engine();
    return &server;
}

static void check_request(const struct request *r)
{
    const int n_vocab = fkv_engine_info(r->server->engine)->n_vocab;
    if (r->n_branches != r->n * r->n_prompts || r->n_branches < 1) abort();
    for (int i = 0; i < r->n_prompts; i++) {
        if (r->prompts[i].n < 1 || r->prompts[i].n > CONTEXT) abort();
        for (size_t k = 0; k < r->prompts[i].n; k++)
            if (r->prompts[i].ids[k] < 0 || r->prompts[i].ids[k] >= n_vocab) abort();
    }
    for (int i = 0; i < r->n_branches; i++)
        if (r->branches[i].most + r->prompts[r->branches[i].prompt].n > CONTEXT) abort();
}

/* An error's text is JSON, and its status one of HTTP's. */
static void check_answer(struct exchange *x)
{
    json_t *answer = json_loadb(x->out.s, x->out.n, JSON_ALLOW_NUL, NULL);
    if (!answer || x->status < 200 || x->status > 599) abort();
    if (x->status != 200 && !json_is_string(json_object_get(json_object_get(answer, "error"), "message"))) abort();
    json_decref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct dialect *const dialects[] = {&dialect_chat, &dialect_completions, &dialect_native};
    static void (*const others[])(struct server *, struct exchange *) = {api_tokenize, api_detokenize,
                                                                         api_apply_template};
    struct server *server = get_server();
    struct exchange *x = bytes ? exchange_new(&server->bell) : NULL;
    if (!x) return 0;
    const int door = data[0] % 6;
    eval_text_add(&x->body, (const char *)data + 1, bytes - 1);
    struct request *r = door < 3 ? request_new(server, x, dialects[door]) : NULL;
    if (door >= 3) others[door - 3](server, x);
    if (r) {
        check_request(r);
        request_free(r);
    } else {
        check_answer(x);
    }
    for (struct exchange *rung; (rung = doorbell_next(&server->bell));) exchange_let_go(rung);
    exchange_let_go(x);
    return 0;
}
