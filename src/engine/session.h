/* session.h: a session: one timeline of tokens, and what is wanted of it. */
#ifndef FKV_ENGINE_SESSION_H
#define FKV_ENGINE_SESSION_H

#include "engine/engine.h"

struct fkv_session {
    fkv_engine *e;
    struct fkv_session_shape shape;
    struct fkv_prefill_params prefill;
    struct fkv_sequence *q;
    struct fkv_marks marks;       /* of the next call's ids */
    float weight[FKV_MAX_WINDOW]; /* of the last prefill's window */
    float *logits;                /* [n_vocab] */
    bool have_logits;
    enum fkv_sync sync_kind;
    size_t reused;
    struct fkv_prefill_report report;
    struct fkv_session_stats stats;
    atomic_bool cancel; /* wanted, and no call has ended by it yet */
    struct fkv_error error;
    void *memory; /* logits and the report's lists */
    size_t bytes;
};

/* A prefill when it is the session's turn, or CANCELLED before. Counts and failures as fkv_prefill() has them. */
fkv_status fkv_session_prefill(fkv_session *s, const struct fkv_prefill_params *params, const int32_t *ids, size_t n);
/* Are these ids that may come at positions first ..? The message is the session's. */
fkv_status fkv_session_check_ids(fkv_session *s, const int32_t *ids, size_t n, size_t first);
/* back_off.c: after a prefill that left it open how much is kept: settles that. */
fkv_status fkv_session_back_off(fkv_session *s);
/* signals.c: how far what the last token leads to, decoded over what is held, is from the logits; sets no message. */
fkv_status fkv_session_divergence(fkv_session *s, double *kl);
/* The session's message for a failure of a pass. */
fkv_status fkv_session_failed(fkv_session *s, fkv_status status);
/* window.c: do the marks lie within n ids? The message is the session's. */
fkv_status fkv_session_check_marks(fkv_session *s, size_t n);
/* Sets the window of a prefill of ids[n], the first of which is at position `first`. */
void fkv_session_observe(fkv_session *s, const int32_t *ids, size_t n, size_t first);
/* Room for one more turn; and what a prefill of the tokens from `first` on left, if a policy dropped some of it. */
fkv_status fkv_session_reserve_turn(fkv_session *s);
void fkv_session_note_turn(fkv_session *s, size_t first);
/* Was the session cancelled? Only once: a cancel ends one call. Then the message says so. */
bool fkv_session_cancelled(fkv_session *s);
/* Forgets the tokens from n on, and the logits. */
void fkv_session_forget(fkv_session *s, size_t n);
/* Bytes of `memory` for a context of n_ctx tokens. */
size_t fkv_session_bytes(const fkv_engine *e, int n_ctx);

#endif
