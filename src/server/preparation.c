#include "server/preparation.h"

#include <stdlib.h>
#include <string.h>

#include "server/load.h"
#include "server/log.h"
#include "server/request.h"
#include "server/routes.h"
#include "server/scheduler.h"

/* An exchange that waits. */
struct job {
    struct exchange *x;
    struct job *next;
};

struct preparation {
    struct server *server;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *first, **end;
    bool stopping;
    pthread_t thread;
};

/* ---- requests for text ------------------------------------------------------------------------- */

/* What each prompt needs at most. */
static bool count_bytes(struct request *r, struct api_error *error)
{
    enum { ORDINARY = 1024 }; /* tokens of an answer without a limit */
    struct fkv_session_params params = r->server->settings->session;
    struct fkv_memory_plan plan;
    char why[FKV_ERROR_BYTES];
    params.n_ctx = r->server->n_ctx;
    params.kv = r->kv;
    for (int i = 0; i < r->n_prompts; i++) {
        struct prompt *p = &r->prompts[i];
        const int room = r->server->n_ctx - (int)p->n, wanted = r->n_predict < 0 ? ORDINARY : r->n_predict;
        if (fkv_plan_memory(r->server->engine, &params, (int)p->n, wanted < room ? wanted : room, &plan, why) != FKV_OK)
            return request_fail_retention(r, why, error);
        p->need_bytes = plan.kv + plan.kv_prefill;
        p->whole_bytes = plan.kv_full + plan.kv_prefill;
        const int n_answer = wanted < room ? wanted : room;
        p->answer_bytes = (uint64_t)((double)plan.kv_full * n_answer / ((double)p->n + n_answer));
    }
    return true;
}

/* Whole because of its mode, and too large for that: by the server's policy, if that is smaller. */
static bool settle_policy(struct request *r, struct api_error *error)
{
    bool fits = true;
    for (int i = 0; i < r->n_prompts; i++) fits = fits && r->prompts[i].whole_bytes <= r->server->kv_ram;
    if (fits || r->kv_mode != KV_MODE_AGENT || strcmp(r->reason, "agent")) return true;
    r->kv.policy = r->server->settings->session.kv.policy;
    r->reason = "memory";
    return count_bytes(r, error);
}

static bool plan(struct request *r, struct api_error *error)
{
    return count_bytes(r, error) && settle_policy(r, error) && slots_could_hold(r->server->scheduler, r, error);
}

static void prepare(struct server *server, struct exchange *x, const struct dialect *dialect)
{
    struct api_error error = {0};
    struct request *r = request_new(server, x, dialect);
    if (r && !plan(r, &error)) {
        exchange_fail(x, &error);
        request_free(r);
        r = NULL;
    }
    if (!r) {
        metrics_count_request(&server->metrics, dialect->name, error.status ? error.status : 400);
        request_ended(server);
        return;
    }
    log_prompts(r);
    if (r->stream) {
        exchange_stream(x);
        dialect->begin(r);
    }
    scheduler_add(server->scheduler, r);
}

void api_chat(struct server *server, struct exchange *x) { prepare(server, x, &dialect_chat); }

void api_completions(struct server *server, struct exchange *x) { prepare(server, x, &dialect_completions); }

void api_prefix(struct server *server, struct exchange *x) { prepare(server, x, &dialect_prefix); }

void api_native(struct server *server, struct exchange *x) { prepare(server, x, &dialect_native); }

/* ---- the thread -------------------------------------------------------------------------------- */

static void refuse(struct server *server, struct exchange *x)
{
    struct api_error error = {0};
    api_fail(&error, 503, ERROR_UNAVAILABLE, "the server is shutting down");
    exchange_fail(x, &error);
    if (!(x->route->flags & ROUTE_GENERATE)) return;
    metrics_count_request(&server->metrics, x->route->api, error.status);
    request_ended(server);
}

/* NULL when it is time to end. *stopping: what comes is to be refused. */
static struct exchange *next(struct preparation *p, bool *stopping)
{
    struct exchange *x = NULL;
    pthread_mutex_lock(&p->lock);
    while (!p->first && !p->stopping) pthread_cond_wait(&p->changed, &p->lock);
    struct job *job = p->first;
    if (job) {
        x = job->x;
        p->first = job->next;
        if (!p->first) p->end = &p->first;
    }
    *stopping = p->stopping;
    pthread_mutex_unlock(&p->lock);
    free(job);
    return x;
}

static void *run(void *user)
{
    struct preparation *p = user;
    struct server *server = p->server;
    bool stopping;
    load(server);
    for (struct exchange *x; (x = next(p, &stopping));) {
        if (stopping || server->state != SERVER_READY)
            refuse(server, x);
        else if (!atomic_load(&x->gone))
            x->route->answer(server, x);
        else if (x->route->flags & ROUTE_GENERATE)
            request_ended(server);
        exchange_let_go(x);
    }
    return NULL;
}

bool preparation_open(struct server *server)
{
    struct preparation *p = calloc(1, sizeof *p);
    if (!p) return false;
    p->server = server;
    p->end = &p->first;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    server->preparation = p;
    if (!pthread_create(&p->thread, NULL, run, p)) return true;
    server->preparation = NULL;
    free(p);
    return false;
}

void preparation_add(struct preparation *p, struct exchange *x)
{
    struct job *job = malloc(sizeof *job);
    if (!job) {
        refuse(p->server, x);
        return;
    }
    *job = (struct job){.x = exchange_hold(x)};
    pthread_mutex_lock(&p->lock);
    *p->end = job;
    p->end = &job->next;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void preparation_close(struct preparation *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p);
}
