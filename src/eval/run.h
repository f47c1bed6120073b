/* run.h: one sample under full attention and under variants of retention: answers, scores, and how far the
   distributions of the next token are apart when both are led through the same answers. */
#ifndef FKV_EVAL_RUN_H
#define FKV_EVAL_RUN_H

#include "eval/request.h"

enum {
    EVAL_FORCED = 64,   /* most tokens of an answer that distributions are compared on */
    EVAL_VARIANTS = 63, /* most variants of a sample */
};

/* What a variant did with a sample. Shares are of what full attention has or does. */
struct eval_metrics {
    double score, strict; /* of its own greedy answer, by score.h: the caller's to fill in */
    /* led through full attention's own answer, its end included: sum over ids of p_full (ln p_full - ln p), nats */
    double kl, kl_median, kl_p95, kl_first; /* mean over positions, median, 95th percentile, first position */
    double top1;                            /* share of positions with full attention's likeliest id */
    double kl_worst;                        /* the largest, */
    int worst, n_compared;                  /* where it is, and of how many positions */
    /* led through the right answer */
    double kl_reference, top1_reference;
    double gold;                /* ln p of the right answer, a token; of variants, less that of full attention */
    struct fkv_signals signals; /* of the prompt's last turn */
    double self_check;          /* KL; NAN for a prompt of one token */
    double kv, prefill;         /* bytes kept; multiply-adds of the prefill */
    uint64_t kept;              /* hash of the positions kept, layer by layer and head by head */
    bool all_kept;              /* nothing was dropped: then all else has to be as with full attention, bit for bit */
    double prefill_s;           /* of a prefill of its own: 0 where full attention's served */
    int n_answer, n_same;       /* ids of its own answer; how many of the first are full attention's */
    char *text;                 /* which this is: malloc'ed, may hold any bytes but NUL */
};

struct eval_runner {
    fkv_engine *engine;
    struct fkv_session_params session; /* kv is set for each variant; progress is used here */
    bool hidden;                       /* the question comes as a later turn, when the context has been compressed */
    fkv_progress go_on;                /* of each prefill, and 0 of 0 between tokens; its user is the one below */
    void (*watch)(void *user, fkv_session *session); /* the session in use; NULL: none is */
    void *user;
    /* filled by eval_runner_open() */
    float *memory, *first, *answer_rows, *reference_rows, *rows, *spare; /* rows: [EVAL_FORCED][n_vocab] */
    int n_vocab;
    const struct eval_request *request;       /* the sample under way */
    fkv_session *sessions[1 + EVAL_VARIANTS]; /* [n_sessions] full attention's, and those of the variants */
    int n_sessions;
    uint64_t full_work; /* multiply-adds of full attention's prefill */
    int32_t *full_ids;  /* [n_full] of full attention's answer to the sample under way */
    int n_full;
    double full_gold;
};

/* The members above are set. False when memory runs out. */
bool eval_runner_open(struct eval_runner *runner);
void eval_runner_close(struct eval_runner *runner);

/* Starts a sample: one prefill fills the sessions of full attention and of all variants, as far as one can (see
   fkv_batch_prefill()); the others prefill by themselves later. kv: [n] the variants' options, n up to EVAL_VARIANTS.
   err: FKV_ERROR_BYTES. After a failure, too, eval_run_end() follows. */
fkv_status eval_run_start(struct eval_runner *runner, const struct eval_request *request,
                          const struct fkv_kv_params *const *kv, int n, char *err);
void eval_run_end(struct eval_runner *runner);
/* The sample under full attention, which comes first, and under the i-th variant, with answers of at most n_predict
   tokens. What concerns a right answer stays 0 where the request has none. */
fkv_status eval_run_full(struct eval_runner *runner, int n_predict, struct eval_metrics *metrics, char *err);
fkv_status eval_run_variant(struct eval_runner *runner, int n_predict, int i, struct eval_metrics *metrics, char *err);
/* *seconds: what a token takes that the i-th session (0: full attention's) decodes alone, over full attention's answer;
   0 when that has a single one. */
fkv_status eval_run_decode(struct eval_runner *runner, int i, double *seconds, char *err);
/* Where full attention looks when it says its answer: shares as of fkv_session_attention(), of all tokens of the prompt
   but the last, from which the answer starts: full attention's session holds them afterwards. The prompt has two
   tokens or more. */
fkv_status eval_run_attention(struct eval_runner *runner, float *shares, char *err);

#endif
