#include "server/exchange.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/json_out.h"

/* ---- errors ---------------------------------------------------------------------------------- */

static const char *const type_names[] = {
    [ERROR_INVALID] = "invalid_request_error",
    [ERROR_CONTEXT] = "exceed_context_size_error",
    [ERROR_AUTHENTICATION] = "authentication_error",
    [ERROR_PERMISSION] = "permission_error",
    [ERROR_NOT_FOUND] = "not_found_error",
    [ERROR_RATE_LIMIT] = "rate_limit_error",
    [ERROR_SERVER] = "server_error",
    [ERROR_NOT_SUPPORTED] = "not_supported_error",
    [ERROR_UNAVAILABLE] = "unavailable_error",
};

static bool fail(struct api_error *error, int status, enum error_type type, const char *format, va_list args)
{
    if (error->status) return false;
    error->status = status;
    error->type = type;
    vsnprintf(error->message, sizeof error->message, format, args);
    return false;
}

bool api_fail(struct api_error *error, int status, enum error_type type, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(error, status, type, format, args);
    va_end(args);
    return false;
}

bool api_fail_field(struct api_error *error, const char *field, const char *format, ...)
{
    va_list args;
    if (error->status) return false;
    va_start(args, format);
    fail(error, 400, ERROR_INVALID, format, args);
    va_end(args);
    snprintf(error->param, sizeof error->param, "%s", field);
    return false;
}

void api_error_json(const struct api_error *error, struct eval_text *out)
{
    struct json_out j = {out, false};
    out_open(&j, '{');
    out_key(&j, "error");
    out_open(&j, '{');
    put_string(&j, "message", error->message);
    put_string(&j, "type", type_names[error->type]);
    put_string(&j, "param", *error->param ? error->param : NULL);
    if (error->type == ERROR_CONTEXT) {
        put_string(&j, "code", "context_length_exceeded");
        put_int(&j, "n_prompt_tokens", (int64_t)error->n_prompt_tokens);
        put_int(&j, "n_ctx", (int64_t)error->n_ctx);
    } else {
        put_int(&j, "code", error->status);
    }
    out_close(&j, '}');
    out_close(&j, '}');
}

/* ---- the doorbell ---------------------------------------------------------------------------- */

bool doorbell_open(struct doorbell *bell)
{
    *bell = (struct doorbell){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    bell->end = &bell->first;
    return bell->fd >= 0 && !pthread_mutex_init(&bell->lock, NULL);
}

void doorbell_close(struct doorbell *bell)
{
    for (struct exchange *x; (x = doorbell_next(bell));) exchange_let_go(x);
    close(bell->fd);
    pthread_mutex_destroy(&bell->lock);
}

void doorbell_wake(struct doorbell *bell)
{
    const uint64_t one = 1;
    if (write(bell->fd, &one, sizeof one) < 0) return; /* it is full: the thread will look */
}

static void ring(struct exchange *x)
{
    struct doorbell *bell = x->bell;
    pthread_mutex_lock(&bell->lock);
    const bool first = !bell->first;
    if (!x->rung) {
        x->rung = true;
        x->next_rung = NULL;
        *bell->end = exchange_hold(x);
        bell->end = &x->next_rung;
    }
    pthread_mutex_unlock(&bell->lock);
    if (first) doorbell_wake(bell);
}

struct exchange *doorbell_next(struct doorbell *bell)
{
    pthread_mutex_lock(&bell->lock);
    struct exchange *x = bell->first;
    if (x) {
        bell->first = x->next_rung;
        if (!bell->first) bell->end = &bell->first;
        x->rung = false;
    }
    pthread_mutex_unlock(&bell->lock);
    return x;
}

/* ---- an exchange ----------------------------------------------------------------------------- */

struct exchange *exchange_new(struct doorbell *bell)
{
    struct exchange *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    pthread_mutex_init(&x->lock, NULL);
    atomic_init(&x->references, 1);
    atomic_init(&x->gone, false);
    x->bell = bell;
    x->received_s = fkv_clock_s();
    return x;
}

struct exchange *exchange_hold(struct exchange *x)
{
    atomic_fetch_add(&x->references, 1);
    return x;
}

void exchange_let_go(struct exchange *x)
{
    if (atomic_fetch_sub(&x->references, 1) != 1) return;
    pthread_mutex_destroy(&x->lock);
    free(x->tail);
    free(x->action);
    free(x->page_policy);
    free(x->body.s);
    free(x->out.s);
    free(x);
}

void exchange_answer(struct exchange *x, int status, const char *content_type, struct eval_text *text)
{
    if (text->failed) {
        struct api_error error = {0};
        free(text->s);
        *text = (struct eval_text){0};
        api_fail(&error, 500, ERROR_SERVER, "out of memory for the answer");
        exchange_fail(x, &error);
        return;
    }
    pthread_mutex_lock(&x->lock);
    x->out = *text;
    x->status = status;
    x->content_type = content_type;
    x->phase = EXCHANGE_ANSWERED;
    x->ended = true;
    pthread_mutex_unlock(&x->lock);
    *text = (struct eval_text){0};
    ring(x);
}

void exchange_answer_json(struct exchange *x, struct eval_text *json)
{
    exchange_answer(x, 200, "application/json; charset=utf-8", json);
}

void exchange_fail(struct exchange *x, const struct api_error *error)
{
    struct eval_text json = {0};
    api_error_json(error, &json);
    pthread_mutex_lock(&x->lock);
    if (x->phase == EXCHANGE_STREAMS) {
        eval_text_add(&x->out, "data: ", 6);
        eval_text_add(&x->out, json.s ? json.s : "{}", json.s ? json.n : 2);
        eval_text_add(&x->out, "\n\n", 2);
        free(json.s);
    } else {
        free(x->out.s);
        x->out = json;
        x->status = error->status;
        x->content_type = "application/json; charset=utf-8";
        x->error = *error;
        x->phase = EXCHANGE_ANSWERED;
    }
    x->ended = true;
    pthread_mutex_unlock(&x->lock);
    ring(x);
}

void exchange_stream(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->phase = EXCHANGE_STREAMS;
    x->status = 200;
    pthread_mutex_unlock(&x->lock);
    ring(x);
}

void exchange_write(struct exchange *x, const char *bytes, size_t n)
{
    pthread_mutex_lock(&x->lock);
    if (!x->ended) eval_text_add(&x->out, bytes, n);
    pthread_mutex_unlock(&x->lock);
    ring(x);
}

void exchange_end(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->ended = true;
    pthread_mutex_unlock(&x->lock);
    ring(x);
}

size_t exchange_waiting(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    const size_t n = x->out.n - x->sent;
    pthread_mutex_unlock(&x->lock);
    return n;
}
