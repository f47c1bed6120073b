#include "server/load.h"

#include <stdlib.h>

#include "base/clock.h"
#include "cli/console.h"
#include "cli/generate.h"
#include "cli/prompt.h"
#include "cli/report.h"
#include "server/scheduler.h"

/* Most bytes of KV that sessions may hold: what was asked for, or half of what is free beside the weights; and how
   many tokens that is, whole and by the policy. */
static bool plan_memory(struct server *server)
{
    struct fkv_session_params params = server->settings->session;
    struct fkv_memory_plan plan;
    char err[FKV_ERROR_BYTES];
    params.n_ctx = server->n_ctx;
    if (fkv_plan_memory(server->engine, &params, server->n_ctx, 0, &plan, err) != FKV_OK) {
        console_error("%s", err);
        return false;
    }
    const uint64_t taken = plan.weights + plan.scratch;
    server->kv_ram = (uint64_t)server->settings->kv_ram;
    if (!server->kv_ram) server->kv_ram = plan.available > taken ? (plan.available - taken) / 2 : UINT64_MAX;
    const double room = (double)server->kv_ram * server->n_ctx;
    fprintf(stderr, "memory  %s for KV: %s tokens whole, %s by %s in full contexts\n", SIZE(server->kv_ram),
            COUNT((uint64_t)(room / (double)plan.kv_full)), COUNT((uint64_t)(room / (double)plan.kv)),
            params.kv.policy);
    return true;
}

static bool open_template(struct server *server)
{
    const struct settings *s = server->settings;
    if (!s->chat_template && !s->fallback_template && !fkv_chat_template(server->engine)) {
        console_warning("the model has no chat template: /v1/chat/completions needs --chat-template");
        return true;
    }
    return prompt_template(s, server->engine, &server->chat_template);
}

static bool open_all(struct server *server)
{
    struct generator g;
    char err[FKV_ERROR_BYTES];
    const int status = generator_open(&g, server->settings);
    server->engine = g.engine;
    server->n_ctx = g.n_ctx;
    if (status != EXIT_SUCCESS) return false;
    const struct fkv_model_info *info = fkv_engine_info(g.engine);
    snprintf(server->fingerprint, sizeof server->fingerprint, "b%s-%s", fkv_version(), info->isa);
    report_model(stderr, info);
    fprintf(stderr, "serve   %d sessions of %s tokens, policy %s\n", server->settings->n_sessions, COUNT(server->n_ctx),
            server->settings->session.kv.policy);
    if (!open_template(server) || !plan_memory(server)) return false;
    if (scheduler_open(server, err)) return true;
    console_error("%s", err);
    return false;
}

void load(struct server *server)
{
    const double start = fkv_clock_s();
    int loading = SERVER_LOADING; /* it may have been told to end meanwhile */
    const bool ok = open_all(server);
    if (ok) fprintf(stderr, "ready   after %.1f s\n", fkv_clock_s() - start);
    if (ok)
        atomic_compare_exchange_strong(&server->state, &loading, SERVER_READY);
    else
        atomic_store(&server->state, SERVER_FAILED);
    doorbell_wake(&server->bell);
}

void unload(struct server *server)
{
    fkv_engine_close(server->engine);
    free(server->chat_template);
}
