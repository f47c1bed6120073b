/* exchange.h: one HTTP request and its answer, shared by the I/O thread, which reads the one and sends the other, and
   whichever thread answers. Either may be the last to let go of it.

   An answer is whole (exchange_answer, exchange_fail) or a stream of server-sent events (exchange_stream,
   exchange_event ..., exchange_end). What is written waits in memory until the client takes it; a writer that finds
   exchange_waiting() large stops until the exchange's `taken` is called. */
#ifndef FKV_SERVER_EXCHANGE_H
#define FKV_SERVER_EXCHANGE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "eval/text.h"

struct call;
struct route;
struct doorbell;

/* Bytes that wait to be sent, beyond which a writer stops. */
enum { EXCHANGE_AHEAD = 256 << 10 };

/* What an error is called: the rows of section "errors" of the API. */
enum error_type {
    ERROR_INVALID,
    ERROR_CONTEXT,
    ERROR_AUTHENTICATION,
    ERROR_PERMISSION,
    ERROR_NOT_FOUND,
    ERROR_RATE_LIMIT,
    ERROR_SERVER,
    ERROR_NOT_SUPPORTED,
    ERROR_UNAVAILABLE,
};

/* What went wrong with a request, as its client is told. Zeroed: nothing. */
struct api_error {
    int status; /* HTTP's; 0: nothing is wrong */
    enum error_type type;
    char param[48]; /* the field; "" when it is no field's fault */
    char message[512];
    int retry_after_s;             /* 0: not said */
    bool in_vain;                  /* a repeat would fail too */
    size_t n_prompt_tokens, n_ctx; /* of ERROR_CONTEXT */
};
/* Fills it, if nothing was wrong before; returns false. */
bool api_fail(struct api_error *error, int status, enum error_type type, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* 400, about a field. */
bool api_fail_field(struct api_error *error, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* {"error": {...}} */
void api_error_json(const struct api_error *error, struct eval_text *out);

enum exchange_phase { EXCHANGE_OPEN, EXCHANGE_STREAMS, EXCHANGE_ANSWERED };

struct exchange {
    /* set before it is handed to another thread */
    const struct route *route;
    char id[33];          /* x-request-id */
    char *tail, *action;  /* what a route's * stands for; the query's `action`. "" when there is none */
    int key;              /* the number of the valid one that came with it, from 1; 0: none */
    bool many_keys;       /* there are several, whose holders share no cache */
    bool fail_on_no_slot; /* the query has that name */
    struct eval_text body;
    double received_s;
    void (*taken)(void *user); /* by the I/O thread: the client took something, or left; NULL: none */
    void *taken_user;

    atomic_bool gone; /* the client left: an answer would go nowhere */

    pthread_mutex_t lock;
    enum exchange_phase phase;
    bool ended;             /* nothing more comes */
    struct api_error error; /* of an answer that is one */
    int status;
    const char *content_type;
    char *page_policy;    /* of a page: what it may do (Content-Security-Policy); NULL: it is none */
    struct eval_text out; /* [sent, n) waits to be sent */
    size_t sent;

    struct call *call; /* the I/O thread's own: NULL when the request is over */
    atomic_int references;
    struct doorbell *bell;
    struct exchange *next_rung;
    bool rung;
};

/* Exchanges about which the I/O thread should look again, in order. */
struct doorbell {
    pthread_mutex_t lock;
    struct exchange *first, **end;
    int fd; /* an eventfd */
};
bool doorbell_open(struct doorbell *bell);
void doorbell_close(struct doorbell *bell);
/* The I/O thread looks up. */
void doorbell_wake(struct doorbell *bell);
/* The next of them, with a reference; NULL when there is none. */
struct exchange *doorbell_next(struct doorbell *bell);

/* With one reference; NULL when memory runs out. */
struct exchange *exchange_new(struct doorbell *bell);
struct exchange *exchange_hold(struct exchange *x);
void exchange_let_go(struct exchange *x);

/* A whole answer; takes the text. */
void exchange_answer(struct exchange *x, int status, const char *content_type, struct eval_text *text);
/* The same, of JSON. */
void exchange_answer_json(struct exchange *x, struct eval_text *json);
/* The error as a whole answer, or as the last event of a stream. */
void exchange_fail(struct exchange *x, const struct api_error *error);
/* From here on the answer is a stream. */
void exchange_stream(struct exchange *x);
/* Adds bytes to the stream. */
void exchange_write(struct exchange *x, const char *bytes, size_t n);
void exchange_end(struct exchange *x);
/* Bytes that wait to be sent. */
size_t exchange_waiting(struct exchange *x);

#endif
