/* Logits of a llama.cpp library: tests/sweep_models.py compiles this against the library's own llama.h.

   sweep_peer LIBRARY_DIR MODEL ID ... prints the logits after the ids, a line each: f32 cache, no flash attention,
   weights as they are stored. Status 2: the library refuses the file, for the reason on standard error. */
#include <stdio.h>
#include <stdlib.h>

#include "ggml-backend.h"
#include "llama.h"

static void only_errors(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static struct llama_context *context_of(struct llama_model *model)
{
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = p.n_batch = p.n_ubatch = 256;
    p.n_threads = p.n_threads_batch = 1;
    p.type_k = p.type_v = GGML_TYPE_F32;
    p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    return llama_init_from_model(model, p);
}

int main(int argc, char **argv)
{
    if (argc < 4) return 1;
    llama_token ids[256];
    const int n = argc - 3;
    for (int i = 0; i < n && i < 256; i++) ids[i] = atoi(argv[3 + i]);
    llama_log_set(only_errors, NULL);
    ggml_backend_load_all_from_path(argv[1]);
    llama_backend_init();
    struct llama_model_params mp = llama_model_default_params();
    mp.use_extra_bufts = false;
    struct llama_model *model = llama_model_load_from_file(argv[2], mp);
    if (!model) return 2;
    struct llama_context *context = context_of(model);
    if (!context) return 2;
    if (llama_decode(context, llama_batch_get_one(ids, n)) != 0) return 3;
    const float *logits = llama_get_logits_ith(context, -1);
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (int i = 0; i < n_vocab; i++) printf("%.9g\n", (double)logits[i]);
    fflush(stdout);
    _Exit(0); /* the library's own end takes longer than all before it */
}
