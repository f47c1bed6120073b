/* What is answered from what is known: health, models, properties, sessions, metrics. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/json_in.h"
#include "server/native.h"
#include "server/prefixes.h"
#include "server/routes.h"
#include "server/scheduler.h"

static void fail(struct exchange *x, int status, enum error_type type, const char *message)
{
    struct api_error error = {0};
    api_fail(&error, status, type, "%s", message);
    exchange_fail(x, &error);
}

/* ---- health ------------------------------------------------------------------------------------ */

/* There is work, and for a minute nothing was computed. */
static bool is_stuck(struct server *server)
{
    enum { STUCK_S = 60 };
    int n_waiting, n_running;
    scheduler_count(server->scheduler, &n_waiting, &n_running);
    const double moved = atomic_load(&server->scheduler->moved_s);
    return n_running && moved > 0 && fkv_clock_s() - moved > STUCK_S;
}

void api_health(struct server *server, struct exchange *x)
{
    struct eval_text text = {0};
    switch (atomic_load(&server->state)) {
    case SERVER_LOADING: fail(x, 503, ERROR_UNAVAILABLE, "the model is loading"); return;
    case SERVER_DRAINING:
    case SERVER_FAILED: fail(x, 503, ERROR_UNAVAILABLE, "the server is shutting down"); return;
    default: break;
    }
    if (is_stuck(server)) {
        fail(x, 503, ERROR_UNAVAILABLE, "nothing was computed for 60 s");
        return;
    }
    eval_text_print(&text, "{\"status\":\"ok\"}");
    exchange_answer_json(x, &text);
}

/* ---- models ------------------------------------------------------------------------------------ */

static void put_modalities(struct json_out *j, const char *name)
{
    out_key(j, name);
    out_open(j, '[');
    out_string(j, "text");
    out_close(j, ']');
}

static void put_model(struct json_out *j, const struct server *server)
{
    const struct fkv_model_info *m = fkv_engine_info(server->engine);
    out_open(j, '{');
    put_string(j, "id", server->model_id);
    put_string(j, "object", "model");
    put_int(j, "created", server->started);
    put_string(j, "owned_by", "fastkv");
    out_key(j, "aliases");
    out_open(j, '[');
    for (int i = 0; i < server->aliases.n; i++) out_string(j, server->aliases.items[i]);
    out_close(j, ']');
    out_key(j, "meta");
    out_open(j, '{');
    put_int(j, "n_ctx_train", m->n_ctx_train);
    put_int(j, "n_ctx", server->n_ctx);
    put_int(j, "n_vocab", m->n_vocab);
    put_int(j, "n_embd", m->d_model);
    put_int(j, "n_params", (int64_t)m->n_params);
    put_int(j, "size", (int64_t)m->weight_bytes);
    out_close(j, '}');
    out_key(j, "architecture");
    out_open(j, '{');
    put_modalities(j, "input_modalities");
    put_modalities(j, "output_modalities");
    out_close(j, '}');
    out_close(j, '}');
}

/* What Codex reads of a model. */
static void put_codex_model(struct json_out *j, const struct server *server)
{
    out_open(j, '{');
    put_string(j, "slug", server->model_id);
    put_string(j, "display_name", server->model_id);
    out_key(j, "supported_reasoning_levels");
    out_open(j, '[');
    out_close(j, ']');
    put_string(j, "shell_type", "shell_command");
    put_string(j, "visibility", "list");
    put_bool(j, "supported_in_api", true);
    put_string(j, "base_instructions", "");
    out_key(j, "truncation_policy");
    out_open(j, '{');
    put_string(j, "mode", "bytes");
    put_int(j, "limit", 10000);
    out_close(j, '}');
    put_int(j, "context_window", server->n_ctx);
    put_modalities(j, "input_modalities");
    out_close(j, '}');
}

void api_models(struct server *server, struct exchange *x)
{
    struct eval_text text = {0};
    struct json_out j = {&text, false};
    out_open(&j, '{');
    put_string(&j, "object", "list");
    out_key(&j, "data");
    out_open(&j, '[');
    put_model(&j, server);
    out_close(&j, ']');
    out_key(&j, "models");
    out_open(&j, '[');
    put_codex_model(&j, server);
    out_close(&j, ']');
    out_close(&j, '}');
    exchange_answer_json(x, &text);
}

void api_model(struct server *server, struct exchange *x)
{
    struct eval_text text = {0};
    struct json_out j = {&text, false};
    bool known = false;
    for (int i = 0; i < server->aliases.n; i++) known = known || !strcmp(server->aliases.items[i], x->tail);
    if (!known) {
        fail(x, 404, ERROR_NOT_FOUND, "there is no such model");
        return;
    }
    put_model(&j, server);
    exchange_answer_json(x, &text);
}

void api_embeddings(struct server *server, struct exchange *x)
{
    (void)server;
    fail(x, 501, ERROR_NOT_SUPPORTED, "embeddings need a model made for them, and are not there yet");
}

void api_other_doors(struct server *server, struct exchange *x)
{
    (void)server;
    fail(x, 501, ERROR_NOT_SUPPORTED, "responses and messages are not there yet: use /v1/chat/completions");
}

/* ---- the server -------------------------------------------------------------------------------- */

void api_props(struct server *server, struct exchange *x)
{
    struct eval_text text = {0};
    struct json_out j = {&text, false};
    const char *path = server->settings->model, *slash = strrchr(path, '/');
    const char *source = server->chat_template ? server->chat_template : fkv_chat_template(server->engine);
    out_open(&j, '{');
    put_string(&j, "model_path", x->key || !slash ? path : slash + 1);
    put_string(&j, "model_alias", server->model_id);
    put_int(&j, "total_slots", server->settings->n_sessions);
    out_key(&j, "default_generation_settings");
    out_open(&j, '{');
    put_int(&j, "n_ctx", server->n_ctx);
    out_key(&j, "params");
    out_open(&j, '{');
    put_int(&j, "seed", server->settings->seed < 0 ? -1 : server->settings->seed);
    put_int(&j, "n_predict", server->settings->n_predict);
    put_sampling(&j, &server->settings->sampler);
    put_retention(&j, &server->settings->session.kv);
    out_close(&j, '}');
    out_close(&j, '}');
    put_string(&j, "chat_template", source);
    out_key(&j, "chat_template_caps");
    out_open(&j, '{');
    put_bool(&j, "supports_tools", false);
    out_close(&j, '}');
    put_string(&j, "build_info", server->fingerprint);
    out_key(&j, "modalities");
    out_open(&j, '{');
    put_bool(&j, "vision", false);
    put_bool(&j, "audio", false);
    out_close(&j, '}');
    out_close(&j, '}');
    exchange_answer_json(x, &text);
}

static void put_slot(struct json_out *j, struct server *server, int i, bool *idle)
{
    static const char *const states[] =
        {[SLOT_IDLE] = "idle", [SLOT_PREFILL] = "prefill", [SLOT_PARKED] = "parked", [SLOT_DECODE] = "decode"};
    struct slot_report slot;
    scheduler_report(server->scheduler, i, &slot);
    *idle = slot.state == SLOT_IDLE || slot.state == SLOT_PARKED;
    out_open(j, '{');
    put_int(j, "id", i);
    put_int(j, "n_ctx", server->n_ctx);
    put_bool(j, "is_processing", !*idle);
    put_string(j, "state", states[slot.state]);
    put_int(j, "n_prompt_tokens", (int64_t)slot.n_prompt);
    put_int(j, "n_decoded", (int64_t)slot.n_decoded);
    put_int(j, "kv_bytes", (int64_t)slot.kv_bytes);
    put_string(j, "policy", slot.policy);
    put_real(j, "age_s", slot.age_s);
    out_close(j, '}');
}

void api_slots(struct server *server, struct exchange *x)
{
    struct eval_text text = {0};
    struct json_out j = {&text, false};
    bool any = false, idle;
    if (server->settings->no_slots) {
        fail(x, 501, ERROR_NOT_SUPPORTED, "slots are not listed: the server was started with --no-slots");
        return;
    }
    out_open(&j, '[');
    for (int i = 0; i < server->settings->n_sessions; i++) {
        put_slot(&j, server, i, &idle);
        any = any || idle;
    }
    out_close(&j, ']');
    if (any || !x->fail_on_no_slot) {
        exchange_answer_json(x, &text);
        return;
    }
    free(text.s);
    fail(x, 503, ERROR_UNAVAILABLE, "no session is idle");
}

void api_metrics(struct server *server, struct exchange *x)
{
    struct eval_text text = {0};
    struct slot_report slot;
    int n_waiting, n_running;
    struct fkv_prefix_stats cache;
    uint64_t bytes[2] = {0}, full_bytes = 0; /* whole, by a policy */
    int n_parked = 0;
    scheduler_count(server->scheduler, &n_waiting, &n_running);
    for (int i = 0; i < server->settings->n_sessions; i++) {
        scheduler_report(server->scheduler, i, &slot);
        bytes[strcmp(slot.policy, "full") != 0] += slot.bytes;
        full_bytes += slot.full_bytes;
        n_parked += slot.state == SLOT_PARKED;
    }
    prefixes_stats(server->prefixes, &cache);
    metrics_set(&server->metrics, METRIC_parked_prefills, n_parked);
    metrics_set(&server->metrics, METRIC_kv_full_bytes, (double)full_bytes);
    metrics_set(&server->metrics, METRIC_requests_processing, n_running);
    metrics_set(&server->metrics, METRIC_requests_waiting, n_waiting);
    metrics_print(&server->metrics, &text);
    eval_text_print(
        &text,
        "# HELP fastkv_kv_bytes KV bytes that sessions hold or will need beside the cache, and the cache's\n"
        "# TYPE fastkv_kv_bytes gauge\nfastkv_kv_bytes{kind=\"whole\"} %llu\n"
        "fastkv_kv_bytes{kind=\"compressed\"} %llu\nfastkv_kv_bytes{kind=\"cached\"} %llu\n",
        (unsigned long long)bytes[0], (unsigned long long)bytes[1], (unsigned long long)cache.ram_bytes);
    prefixes_print(server->prefixes, &text);
    exchange_answer(x, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
}
