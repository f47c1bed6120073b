/* request.h: what every door that generates text (chat, completions, native) asks for, in one form. A door fills it
   from its JSON, the scheduler computes it, and the door says how what comes is written. */
#ifndef FKV_SERVER_REQUEST_H
#define FKV_SERVER_REQUEST_H

#include <jansson.h>

#include "cli/answer.h"
#include "fastkv.h"
#include "server/exchange.h"
#include "server/logprobs.h"
#include "server/prefix_cache.h"

struct server;
struct dialect;

enum { REQUEST_MOST_STOPS = 16, REQUEST_MOST_CHOICES = 16, REQUEST_MOST_LOGPROBS = 20 };

enum kv_mode { KV_MODE_AUTO, KV_MODE_ONESHOT, KV_MODE_DOCUMENT, KV_MODE_AGENT };

/* One prompt. Several branches may answer it. */
struct prompt {
    int32_t *ids; /* [n] */
    size_t n;
    char *text; /* [n_text] what was tokenised; NULL: ids were given */
    size_t n_text;
    struct fkv_marks marks;
    /* where messages end, in ids: the system part (0: there is none), all but the last, all, behind which the answer's
       start is. Without messages the last is n, the others 0 */
    size_t head_end, before_last, last_end;
    size_t boundary[3], n_boundaries; /* those that there are, ascending */
    bool unstable;                    /* the template renders a part of the messages otherwise than all of them */
    struct message_place {
        size_t at; /* byte of `text` where its content is */
        const char *role;
    } * messages; /* [n_messages] */
    size_t n_messages;
    uint64_t need_bytes, whole_bytes; /* of KV, at most, by the policy and without; of an answer without a limit, an
                                         ordinary one's */
    uint64_t answer_bytes;            /* of those, the answer's */
    /* the scheduler's */
    bool looked;  /* in the prefix cache */
    bool adopted; /* another's prefill, whose client had left, was gone on with */
    struct fkv_prefix_found found;
    size_t trunk, turn_first; /* whole as far as trunk; turn_first .. last_end is compressed, if not empty */
    const char *reason;       /* why, where it is not the request's */
    uint64_t entry;           /* of the prefix cache: as much of the prompt as it took */
    uint8_t *went_on;         /* [n] past the TSP layer; NULL: all */
    /* once it was computed */
    fkv_session *base; /* holds the prompt, for further branches to fork; NULL: none is needed */
    bool computed;
    size_t n_cached, n_kept_before; /* ids that were not computed again; the same, where the session held them */
    double ms;
    struct kept_report {
        bool compressed;
        uint64_t min, max;
        double mean; /* entries per head */
        uint64_t bytes, full_bytes;
        int tsp_layer, n_propagated; /* -1: all went on */
        struct fkv_signals signals;  /* of the turn that was computed for it; no checks: none was, or none made */
    } kept;
    struct eval_text map; /* the fields of kv_map, when it was asked for */
};

enum finish { FINISH_NONE, FINISH_EOS, FINISH_LENGTH, FINISH_STOP, FINISH_FAILED };

/* One answer to one prompt. */
struct branch {
    struct request *request;
    int index; /* of the choice */
    int prompt;
    struct branch *next; /* in the scheduler's list */
    int slot;            /* -1: none yet */
    fkv_sampler *sampler;
    struct answer answer;
    size_t n_sent, n_ids_sent; /* bytes of answer.text, and ids, that were written to a stream */
    size_t n_held;             /* ids that its session held at the end */
    int32_t *ids;              /* [n_ids] sampled, the end token included */
    size_t n_ids, most;        /* most: that may be sampled */
    struct logprob *logprobs;  /* [n_ids] when asked for */
    size_t n_logprobs_sent;
    enum finish finish;
    bool cut;               /* it ended because the context is full */
    double first_s, last_s; /* clock: decoding began, the last token came */
};

struct request {
    struct server *server;
    struct exchange *x;
    const struct dialect *dialect;
    json_t *body;
    char id[48];     /* "chatcmpl-..." */
    int64_t created; /* Unix time */

    bool stream, include_usage, timings_per_token, return_progress, return_tokens, cache_prompt, ignore_eos, kv_map;
    bool want_logprobs;
    int n_logprobs;                    /* most likely ones to list beside the one that was chosen */
    int n;                             /* choices for each prompt */
    int n_predict;                     /* -1: until the context is full */
    double most_predict_ms;            /* 0: no limit */
    struct fkv_sampler_params sampler; /* bias: this request's own */
    struct fkv_logit_bias *bias;
    int64_t seed;
    struct option_texts stops; /* texts are the body's */
    struct fkv_kv_params kv;
    enum kv_mode kv_mode;
    bool pin;           /* of a prefix */
    float ttl_s;        /* for so long; 0: not said */
    char *salt;         /* whose cache it uses: the body's, and the key's number where there are several keys */
    int slot;           /* that it asks for; -1: any */
    const char *reason; /* why this policy */

    struct prompt *prompts; /* [n_prompts] */
    int n_prompts;
    bool many;               /* they came as an array of prompts */
    struct branch *branches; /* [n_branches] choice by choice: n for the first prompt, n for the second, ... */
    int n_branches;
    int n_running;            /* branches that have not ended */
    atomic_bool failed;       /* its error has been sent, or its client has left */
    double queued_s, begun_s; /* clock: it was complete; its first prompt began */
    double progress_s;        /* when progress was last told */
};

/* How a door writes what comes. Called from one thread at a time; all but `complete` of streams only. */
struct dialect {
    const char *name; /* in metrics: "chat" */
    const char *id_prefix;
    /* Reads what is this door's own, and makes the prompts. */
    bool (*read)(struct request *r, struct api_error *error);
    void (*begin)(struct request *r); /* the stream's first events */
    void (*progress)(struct request *r, struct prompt *p, size_t processed, double ms);
    void (*delta)(struct branch *b);     /* there is new text, or tokens to report */
    void (*finish)(struct branch *b);    /* the branch has ended */
    void (*complete)(struct request *r); /* all have: the end of the stream, or the whole answer */
};
extern const struct dialect dialect_chat, dialect_completions, dialect_native, dialect_prefix;

/* A request of this exchange by a dialect, or its error is sent and NULL returned. */
struct request *request_new(struct server *server, struct exchange *x, const struct dialect *dialect);
void request_free(struct request *r);
/* One that took a place among those that wait is over. */
void request_ended(struct server *server);

/* Reads the fields that all doors share. */
bool request_read_common(struct request *r, struct api_error *error);
/* request_kv.c: those of retention, of which an unknown one is an error. */
bool request_read_retention(struct request *r, struct api_error *error);
/* An error, why these options will not do: of the field with whose name `why` begins, if the body has it. */
bool request_fail_retention(const struct request *r, const char *why, struct api_error *error);
/* Adds a prompt of text or, where text is NULL, of ids; both are taken. */
struct prompt *request_add_prompt(struct request *r, char *text, size_t n_text, int32_t *ids, size_t n,
                                  struct api_error *error);

/* "stop" or "length". */
const char *finish_name(enum finish finish);

#endif
