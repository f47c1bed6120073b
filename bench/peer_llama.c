/* One measurement of a llama.cpp-compatible library: bench/peers.py compiles this against the peer's own llama.h and
   runs it, a process a measurement.

   peer_llama LIBRARY_DIR MODEL THREADS KV_TYPE PROMPT PREDICT SEED WARM
   prefills PROMPT pseudo-random ids in batches of 512 (WARM: of 2,048, which serve GPUs best) with flash attention on,
   decodes PREDICT more, and prints one line of JSON. KV_TYPE: ggml's number (1 f16, 8 q8_0). WARM 1: the prompt is
   prefilled in another context first. peers.py defines PEER_OLD_BATCH, PEER_OLD_FLASH, PEER_REPACK and
   PEER_LOAD_BACKENDS by what llama.h declares. */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "llama.h"
#ifdef PEER_LOAD_BACKENDS
#include "ggml-backend.h"
#endif

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void only_errors(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static struct llama_batch batch_of(llama_token *ids, int n, int pos)
{
#ifdef PEER_OLD_BATCH
    return llama_batch_get_one(ids, n, pos, 0);
#else
    (void)pos;
    return llama_batch_get_one(ids, n);
#endif
}

static struct llama_context *context_of(struct llama_model *model, int threads, int kv_type, int n, int batch)
{
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = (uint32_t)n;
    p.n_batch = 2048;
    p.n_ubatch = (uint32_t)batch;
    p.n_threads = p.n_threads_batch = threads;
    p.type_k = p.type_v = (enum ggml_type)kv_type;
#ifdef PEER_OLD_FLASH
    p.flash_attn = true;
#else
    p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
#endif
    return llama_init_from_model(model, p);
}

/* Seconds; below 0 when it fails. */
static double prefill(struct llama_context *context, llama_token *ids, int n, int batch)
{
    const double t0 = now_s();
    for (int i = 0; i < n; i += batch)
        if (llama_decode(context, batch_of(ids + i, n - i < batch ? n - i : batch, i)) != 0) return -1;
    (void)*(volatile float *)llama_get_logits_ith(context, -1);
    return now_s() - t0;
}

int main(int argc, char **argv)
{
    if (argc != 9) return 1;
    const int threads = atoi(argv[3]), kv_type = atoi(argv[4]), n_prompt = atoi(argv[5]), n_predict = atoi(argv[6]);
    const bool warm = atoi(argv[8]);
    const int batch = warm ? 2048 : 512;
    llama_log_set(only_errors, NULL);
#ifdef PEER_LOAD_BACKENDS
    ggml_backend_load_all_from_path(argv[1]);
#endif
    llama_backend_init();
    struct llama_model_params mp = llama_model_default_params();
#ifdef PEER_REPACK
    mp.repack_tensors = true;
#endif
    double t0 = now_s();
    struct llama_model *model = llama_model_load_from_file(argv[2], mp);
    if (!model) return 1;
    const double load = now_s() - t0;
    struct llama_context *context = context_of(model, threads, kv_type, n_prompt + n_predict + 8, batch);
    llama_token *ids = malloc((size_t)n_prompt * sizeof *ids);
    if (!context || !ids) return 1;
    srand((unsigned)atoi(argv[7]));
    for (int i = 0; i < n_prompt; i++) ids[i] = 1000 + rand() % 40000;

    if (warm) {
        if (prefill(context, ids, n_prompt, batch) < 0) return 1;
        llama_free(context);
        context = context_of(model, threads, kv_type, n_prompt + n_predict + 8, batch);
        if (!context) return 1;
    }
    const double prefill_s = prefill(context, ids, n_prompt, batch);
    if (prefill_s < 0) return 1;

    t0 = now_s();
    for (int i = 0; i < n_predict; i++) {
        llama_token id = 1000 + i;
        if (llama_decode(context, batch_of(&id, 1, n_prompt + i)) != 0) return 1;
        (void)*(volatile float *)llama_get_logits_ith(context, -1);
    }
    const double decode = now_s() - t0;
    printf("{\"load_s\": %.3f, \"prefill\": %.3f, \"decode\": %.3f}\n", load, n_prompt / prefill_s,
           n_predict ? n_predict / decode : 0.0);
    return 0;
}
