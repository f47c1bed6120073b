#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/console.h"
#include "cli/generate.h"
#include "cli/interrupt.h"
#include "cli/report.h"

enum {
    ORDINARY_ANSWER = 1024, /* tokens planned for when no number is given */
    REPEAT_MAX = 1 << 20,   /* tokens that the repeat penalty may look back on */
};

int generator_open(struct generator *g, const struct settings *settings)
{
    char err[FKV_ERROR_BYTES];
    double start = fkv_clock_s();
    *g = (struct generator){.settings = settings};
    progress_open(&g->progress, !settings->no_progress);
    struct fkv_engine_params engine = settings->engine;
    engine.session = &settings->session;
    if (!strcmp(engine.device, "cpu") && strcmp(engine.gpu_layers, "auto") && strcmp(engine.gpu_layers, "0")) {
        console_warning("-ngl %.40s: ignored, all layers are on the CPU; --device vulkan or auto uses a GPU",
                        engine.gpu_layers);
        engine.gpu_layers = "auto";
    }
    if (fkv_engine_open(&g->engine, settings->model, &engine, err) != FKV_OK) return console_error("%s", err);
    g->load_s = fkv_clock_s() - start;
    report_warnings(stderr, g->engine);
    int trained = fkv_engine_info(g->engine)->n_ctx_train;
    g->n_ctx = settings->session.n_ctx ? settings->session.n_ctx : trained;
    if (g->n_ctx > trained)
        console_warning("-c %d: the model was trained for %d tokens; beyond them answers get worse", g->n_ctx, trained);
    return EXIT_SUCCESS;
}

static void stop_session(struct generator *g)
{
    interrupt_unwatch();
    fkv_sampler_close(g->sampler);
    fkv_session_close(g->session);
    g->sampler = NULL;
    g->session = NULL;
}

void generator_close(struct generator *g)
{
    stop_session(g);
    fkv_engine_close(g->engine);
}

int generator_plan(const struct generator *g, const struct fkv_session_params *params, size_t n_prompt, int n_predict,
                   struct memory_need *need)
{
    char err[FKV_ERROR_BYTES];
    size_t n_ctx = (size_t)g->n_ctx;
    if (n_prompt > n_ctx)
        return console_error("the prompt has %s tokens, the %scontext is %s", COUNT(n_prompt),
                             g->settings->session.n_ctx ? "" : "model's ", COUNT(n_ctx));
    size_t room = n_ctx - n_prompt, answer = n_predict < 0 ? ORDINARY_ANSWER : (size_t)n_predict;
    need->n_prompt = n_prompt;
    need->n_answer = answer < room ? answer : room;
    if (fkv_plan_memory(g->engine, params, (int)n_prompt, (int)need->n_answer, &need->plan, err) != FKV_OK)
        return console_error("%s", err);
    return EXIT_SUCCESS;
}

uint64_t memory_need_bytes(const struct fkv_memory_plan *plan)
{
    return plan->weights + plan->kv + plan->kv_prefill + plan->scratch;
}

int generator_check_memory(const struct generator *g, const struct fkv_memory_plan *plan)
{
    uint64_t need = memory_need_bytes(plan);
    if (g->settings->no_memory_check || !plan->available || need <= plan->available) return EXIT_SUCCESS;
    return console_error("not enough memory: %s needed (weights %s, KV cache %s, prefill %s, scratch %s), %s; "
                         "--no-memory-check tries all the same",
                         SIZE(need), SIZE(plan->weights), SIZE(plan->kv), SIZE(plan->kv_prefill), SIZE(plan->scratch),
                         report_available((char[320]){""}, plan));
}

int generator_check_variants(const struct generator *g, size_t n, const struct fkv_kv_params *const *kv, int n_variants)
{
    struct fkv_session_params params = g->settings->session;
    struct memory_need need, variant;
    params.kv.policy = "full";
    int status = generator_plan(g, &params, n, 0, &need);
    for (int v = 0; v < n_variants && status == EXIT_SUCCESS; v++) {
        params.kv = *kv[v];
        status = generator_plan(g, &params, n, 0, &variant);
        if (status == EXIT_SUCCESS) need.plan.kv += variant.plan.kv;
    }
    return status == EXIT_SUCCESS ? generator_check_memory(g, &need.plan) : status;
}

int generator_start(struct generator *g, const struct fkv_session_params *params)
{
    char err[FKV_ERROR_BYTES];
    struct fkv_session_params session = *params;
    struct fkv_sampler_params sampler = g->settings->sampler;
    stop_session(g);
    session.progress = progress_step;
    session.progress_user = &g->progress;
    if (sampler.repeat_last_n < 0) sampler.repeat_last_n = g->n_ctx < REPEAT_MAX ? g->n_ctx : REPEAT_MAX;
    if (g->settings->seed >= 0) sampler.seed = (uint64_t)g->settings->seed;
    if (fkv_sampler_open(&g->sampler, &sampler, fkv_engine_info(g->engine)->n_vocab, err) != FKV_OK)
        return console_error("%s", err);
    if (fkv_session_open(&g->session, g->engine, &session, err) != FKV_OK) return console_error("%s", err);
    interrupt_watch(g->session);
    return EXIT_SUCCESS;
}

int exit_status_of(fkv_status status, const char *err)
{
    if (status == FKV_OK) return EXIT_SUCCESS;
    if (status == FKV_ERROR_CANCELLED) return EXIT_INTERRUPTED;
    return console_error("%s", *err ? err : fkv_status_text(status));
}

static fkv_status sync_marked(struct generator *g, const int32_t *ids, size_t n)
{
    const fkv_status status = fkv_session_mark(g->session, &g->marks);
    return status == FKV_OK ? fkv_session_sync(g->session, ids, n) : status;
}

int generator_prefill(struct generator *g, const int32_t *ids, size_t n, const struct fkv_marks *marks)
{
    size_t seen = fkv_session_n_seen(g->session);
    g->marks = *marks;
    progress_start(&g->progress, n > seen ? n - seen : n);
    fkv_status status = sync_marked(g, ids, n);
    if (status == FKV_ERROR_CANCELLED && !interrupted()) /* by the Ctrl-C that ended the answer before */
        status = sync_marked(g, ids, n);
    progress_end(&g->progress);
    return exit_status_of(status, fkv_session_error(g->session));
}

int generator_append(struct generator *g, int32_t id)
{
    if (id < 0)
        return console_error("the model's logits are not numbers (after %s tokens)",
                             COUNT(fkv_session_n_seen(g->session)));
    const fkv_status status = fkv_session_append(g->session, id);
    return exit_status_of(status, fkv_session_error(g->session));
}

void kept_of(const fkv_session *session, struct kept *kept)
{
    struct fkv_session_stats stats;
    const int32_t *positions;
    fkv_session_get_stats(session, &stats);
    *kept = (struct kept){.n_prompt = fkv_session_n_seen(session),
                          .n_min = UINT64_MAX,
                          .bytes = stats.kv_bytes,
                          .full_bytes = stats.kv_full_bytes,
                          .stats = stats,
                          .tsp_layer = -1,
                          .self_check = NAN};
    for (int layer = 0; fkv_session_kept(session, layer, 0, &positions) >= 0; layer++) {
        for (int head = 0, n; (n = fkv_session_kept(session, layer, head, &positions)) >= 0; head++) {
            if ((uint64_t)n < kept->n_min) kept->n_min = (uint64_t)n;
            if ((uint64_t)n > kept->n_max) kept->n_max = (uint64_t)n;
        }
    }
    int layer, n = fkv_session_propagated(session, &layer, &positions);
    if (n < 0) return;
    kept->tsp_layer = layer;
    kept->n_propagated = (uint64_t)n;
}

const char *stop_name(enum stop stop)
{
    static const char *const names[] = {"eos", "length", "stop", "interrupt"};
    return names[stop];
}

/* What a sampled id means for the answer: true when it ends it. */
static bool take_id(const struct generator *g, struct generated *out, int32_t id, size_t most)
{
    const char *bytes;
    char number[16];
    const bool ends = !g->settings->ignore_eos && fkv_token_is_end(g->engine, id);
    out->ids[out->n++] = id;
    size_t n = ends ? 0 : fkv_token_bytes(g->engine, id, false, &bytes);
    bool shown = n > 0;
    /* a special token may end a stop string; one that the vocabulary lacks is shown as its number */
    if (!shown) n = fkv_token_bytes(g->engine, id, true, &bytes);
    if (!n && !ends) {
        n = (size_t)snprintf(number, sizeof number, "<%d>", id);
        bytes = number;
        shown = true;
    }
    if (n && answer_add(&out->answer, bytes, n, shown)) {
        out->stop = STOP_STRING;
        return true;
    }
    if (ends) {
        out->stop = STOP_EOS;
        return true;
    }
    if (out->n == 1) out->first_s = fkv_clock_s();
    out->stop = STOP_LENGTH;
    return out->n == most;
}

int generator_answer(struct generator *g, struct generated *out)
{
    size_t room = (size_t)g->n_ctx - fkv_session_n_seen(g->session), most = room;
    int status = EXIT_SUCCESS;
    bool ended = false;
    if (g->settings->n_predict >= 0 && (size_t)g->settings->n_predict < room) most = (size_t)g->settings->n_predict;
    out->stop = STOP_LENGTH;
    out->ids = malloc((most + 1) * sizeof *out->ids);
    if (!out->ids) return console_error("out of memory for an answer of %s tokens", COUNT(most));
    while (!ended && out->n < most && status == EXIT_SUCCESS) {
        int32_t id = fkv_sample(g->sampler, fkv_session_logits(g->session));
        ended = id >= 0 && take_id(g, out, id, most);
        if (!ended) status = interrupted() ? EXIT_INTERRUPTED : generator_append(g, id);
    }
    answer_end(&out->answer);
    if (out->answer.failed) status = console_error("out of memory for the answer");
    if (status == EXIT_INTERRUPTED) out->stop = STOP_INTERRUPT;
    return status;
}

void generated_free(struct generated *out)
{
    answer_free(&out->answer);
    free(out->ids);
    out->ids = NULL;
}
