#define _GNU_SOURCE
#include "server/request.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/machine.h"
#include "cli/settings.h"
#include "server/json_in.h"
#include "server/prefixes.h"
#include "server/random_id.h"
#include "server/server.h"

enum { MOST_BIASES = 1024, MOST_STOP_BYTES = 1024, MOST_BRANCHES = 64 };

/* ---- fields that would change the answer, and are not there ------------------------------------ */

static bool refuse(const json_t *body, const char *name, int status, const char *instead, struct api_error *error)
{
    if (error->status || !json_field(body, name)) return !error->status;
    api_fail(error, status, status == 501 ? ERROR_NOT_SUPPORTED : ERROR_INVALID, "%s: not offered: %s", name, instead);
    snprintf(error->param, sizeof error->param, "%s", name);
    return false;
}

/* Not offered unless it asks for what happens anyway. */
static bool refuse_grammar(const json_t *body, struct api_error *error)
{
    static const char *const constraints[] = {"grammar", "json_schema"};
    const json_t *format = json_field(body, "response_format");
    const char *type = json_string_value(json_object_get(format, "type"));
    for (size_t i = 0; i < sizeof constraints / sizeof *constraints; i++)
        refuse(body, constraints[i], 501, "answers are not constrained yet", error);
    if (format && !type) return json_unwanted("response_format", "an object with a type", format, error);
    if (!type || !strcmp(type, "text")) return !error->status;
    if (!strcmp(type, "json_object") || !strcmp(type, "json_schema"))
        return refuse(body, "response_format", 501, "answers are not constrained yet, only {\"type\": \"text\"}",
                      error);
    return json_unwanted("response_format.type", "text", json_object_get(format, "type"), error);
}

static bool refuse_tools(const json_t *body, struct api_error *error)
{
    const json_t *tools = json_field(body, "tools"), *choice = json_field(body, "tool_choice");
    bool parallel;
    if (!json_get_bool(body, "parallel_tool_calls", &parallel, error)) return false;
    if (tools && !json_is_array(tools)) return json_unwanted("tools", "an array", tools, error);
    if (json_array_size(tools)) return refuse(body, "tools", 501, "tools are not there yet", error);
    const char *word = json_string_value(choice);
    if (choice && !(word && (!strcmp(word, "none") || !strcmp(word, "auto"))))
        return refuse(body, "tool_choice", 501, "tools are not there yet", error);
    return !error->status;
}

static bool refuse_thoughts(const json_t *body, struct api_error *error)
{
    const char *format = "auto";
    int64_t budget;
    json_get_text(body, "reasoning_format", &format, error);
    if (!json_get_int(body, "thinking_budget_tokens", -1, INT32_MAX, &budget, error)) return false;
    if (!strcmp(format, "deepseek"))
        return refuse(body, "reasoning_format", 501, "thoughts are not told apart yet", error);
    if (strcmp(format, "auto") && strcmp(format, "none"))
        return json_unwanted("reasoning_format", "auto, none or deepseek", json_field(body, "reasoning_format"), error);
    return refuse(body, "thinking_budget_tokens", 501, "thoughts are not told apart yet", error);
}

static bool refuse_others(const json_t *body, struct api_error *error)
{
    int64_t best_of = 1;
    bool echo = false;
    json_get_bool(body, "echo", &echo, error);
    json_get_int(body, "best_of", 1, 1, &best_of, error);
    if (echo) refuse(body, "echo", 400, "the prompt is not repeated", error);
    refuse(body, "audio", 400, "answers are text", error);
    refuse(body, "suffix", 400, "use the model's fill-in-the-middle tokens in the prompt", error);
    return !error->status && refuse_tools(body, error) && refuse_thoughts(body, error) && refuse_grammar(body, error);
}

/* ---- what the answer ends at --------------------------------------------------------------------- */

static bool add_stop(struct request *r, const json_t *text, struct api_error *error)
{
    const size_t n = json_string_length(text);
    if (!json_is_string(text) || n < 1 || n > MOST_STOP_BYTES)
        return json_unwanted("stop", "strings of 1 to 1024 bytes", text, error);
    if (r->stops.n == REQUEST_MOST_STOPS)
        return api_fail_field(error, "stop", "stop: expected at most %d strings", REQUEST_MOST_STOPS);
    r->stops.items[r->stops.n++] = json_string_value(text);
    return true;
}

static bool read_stops(struct request *r, struct api_error *error)
{
    size_t i;
    json_t *stop = json_field(r->body, "stop"), *item;
    if (!stop || (json_is_string(stop) && !json_string_length(stop))) return !error->status;
    if (!json_is_array(stop)) return add_stop(r, stop, error);
    json_array_foreach(stop, i, item) if (!add_stop(r, item, error)) return false;
    return !error->status;
}

static bool read_length(struct request *r, struct api_error *error)
{
    static const char *const names[] = {"n_predict", "max_tokens", "max_completion_tokens"}; /* the last one wins */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int64_t n = r->n_predict;
        json_get_int(r->body, names[i], i ? 0 : -1, INT32_MAX, &n, error);
        r->n_predict = (int)n;
    }
    return !error->status;
}

/* ---- sampling ------------------------------------------------------------------------------------ */

/* Biases each token of a text. */
static bool bias_text(struct request *r, const char *text, float bias, struct api_error *error)
{
    int32_t *ids;
    size_t n;
    char why[FKV_ERROR_BYTES];
    if (fkv_tokenize(r->server->engine, text, strlen(text), 0, &ids, &n, why) != FKV_OK)
        return api_fail_field(error, "logit_bias", "logit_bias: %s", why);
    const bool fits = r->sampler.n_bias + n <= MOST_BIASES;
    for (size_t i = 0; fits && i < n; i++) r->bias[r->sampler.n_bias++] = (struct fkv_logit_bias){ids[i], bias};
    fkv_free(ids);
    return fits || api_fail_field(error, "logit_bias", "logit_bias: expected at most %d tokens", MOST_BIASES);
}

/* key: text, or an id as text or number. */
static bool add_bias(struct request *r, const char *key, json_int_t id, const json_t *value, struct api_error *error)
{
    char *end = NULL;
    if (!json_is_number(value) && !json_is_false(value))
        return json_unwanted("logit_bias", "numbers or false", value, error);
    const float bias = json_is_false(value) ? -INFINITY : (float)json_number_value(value);
    if (isinf(bias) && !json_is_false(value))
        return json_unwanted("logit_bias", "numbers between -1e38 and 1e38, or false", value, error);
    if (key) {
        id = strtol(key, &end, 10);
        if (end == key || *end) return bias_text(r, key, bias, error);
    }
    const int n_vocab = fkv_engine_info(r->server->engine)->n_vocab;
    if (id < 0 || id >= n_vocab)
        return api_fail_field(error, "logit_bias", "logit_bias: expected token ids from 0 to %d, found %lld",
                              n_vocab - 1, (long long)id);
    if (r->sampler.n_bias == MOST_BIASES)
        return api_fail_field(error, "logit_bias", "logit_bias: expected at most %d tokens", MOST_BIASES);
    r->bias[r->sampler.n_bias++] = (struct fkv_logit_bias){(int32_t)id, bias};
    return true;
}

static bool read_bias(struct request *r, struct api_error *error)
{
    size_t i;
    const char *key;
    json_t *field = json_field(r->body, "logit_bias"), *item;
    if (!field) return !error->status;
    if (!json_is_object(field) && !json_is_array(field))
        return json_unwanted("logit_bias", "an object or an array of pairs", field, error);
    r->bias = malloc(MOST_BIASES * sizeof *r->bias);
    if (!r->bias) return api_fail(error, 500, ERROR_SERVER, "out of memory");
    r->sampler.bias = r->bias;
    if (json_is_object(field)) {
        json_object_foreach(field, key, item) if (!add_bias(r, key, 0, item, error)) return false;
        return !error->status;
    }
    json_array_foreach(field, i, item)
    {
        const json_t *first = json_array_get(item, 0);
        if (json_array_size(item) != 2 || !(json_is_integer(first) || json_is_string(first)))
            return json_unwanted("logit_bias", "pairs of an id or text and a number or false", item, error);
        if (!add_bias(r, json_string_value(first), json_integer_value(first), json_array_get(item, 1), error))
            return false;
    }
    return !error->status;
}

static bool read_sampling(struct request *r, struct api_error *error)
{
    struct fkv_sampler_params *s = &r->sampler;
    int64_t top_k = s->top_k, last_n = s->repeat_last_n, seed = -1;
    json_get_real(r->body, "temperature", 0, 10, false, &s->temperature, error);
    json_get_real(r->body, "top_p", 0, 1, true, &s->top_p, error);
    json_get_real(r->body, "min_p", 0, 1, false, &s->min_p, error);
    json_get_real(r->body, "repeat_penalty", 0, 100, true, &s->repeat_penalty, error);
    json_get_real(r->body, "presence_penalty", -2, 2, false, &s->presence_penalty, error);
    json_get_real(r->body, "frequency_penalty", -2, 2, false, &s->frequency_penalty, error);
    json_get_int(r->body, "top_k", 0, INT32_MAX, &top_k, error);
    json_get_int(r->body, "repeat_last_n", -1, 1 << 20, &last_n, error);
    json_get_int(r->body, "seed", -1, INT64_MAX, &seed, error);
    s->top_k = (int)top_k;
    s->repeat_last_n = last_n < 0 ? (r->server->n_ctx < 1 << 20 ? r->server->n_ctx : 1 << 20) : (int)last_n;
    r->seed = seed >= 0 ? seed : r->server->settings->seed >= 0 ? r->server->settings->seed : machine_random_seed();
    return read_bias(r, error);
}

/* ---- the whole ----------------------------------------------------------------------------------- */

static bool read_stream(struct request *r, struct api_error *error)
{
    const json_t *options = json_field(r->body, "stream_options");
    json_get_bool(r->body, "stream", &r->stream, error);
    if (options && !json_is_object(options)) return json_unwanted("stream_options", "an object", options, error);
    json_get_bool(options, "include_usage", &r->include_usage, error);
    json_get_bool(r->body, "timings_per_token", &r->timings_per_token, error);
    json_get_bool(r->body, "return_progress", &r->return_progress, error);
    json_get_bool(r->body, "return_tokens", &r->return_tokens, error);
    return !error->status;
}

/* Whose prompts may serve it. */
static bool read_salt(struct request *r, struct api_error *error)
{
    enum { MOST = 200 };
    const char *salt = NULL;
    char text[MOST + 24];
    if (!json_get_text(r->body, "cache_salt", &salt, error)) return false;
    if (salt && strlen(salt) > MOST)
        return api_fail_field(error, "cache_salt", "cache_salt: expected at most %d bytes, found %zu", MOST,
                              strlen(salt));
    snprintf(text, sizeof text, "%d:%s", r->x->many_keys ? r->x->key : 0, salt ? salt : "");
    r->salt = strdup(text);
    return r->salt || api_fail(error, 500, ERROR_SERVER, "out of memory");
}

bool request_read_common(struct request *r, struct api_error *error)
{
    int64_t n = 1, slot = -1;
    float most_ms = 0;
    const char *ignored = NULL;
    if (!refuse_others(r->body, error)) return false;
    json_get_text(r->body, "model", &ignored, error);
    json_get_text(r->body, "prompt_cache_key", &ignored, error);
    json_get_int(r->body, "n", 1, REQUEST_MOST_CHOICES, &n, error);
    json_get_int(r->body, "id_slot", -1, r->server->settings->n_sessions - 1, &slot, error);
    json_get_bool(r->body, "cache_prompt", &r->cache_prompt, error);
    json_get_bool(r->body, "ignore_eos", &r->ignore_eos, error);
    json_get_real(r->body, "t_max_predict_ms", 0, 1e12, false, &most_ms, error);
    r->n = (int)n;
    r->slot = (int)slot;
    r->most_predict_ms = (double)most_ms;
    return read_salt(r, error) && read_stream(r, error) && read_length(r, error) && read_stops(r, error) &&
           read_sampling(r, error) && request_read_retention(r, error);
}

struct prompt *request_add_prompt(struct request *r, char *text, size_t n_text, int32_t *ids, size_t n,
                                  struct api_error *error)
{
    struct prompt *more = realloc(r->prompts, (size_t)(r->n_prompts + 1) * sizeof *more);
    if (!more) {
        free(text);
        fkv_free(ids);
        api_fail(error, 500, ERROR_SERVER, "out of memory");
        return NULL;
    }
    r->prompts = more;
    struct prompt *p = &r->prompts[r->n_prompts++];
    *p = (struct prompt){.ids = ids, .n = n, .text = text, .n_text = n_text, .marks = FKV_MARKS_INIT, .last_end = n};
    return p;
}

static bool check_length(const struct request *r, struct api_error *error)
{
    for (int i = 0; i < r->n_prompts; i++) {
        const size_t n = r->prompts[i].n, n_ctx = (size_t)r->server->n_ctx;
        if (n == 0) return api_fail(error, 400, ERROR_INVALID, "the prompt is empty: expected a token at least");
        if (n <= n_ctx) continue;
        error->n_prompt_tokens = n;
        error->n_ctx = n_ctx;
        return api_fail(error, 400, ERROR_CONTEXT,
                        "context_length_exceeded: the prompt has %zu tokens and exceeds the available context size of "
                        "%zu",
                        n, n_ctx);
    }
    return true;
}

/* Room for the answers. */
static bool make_branches(struct request *r, struct api_error *error)
{
    const int n_vocab = fkv_engine_info(r->server->engine)->n_vocab, n = r->n * r->n_prompts;
    char why[FKV_ERROR_BYTES];
    if (n > MOST_BRANCHES)
        return api_fail_field(error, "prompt", "expected at most %d choices in all, found %d", MOST_BRANCHES, n);
    r->branches = calloc((size_t)n, sizeof *r->branches);
    if (!r->branches) return api_fail(error, 500, ERROR_SERVER, "out of memory");
    for (r->n_branches = 0; r->n_branches < n; r->n_branches++) {
        struct branch *b = &r->branches[r->n_branches];
        struct fkv_sampler_params sampler = r->sampler;
        *b = (struct branch){.request = r, .index = r->n_branches, .prompt = r->n_branches / r->n, .slot = -1};
        sampler.seed = (uint64_t)r->seed + (uint64_t)(r->n_branches % r->n);
        const size_t room = (size_t)r->server->n_ctx - r->prompts[b->prompt].n;
        b->most = r->n_predict >= 0 && (size_t)r->n_predict < room ? (size_t)r->n_predict : room;
        b->answer.stops = &r->stops;
        if (fkv_sampler_open(&b->sampler, &sampler, n_vocab, why) != FKV_OK)
            return api_fail(error, 400, ERROR_INVALID, "%s", why);
        const struct prompt *p = &r->prompts[b->prompt];
        for (size_t i = 0; i < p->n; i++) fkv_sampler_accept(b->sampler, p->ids[i]);
    }
    r->n_running = n;
    return true;
}

static bool fill(struct request *r, struct api_error *error)
{
    r->body = json_read_object(r->x->body.s, r->x->body.n, error);
    free(r->x->body.s);
    r->x->body = (struct eval_text){0};
    return r->body && request_read_common(r, error) && r->dialect->read(r, error) && check_length(r, error) &&
           make_branches(r, error);
}

struct request *request_new(struct server *server, struct exchange *x, const struct dialect *dialect)
{
    struct api_error error = {0};
    struct request *r = calloc(1, sizeof *r);
    if (!r) {
        api_fail(&error, 500, ERROR_SERVER, "out of memory");
        exchange_fail(x, &error);
        return NULL;
    }
    *r = (struct request){.server = server,
                          .x = exchange_hold(x),
                          .dialect = dialect,
                          .created = (int64_t)time(NULL),
                          .cache_prompt = true,
                          .n_predict = server->settings->n_predict < 0 ? -1 : server->settings->n_predict,
                          .sampler = server->settings->sampler};
    random_id(r->id, dialect->id_prefix);
    if (fill(r, &error)) return r;
    exchange_fail(x, &error);
    request_free(r);
    return NULL;
}

void request_free(struct request *r)
{
    for (int i = 0; i < r->n_branches; i++) {
        struct branch *b = &r->branches[i];
        for (size_t t = 0; b->logprobs && t < b->n_ids; t++) free(b->logprobs[t].top);
        free(b->logprobs);
        free(b->ids);
        answer_free(&b->answer);
        fkv_sampler_close(b->sampler);
    }
    for (int i = 0; i < r->n_prompts; i++) {
        fkv_session_close(r->prompts[i].base);
        if (r->server->prefixes) prefixes_let_go(r->server->prefixes, &r->prompts[i]);
        fkv_free(r->prompts[i].ids);
        fkv_free(r->prompts[i].text);
        free(r->prompts[i].map.s);
        free(r->prompts[i].messages);
        free(r->prompts[i].went_on);
    }
    free(r->branches);
    free(r->prompts);
    free(r->bias);
    free(r->salt);
    json_decref(r->body);
    exchange_let_go(r->x);
    free(r);
}

void request_ended(struct server *server)
{
    atomic_fetch_sub(&server->n_requests, 1);
    if (atomic_load(&server->state) != SERVER_READY) doorbell_wake(&server->bell); /* it may wait for the last one */
}

const char *finish_name(enum finish finish) { return finish == FINISH_LENGTH ? "length" : "stop"; }
