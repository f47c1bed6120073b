/* server.h: what the threads of `fastkv serve` share. */
#ifndef FKV_SERVER_SERVER_H
#define FKV_SERVER_SERVER_H

#include <pthread.h>

#include "cli/settings.h"
#include "server/exchange.h"
#include "server/metrics.h"

struct scheduler;
struct prefixes;
struct preparation;

enum server_state { SERVER_LOADING, SERVER_READY, SERVER_DRAINING, SERVER_FAILED };

struct server {
    const struct settings *settings;
    _Atomic int state;    /* enum server_state */
    struct doorbell bell; /* wakes the I/O thread */
    struct metrics metrics;
    struct preparation *preparation;
    const char *model_id;        /* what answers call the model; the first of aliases */
    struct option_texts aliases; /* all of them */
    char *alias_text;            /* where they lie */
    int64_t started;             /* Unix time */
    atomic_int n_requests;       /* that generate, and have not ended */
    /* from SERVER_READY on */
    fkv_engine *engine;
    struct scheduler *scheduler;
    struct prefixes *prefixes;
    char *chat_template;  /* in place of the model's own; NULL: none */
    int n_ctx;            /* of each session */
    uint64_t kv_ram;      /* most bytes of all sessions together */
    char fingerprint[64]; /* "b0.1.0-avx2" */
};

#endif
