/* scheduler.h: who is computed when. Branches wait in one queue for a session. One thread prefills them, one after the
   other; another decodes all that are prefilled, up to FKV_BATCH_MOST in a pass. Both take turns at the engine, which
   gives them after every block of rows: an answer goes on while another's prompt is computed. */
#ifndef FKV_SERVER_SCHEDULER_H
#define FKV_SERVER_SCHEDULER_H

#include <pthread.h>

#include "server/request.h"

enum { MOST_SESSIONS = 64 };

enum slot_state { SLOT_IDLE, SLOT_PREFILL, SLOT_PARKED, SLOT_DECODE };

struct slot_task;

/* A session and what it is used for. Its members are the scheduler's lock's, but `session`, `ids` and `entry` of one
   that is used, which belong to the thread that computes the branch. */
struct slot {
    fkv_session *session; /* while a branch uses it; of an idle one, what the prefix cache does not have */
    const char *policy;
    char *salt;
    int32_t *ids; /* [n_ids] what an idle one held last; room for n_ctx */
    size_t n_ids;
    uint64_t entry; /* of the prefix cache: what its session grew from, in use; of an idle one, what it held last */
    enum slot_state state;
    struct branch *branch; /* NULL when idle */
    double used_s;
    uint64_t bytes;      /* of KV that it holds or will hold, beside what the prefix cache counts */
    uint64_t kv_bytes;   /* that it held last */
    uint64_t full_bytes; /* that its prompt and answer would need without a policy; 0 when idle */
    size_t n_prompt, n_decoded;
};

struct scheduler {
    struct server *server;
    pthread_mutex_t lock;
    pthread_cond_t work, ready;           /* for the thread that prefills, for the one that decodes */
    struct branch *first, **end;          /* that wait for a session */
    struct branch *active[MOST_SESSIONS]; /* that are decoded */
    struct slot_task *tasks;              /* that wait for their slots */
    int n_active, turn;                   /* turn: whose it is, when there are more than fit a pass */
    struct slot *slots;
    int n_slots;
    struct branch *prefilled; /* the prefill thread's own: what it computes, and in which slot */
    struct slot *prefilled_in;
    size_t span_first, span_end, span_done; /* ids of it that are computed now; as far as that */
    struct branch *adopted;                 /* for whom it is computed now, in place of one whose client has left */
    bool short_of_memory;                   /* the first that waits has to, until a session is released */
    bool stopping;                          /* no further branch begins */
    bool prefill_ended;
    atomic_bool give_up;    /* those that run end, too */
    double request_s;       /* how long a request took lately */
    _Atomic double moved_s; /* clock: something was computed */
    pthread_t prefill, decode;
    int n_threads;
};

/* As all sessions here are. */
struct fkv_session_params scheduler_session(struct scheduler *s);
/* Starts the threads. */
bool scheduler_open(struct server *server, char *err);
/* Lets nothing more begin: what waits is refused. What runs goes on until it ends or scheduler_give_up(). */
void scheduler_drain(struct scheduler *s);
void scheduler_give_up(struct scheduler *s);
/* Waits for the threads, which end when nothing runs any more. */
void scheduler_close(struct scheduler *s);

/* Queues all branches of a request, which is the scheduler's from here on. */
void scheduler_add(struct scheduler *s, struct request *r);
/* Queues what is to be done with a session once it is idle; taken. */
void scheduler_add_task(struct scheduler *s, struct slot_task *task);
/* Something that threads may wait for has changed: a client took what waited for it, or left. Any thread. */
void scheduler_wake(void *scheduler);

struct slot_report {
    enum slot_state state;
    size_t n_prompt, n_decoded, n_tokens;
    uint64_t kv_bytes, bytes, full_bytes; /* bytes: beside those of the prefix cache */
    double age_s;                         /* since it was last used */
    const char *policy;
};
void scheduler_report(struct scheduler *s, int slot, struct slot_report *report);
/* Branches that wait; those that run. */
void scheduler_count(struct scheduler *s, int *n_waiting, int *n_running);
/* Seconds until a session may be free, for those who are turned away. */
int scheduler_wait_s(struct scheduler *s);

/* ---- between the scheduler's files ------------------------------------------------------------- */

/* slots.c: an idle slot for the branch, the one that held most of its prompt last; NULL: none is free. Under the
   lock. */
struct slot *slot_take(struct scheduler *s, struct branch *b);
/* Could each of its prompts be held, were nothing else there? Else an error. */
bool slots_could_hold(const struct scheduler *s, const struct request *r, struct api_error *error);
/* Makes room for what the branch's session will hold, in what others held and in the prefix cache. False: it has to
   wait until another ends; or, with an error, for ever. */
bool slot_admit(struct scheduler *s, struct slot *slot, struct branch *b, struct api_error *error);
/* The branch is done with its slot: what the session holds is the prefix cache's. */
void slot_settle(struct scheduler *s, struct branch *b);
/* The slot is idle. Under the lock. */
void slot_release(struct scheduler *s, struct slot *slot);
void slot_empty(struct slot *slot);
/* What the session will be is under these options and of this salt. Under the lock. */
void slot_own(struct slot *slot, const struct fkv_kv_params *kv, const char *salt);
void slots_close(struct scheduler *s);
/* Is there an idle one that the request may have? Under the lock. */
bool slot_is_free(const struct scheduler *s, const struct request *r);
/* park.c: the client of the prefill under way has left: waits for one that wants the same. False: the prefill ends. */
bool prefill_park(struct scheduler *s);
/* The prefill is over. Returns who has it: the branch, or the one that has adopted it, and the branch has ended. */
struct branch *prefill_adopted(struct scheduler *s, struct slot *slot, struct branch *b);
/* prefill.c: takes a branch from those that wait. Under the lock. */
void scheduler_unlink(struct scheduler *s, struct branch **at);
/* compute.c: makes the session hold the branch's prompt: from the prefix cache, from the prompt's base, or anew. */
fkv_status slot_prefill(struct scheduler *s, struct slot *slot, struct branch *b, struct api_error *error);
/* An empty session of these options in place of what was there; policy and salt are the caller's to set. */
bool slot_open(struct scheduler *s, struct slot *slot, const struct fkv_kv_params *kv, struct api_error *error);
/* From the engine, after every block: user is the scheduler. */
bool compute_progress(void *user, uint64_t done, uint64_t all);

/* prefill.c, decode.c: the threads; user is the scheduler. */
void *scheduler_prefill_thread(void *user);
void *scheduler_decode_thread(void *user);

/* The branch has ended, for its b->finish. It, and with the last branch the request, are gone then. */
void scheduler_end(struct scheduler *s, struct branch *b);
/* The same for an error of the whole request, whose other branches end when they are next looked at. */
void scheduler_fail(struct scheduler *s, struct branch *b, const struct api_error *error);
/* An error of the library, as its client is told. */
void scheduler_tell(const fkv_session *session, fkv_status status, struct api_error *error);

#endif
