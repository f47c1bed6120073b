/* HTTP by libmicrohttpd: its callbacks, all in the I/O thread. */
#define _GNU_SOURCE
#include "server/io.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "cli/console.h"
#include "server/preparation.h"
#include "server/random_id.h"
#include "server/routes.h"
#include "server/scheduler.h"

enum {
    HEADER_POOL = 32 << 10,
    URL_BYTES = 8 << 10,
    MOST_CLIENTS = 1024,
    BODY_S = 60 /* and a body; a second more for each MiB */
};
static const size_t ALL_BODIES = (size_t)256 << 20;

/* ---- answers ----------------------------------------------------------------------------------- */

static void add_headers(const struct call *c, struct MHD_Response *response, const char *content_type)
{
    const struct exchange *x = c->x;
    char seconds[16];
    MHD_add_response_header(response, "x-request-id", x->id);
    if (content_type) MHD_add_response_header(response, "Content-Type", content_type);
    if (x->page_policy) {
        MHD_add_response_header(response, "Content-Security-Policy", x->page_policy);
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    }
    if (*c->allow) MHD_add_response_header(response, "Allow", c->allow);
    if (x->error.in_vain || x->status == 501) MHD_add_response_header(response, "x-should-retry", "false");
    if (x->status == 401) MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (x->error.retry_after_s) {
        snprintf(seconds, sizeof seconds, "%d", x->error.retry_after_s);
        MHD_add_response_header(response, "Retry-After", seconds);
    }
    if (*c->origin) {
        MHD_add_response_header(response, "Access-Control-Allow-Origin", c->origin);
        MHD_add_response_header(response, "Vary", "Origin");
    }
    if (c->preflight) {
        MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST, DELETE");
        MHD_add_response_header(response, "Access-Control-Allow-Headers", "Authorization, Content-Type, X-Api-Key");
    }
}

/* What a stream has to say next. */
static ssize_t on_read(void *user, uint64_t position, char *buffer, size_t most)
{
    struct call *c = user;
    struct exchange *x = c->x;
    (void)position;
    pthread_mutex_lock(&x->lock);
    const size_t before = x->out.n - x->sent, n = before < most ? before : most;
    if (n) memcpy(buffer, x->out.s + x->sent, n);
    x->sent += n;
    if (x->sent == x->out.n) x->sent = x->out.n = 0;
    const bool ended = x->ended, failed = x->out.failed;
    pthread_mutex_unlock(&x->lock);
    if (x->taken && before >= EXCHANGE_AHEAD && before - n < EXCHANGE_AHEAD) x->taken(x->taken_user);
    if (failed || atomic_load(&x->gone)) return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n) {
        c->ping_s = fkv_clock_s() + c->client->io->server->settings->sse_ping_s;
        return (ssize_t)n;
    }
    if (ended) return MHD_CONTENT_READER_END_OF_STREAM;
    io_arm(c->client->io, c->ping_s);
    c->suspended = true;
    MHD_suspend_connection(c->connection);
    return 0;
}

static enum MHD_Result respond_stream(struct call *c)
{
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16 << 10, on_read, c, NULL);
    if (!response) return MHD_NO;
    c->ping_s = fkv_clock_s() + c->client->io->server->settings->sse_ping_s;
    add_headers(c, response, "text/event-stream");
    MHD_add_response_header(response, "Cache-Control", "no-cache");
    MHD_add_response_header(response, "X-Accel-Buffering", "no");
    const enum MHD_Result result = MHD_queue_response(c->connection, 200, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result respond_whole(struct call *c)
{
    struct exchange *x = c->x;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(x->out.n, x->out.s ? x->out.s : (void *)(uintptr_t) "",
                                        x->out.s ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!response) return MHD_NO;
    x->out = (struct eval_text){0}; /* the response's now */
    add_headers(c, response, x->content_type);
    const enum MHD_Result result = MHD_queue_response(c->connection, (unsigned)x->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result respond_or_wait(struct call *c)
{
    struct exchange *x = c->x;
    if (atomic_load(&x->gone)) return MHD_NO;
    pthread_mutex_lock(&x->lock);
    const enum exchange_phase phase = x->phase;
    pthread_mutex_unlock(&x->lock);
    if (phase == EXCHANGE_OPEN) {
        c->suspended = true;
        MHD_suspend_connection(c->connection);
        return MHD_YES;
    }
    c->responded = true;
    return phase == EXCHANGE_STREAMS ? respond_stream(c) : respond_whole(c);
}

/* ---- requests ---------------------------------------------------------------------------------- */

static enum MHD_Result count_header(void *user, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct guard_headers *h = user;
    (void)kind, (void)value;
    h->n_host += !strcasecmp(key, "Host");
    h->n_content_length += !strcasecmp(key, "Content-Length");
    h->n_transfer_encoding += !strcasecmp(key, "Transfer-Encoding");
    return MHD_YES;
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* Of paths and arguments; what hides a zero byte stays as it is, and is found nowhere. */
static size_t unescape(void *user, struct MHD_Connection *connection, char *text)
{
    (void)user, (void)connection;
    return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

static struct guard_headers headers_of(struct MHD_Connection *connection)
{
    struct guard_headers h = {.host = header(connection, "Host"),
                              .origin = header(connection, "Origin"),
                              .fetch_site = header(connection, "Sec-Fetch-Site"),
                              .authorization = header(connection, "Authorization"),
                              .api_key = header(connection, "X-Api-Key"),
                              .content_type = header(connection, "Content-Type"),
                              .transfer_encoding = header(connection, "Transfer-Encoding")};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, count_header, &h);
    return h;
}

/* An answer to a preflight of a listed origin; others were refused. */
static bool answer_preflight(struct call *c, const char *method)
{
    struct eval_text empty = {0};
    if (strcmp(method, "OPTIONS") || !*c->origin) return false;
    c->preflight = true;
    exchange_answer(c->x, 204, NULL, &empty);
    return true;
}

/* Must it say that its body is JSON? Where a route can do without a body, one that has none and comes from no browser
   need not: browsers send Origin or Sec-Fetch-Site with a POST, and a form's has a type. */
static bool needs_type(const struct route *route, const char *method, const struct guard_headers *h, const char *length)
{
    const bool empty = (!length || !strcmp(length, "0")) && !h->n_transfer_encoding && !h->content_type;
    return !strcmp(method, "POST") && !(empty && route && route->flags & ROUTE_EMPTY && !h->origin && !h->fetch_site);
}

/* What may be said of a request before its body has come: an error, or where it goes. */
static void check(struct call *c, const char *url, const char *method, struct api_error *error)
{
    struct io *io = c->client->io;
    struct exchange *x = c->x;
    const struct guard_headers h = headers_of(c->connection);
    const char *tail, *action = MHD_lookup_connection_value(c->connection, MHD_GET_ARGUMENT_KIND, "action"),
                      *length = header(c->connection, "Content-Length");
    struct api_error no_route = {0};
    bool listed;
    x->route = strlen(url) > URL_BYTES ? NULL : route_find(method, url, &tail, c->allow, &no_route);
    const bool public = x->route && x->route->flags & ROUTE_PUBLIC, preflight = !strcmp(method, "OPTIONS");
    const bool allowed = guard_check(&io->guard, &h, public || preflight, needs_type(x->route, method, &h, length),
                                     &x->key, &listed, error);
    if (listed) snprintf(c->origin, sizeof c->origin, "%s", h.origin);
    if (!allowed || answer_preflight(c, method)) return;
    if (strlen(url) > URL_BYTES) api_fail(error, 414, ERROR_INVALID, "the URL has more than %d bytes", URL_BYTES);
    if (no_route.status) *error = no_route;
    if (error->status) return;
    x->tail = strdup(tail);
    x->action = strdup(action ? action : "");
    x->many_keys = io->guard.n_keys > 1;
    x->fail_on_no_slot = MHD_lookup_connection_value_n(c->connection, MHD_GET_ARGUMENT_KIND, "fail_on_no_slot", 15,
                                                       NULL, NULL) == MHD_YES;
    const uint64_t most = (uint64_t)io->server->settings->max_body;
    if (length && strtoull(length, NULL, 10) > most)
        api_fail(error, 413, ERROR_INVALID, "body: expected at most %llu bytes, found %.24s", (unsigned long long)most,
                 length);
    const int state = io->server->state;
    if (state != SERVER_READY && !(x->route->flags & ROUTE_ALWAYS))
        api_fail(error, 503, ERROR_UNAVAILABLE, "%s",
                 state == SERVER_LOADING ? "the model is loading" : "the server is shutting down");
}

static struct call *call_new(struct io *io, struct MHD_Connection *connection)
{
    struct client *client = connection_client(connection);
    struct call *c = client ? calloc(1, sizeof *c) : NULL;
    char id[48];
    if (!c) return NULL;
    *c = (struct call){.client = client, .connection = connection, .x = exchange_new(&io->server->bell)};
    if (!c->x) {
        free(c);
        return NULL;
    }
    random_id(id, "req_");
    memcpy(c->x->id, id, sizeof c->x->id - 1);
    c->x->call = c;
    client->call = c;
    io->n_calls++;
    return c;
}

/* The header is complete. */
static enum MHD_Result begin(struct io *io, struct MHD_Connection *connection, const char *url, const char *method,
                             void **user)
{
    struct call *c = call_new(io, connection);
    struct api_error error = {0};
    if (!c) return MHD_NO;
    *user = c;
    check(c, url, method, &error);
    const char *length = header(connection, "Content-Length");
    const double mib = length ? (double)strtoull(length, NULL, 10) / (1 << 20) : 0;
    c->client->deadline_s = fkv_clock_s() + BODY_S + mib;
    io_arm(io, c->client->deadline_s);
    if (error.status) exchange_fail(c->x, &error);
    return c->x->phase == EXCHANGE_ANSWERED ? respond_or_wait(c) : MHD_YES;
}

static void take_body(struct call *c, const char *bytes, size_t n)
{
    struct io *io = c->client->io;
    c->too_large = c->too_large || c->x->body.n + n > (size_t)io->server->settings->max_body ||
                   io->body_bytes + n > ALL_BODIES;
    if (c->too_large) return;
    eval_text_add(&c->x->body, bytes, n);
    c->body_bytes += n;
    io->body_bytes += n;
}

/* Takes a place among the requests that wait. */
static bool take_place(struct server *server, const struct route *route, struct api_error *error)
{
    const int most = server->settings->n_sessions + server->settings->queue;
    if (atomic_fetch_add(&server->n_requests, 1) < most) return true;
    atomic_fetch_sub(&server->n_requests, 1);
    api_fail(error, 429, ERROR_RATE_LIMIT, "%d requests are being answered or wait: try again later", most);
    error->retry_after_s = scheduler_wait_s(server->scheduler);
    metrics_count_request(&server->metrics, route->api, error->status);
    return false;
}

/* The request is complete. */
static void dispatch(struct call *c)
{
    struct server *server = c->client->io->server;
    struct exchange *x = c->x;
    struct api_error error = {0};
    c->dispatched = true;
    c->client->deadline_s = 0;
    if (c->too_large)
        api_fail(&error, 413, ERROR_INVALID, "body: expected at most %lld bytes, and %zu of all bodies at once",
                 (long long)server->settings->max_body, ALL_BODIES);
    else if (x->body.failed)
        api_fail(&error, 503, ERROR_UNAVAILABLE, "out of memory for the body");
    else if (x->route->flags & ROUTE_GENERATE)
        take_place(server, x->route, &error);
    if (error.status) {
        exchange_fail(x, &error);
        return;
    }
    if (x->route->where == ROUTE_IO) {
        x->route->answer(server, x);
        return;
    }
    x->taken = scheduler_wake;
    x->taken_user = server->scheduler;
    preparation_add(server->preparation, x);
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_bytes, void **call)
{
    struct call *c = *call;
    (void)version;
    if (!c) return begin(user, connection, url, method, call);
    if (*upload_bytes) {
        take_body(c, upload, *upload_bytes);
        *upload_bytes = 0;
        return MHD_YES;
    }
    if (!c->dispatched) dispatch(c);
    return respond_or_wait(c);
}

static void on_completed(void *user, struct MHD_Connection *connection, void **call,
                         enum MHD_RequestTerminationCode why)
{
    struct io *io = user;
    struct call *c = *call;
    (void)connection, (void)why;
    if (!c) return;
    struct exchange *x = c->x;
    c->client->call = NULL;
    c->client->deadline_s = fkv_clock_s() + io->server->settings->timeout_s;
    io->body_bytes -= c->body_bytes;
    io->n_calls--;
    x->call = NULL;
    atomic_store(&x->gone, true);
    if (x->taken) x->taken(x->taken_user);
    exchange_let_go(x);
    free(c);
    *call = NULL;
}

/* ---- news of other threads, and of clients ------------------------------------------------------- */

static void resume(struct call *c)
{
    if (!c->suspended) return;
    c->suspended = false;
    MHD_resume_connection(c->connection);
}

void http_news(struct exchange *x)
{
    if (!x->call) return;
    pthread_mutex_lock(&x->lock);
    const bool news = x->phase != EXCHANGE_OPEN && (x->ended || x->out.n > x->sent || !x->call->responded);
    pthread_mutex_unlock(&x->lock);
    if (news) resume(x->call);
}

void http_gone(struct client *client)
{
    struct call *c = client->call;
    shutdown(client->fd, SHUT_RDWR); /* one that only stopped to write has left, too */
    if (!c) return;
    atomic_store(&c->x->gone, true);
    if (c->x->taken) c->x->taken(c->x->taken_user);
    resume(c);
}

/* ---- the daemon --------------------------------------------------------------------------------- */

bool http_open(struct io *io)
{
    io->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, connection_accept, io, on_request, io,
                                  MHD_OPTION_LISTEN_SOCKET, io->listener.fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                  (size_t)HEADER_POOL, MHD_OPTION_CONNECTION_LIMIT, (unsigned)MOST_CLIENTS,
                                  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)io->server->settings->timeout_s,
                                  MHD_OPTION_NOTIFY_COMPLETED, on_completed, io, MHD_OPTION_NOTIFY_CONNECTION,
                                  connection_changed, io, MHD_OPTION_URI_LOG_CALLBACK, connection_url, io,
                                  MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                                  MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!io->daemon) console_error("libmicrohttpd %s cannot start", MHD_get_version());
    return io->daemon;
}
