#include "eval/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/logits.h"
#include "eval/distance.h"
#include "eval/text.h"

/* ---- the runner ------------------------------------------------------------------------------ */

bool eval_runner_open(struct eval_runner *r)
{
    r->n_vocab = fkv_engine_info(r->engine)->n_vocab;
    const size_t row = (size_t)r->n_vocab, block = EVAL_FORCED * row;
    r->memory = malloc((row + 3 * block + FKV_BATCH_MOST * row) * sizeof *r->memory);
    r->first = r->memory;
    if (!r->memory) return false;
    r->answer_rows = r->first + row;
    r->reference_rows = r->answer_rows + block;
    r->rows = r->reference_rows + block;
    r->spare = r->rows + block;
    return true;
}

void eval_runner_close(struct eval_runner *r)
{
    eval_run_end(r);
    free(r->memory);
    free(r->full_ids);
    r->memory = NULL;
    r->full_ids = NULL;
}

static bool step(void *user, uint64_t done, uint64_t all)
{
    const struct eval_runner *r = user;
    return r->go_on(r->user, done, all);
}

/* ---- a session ------------------------------------------------------------------------------- */

/* One sample under one set of options. */
struct trial {
    struct eval_runner *r;
    const struct eval_request *request;
    fkv_session *s;
    int n_predict;
    int32_t *ids; /* [n_predict] of the answer */
    int n;
};

static fkv_status failed(const struct trial *t, fkv_status status, char *err)
{
    if (status != FKV_OK) snprintf(err, FKV_ERROR_BYTES, "%s", fkv_session_error(t->s));
    return status;
}

static void end(struct trial *t)
{
    t->r->watch(t->r->user, NULL);
    free(t->ids);
}

/* Makes a session hold the first n ids of the prompt. */
static fkv_status sync(struct trial *t, size_t n)
{
    const fkv_status status = n == t->request->n ? fkv_session_mark(t->s, &t->request->marks) : FKV_OK;
    return status == FKV_OK ? fkv_session_sync(t->s, t->request->ids, n) : status;
}

/* Is the prompt's end to come as a later turn? */
static bool in_turns(const struct eval_runner *r)
{
    return (r->hidden || r->request->later) && r->request->n_context > 0;
}

/* The prompt goes into the i-th session, as far as it is not there; its last logits go to r->first. */
static fkv_status begin(struct trial *t, int i, char *err)
{
    struct eval_runner *r = t->r;
    t->s = r->sessions[i];
    t->request = r->request;
    t->ids = malloc((size_t)t->n_predict * sizeof *t->ids);
    if (!t->ids) {
        snprintf(err, FKV_ERROR_BYTES, "out of memory for an answer");
        return FKV_ERROR_MEMORY;
    }
    r->watch(r->user, t->s);
    const bool shared = fkv_session_n_seen(t->s) > 0;
    fkv_status status = FKV_OK;
    if (!shared && in_turns(r)) status = sync(t, t->request->n_context);
    if (status == FKV_OK) status = sync(t, t->request->n);
    if (status == FKV_OK) memcpy(r->first, fkv_session_logits(t->s), (size_t)r->n_vocab * sizeof *r->first);
    return failed(t, status, err);
}

/* Decodes ids[n] in as few passes as there are; rows: [n][n_vocab] what follows each, or NULL. */
static fkv_status feed(struct trial *t, const int32_t *ids, size_t n, float *rows, char *err)
{
    fkv_status status = FKV_OK;
    for (size_t i = 0; i < n && status == FKV_OK;) {
        const int some = n - i < FKV_BATCH_MOST ? (int)(n - i) : FKV_BATCH_MOST;
        status = fkv_batch_verify(t->s, ids + i, some, rows ? rows + i * (size_t)t->r->n_vocab : t->r->spare);
        i += (size_t)some;
    }
    return failed(t, status, err);
}

/* Back to the prompt, and the beginning of the answer; row: [n_vocab] what follows it. */
static fkv_status start_answer(struct trial *t, float *row, char *err)
{
    const struct eval_request *q = t->request;
    fkv_status status = failed(t, fkv_session_cut(t->s, q->n), err);
    if (status == FKV_OK) status = feed(t, q->prefix, q->n_prefix, NULL, err);
    if (status == FKV_OK && row)
        memcpy(row, q->n_prefix ? fkv_session_logits(t->s) : t->r->first, (size_t)t->r->n_vocab * sizeof *row);
    return status;
}

/* Leads the session through an answer; rows: [n][n_vocab] what the model would say in place of each id. */
static fkv_status force(struct trial *t, const int32_t *ids, int n, float *rows, char *err)
{
    fkv_status status = start_answer(t, rows, err);
    if (status == FKV_OK && n > 1) status = feed(t, ids, (size_t)n - 1, rows + t->r->n_vocab, err);
    return status;
}

/* Says on greedily until an end or the limit; row: what follows what the session holds. rows: NULL, or where the first
   EVAL_FORCED of them go. */
static fkv_status say(struct trial *t, const float *row, float *rows, char *err)
{
    const size_t n_vocab = (size_t)t->r->n_vocab;
    while (t->n < t->n_predict) {
        const int32_t id = eval_likeliest(row, (int)n_vocab);
        if (id < 0) {
            snprintf(err, FKV_ERROR_BYTES, "the model's logits are not numbers");
            return FKV_ERROR_NUMBER;
        }
        if (rows && t->n < EVAL_FORCED) memcpy(rows + (size_t)t->n * n_vocab, row, n_vocab * sizeof *row);
        t->ids[t->n++] = id;
        if (fkv_token_is_end(t->r->engine, id) || t->n == t->n_predict) break;
        if (!t->r->go_on(t->r->user, 0, 0)) return FKV_ERROR_CANCELLED;
        const fkv_status status = failed(t, fkv_session_append(t->s, id), err);
        if (status != FKV_OK) return status;
        row = fkv_session_logits(t->s);
    }
    return FKV_OK;
}

/* ---- all sessions of a sample ---------------------------------------------------------------- */

static fkv_status open_session(struct eval_runner *r, const struct fkv_kv_params *kv, char *err)
{
    struct fkv_session_params params = r->session;
    params.progress = step;
    params.progress_user = r;
    params.kv = *kv;
    const fkv_status status = fkv_session_open(&r->sessions[r->n_sessions], r->engine, &params, err);
    r->n_sessions += status == FKV_OK;
    return status;
}

fkv_status eval_run_start(struct eval_runner *r, const struct eval_request *request,
                          const struct fkv_kv_params *const *kv, int n, char *err)
{
    struct fkv_kv_params full = FKV_KV_PARAMS_INIT;
    full.policy = "full";
    r->request = request;
    fkv_status status = open_session(r, &full, err);
    for (int i = 0; i < n && status == FKV_OK; i++) status = open_session(r, kv[i], err);
    if (status != FKV_OK) return status;
    const size_t first = in_turns(r) ? request->n_context : request->n;
    for (int i = 0; i < r->n_sessions && first == request->n && status == FKV_OK; i++)
        status = fkv_session_mark(r->sessions[i], &request->marks);
    r->watch(r->user, r->sessions[0]);
    if (status == FKV_OK) status = fkv_batch_prefill(r->sessions, r->n_sessions, request->ids, first);
    r->watch(r->user, NULL);
    for (int i = 0; i < r->n_sessions && status != FKV_OK; i++)
        if (*fkv_session_error(r->sessions[i])) snprintf(err, FKV_ERROR_BYTES, "%s", fkv_session_error(r->sessions[i]));
    return status;
}

void eval_run_end(struct eval_runner *r)
{
    while (r->n_sessions > 0) fkv_session_close(r->sessions[--r->n_sessions]);
}

/* ---- what it came to ------------------------------------------------------------------------- */

static uint64_t work_of(const struct trial *t)
{
    struct fkv_session_stats stats;
    fkv_session_get_stats(t->s, &stats);
    return stats.prefill_work;
}

static void take_kept(const struct trial *t, struct eval_metrics *m)
{
    struct fkv_session_stats stats;
    const int32_t *positions;
    int layer;
    fkv_session_get_stats(t->s, &stats);
    m->kv = (double)stats.kv_bytes / (double)stats.kv_full_bytes;
    m->prefill_s = stats.prefill_s;
    m->all_kept = fkv_session_propagated(t->s, &layer, &positions) < 0;
    m->kept = FKV_HASH;
    for (layer = 0; fkv_session_kept(t->s, layer, 0, &positions) >= 0; layer++) {
        for (int head = 0, n; (n = fkv_session_kept(t->s, layer, head, &positions)) >= 0; head++) {
            m->kept = fkv_hash(m->kept, positions, (size_t)n * sizeof *positions);
            m->all_kept &= (size_t)n == fkv_session_n_seen(t->s);
        }
    }
}

/* The session has just been prefilled. */
static fkv_status take_signals(const struct trial *t, struct eval_metrics *m, char *err)
{
    fkv_session_get_signals(t->s, &m->signals);
    m->self_check = NAN;
    return t->request->n > 1 ? failed(t, fkv_session_self_check(t->s, &m->self_check), err) : FKV_OK;
}

/* NUL bytes, which a token can stand for, are left out. */
static bool take_text(const struct trial *t, struct eval_metrics *m)
{
    struct eval_text text = {0};
    eval_text_add(&text, "", 0);
    for (int i = 0; i < t->n; i++) {
        const char *bytes;
        const size_t n = fkv_token_bytes(t->r->engine, t->ids[i], false, &bytes);
        for (size_t b = 0; b < n; b++)
            if (bytes[b]) eval_text_add(&text, bytes + b, 1);
    }
    if (text.failed) {
        free(text.s);
        return false;
    }
    m->text = text.s;
    m->n_answer = t->n;
    return true;
}

static double gold(const struct trial *t, const float *rows)
{
    double sum = 0;
    const int n = t->request->n_answer < EVAL_FORCED ? (int)t->request->n_answer : EVAL_FORCED;
    for (int i = 0; i < n; i++)
        sum += eval_log_p(rows + (size_t)i * (size_t)t->r->n_vocab, t->r->n_vocab, t->request->answer[i]);
    return n ? sum / n : 0;
}

/* Of n positions: their distances, and how many have the same likeliest id. */
static int compare(const struct eval_runner *r, const float *full, const float *rows, int n, double kl[EVAL_FORCED])
{
    int same = 0;
    for (int i = 0; i < n; i++) {
        const size_t at = (size_t)i * (size_t)r->n_vocab;
        kl[i] = fkv_divergence(full + at, rows + at, r->n_vocab);
        same += eval_likeliest(full + at, r->n_vocab) == eval_likeliest(rows + at, r->n_vocab);
    }
    return same;
}

static int n_forced(size_t n) { return n < EVAL_FORCED ? (int)n : EVAL_FORCED; }

/* ---- full attention -------------------------------------------------------------------------- */

fkv_status eval_run_full(struct eval_runner *r, int n_predict, struct eval_metrics *metrics, char *err)
{
    struct trial t = {.r = r, .n_predict = n_predict};
    struct eval_metrics m = {.top1 = 1, .top1_reference = 1, .prefill = 1};
    fkv_status status = begin(&t, 0, err);
    if (status == FKV_OK) take_kept(&t, &m);
    if (status == FKV_OK) status = take_signals(&t, &m, err);
    if (status == FKV_OK) status = force(&t, t.request->answer, n_forced(t.request->n_answer), r->reference_rows, err);
    if (status == FKV_OK) status = start_answer(&t, r->spare, err);
    if (status == FKV_OK) status = say(&t, r->spare, r->answer_rows, err);
    if (status == FKV_OK && !take_text(&t, &m)) status = FKV_ERROR_MEMORY;
    if (status == FKV_OK) {
        r->full_gold = m.gold = gold(&t, r->reference_rows);
        r->full_work = work_of(&t);
        m.n_same = t.n;
        free(r->full_ids);
        r->full_ids = t.ids;
        r->n_full = t.n;
        t.ids = NULL;
        *metrics = m;
    }
    end(&t);
    return status;
}

/* ---- a variant ------------------------------------------------------------------------------- */

/* Its own answer is full attention's for as long as the likeliest ids are the same; only what comes then is decoded. */
static fkv_status answer(struct trial *t, int *n_same, char *err)
{
    const struct eval_runner *r = t->r;
    const size_t n_vocab = (size_t)r->n_vocab;
    const int known = n_forced((size_t)r->n_full);
    float *row = t->r->spare;
    while (t->n < known && eval_likeliest(r->rows + (size_t)t->n * n_vocab, r->n_vocab) == r->full_ids[t->n]) {
        t->ids[t->n] = r->full_ids[t->n];
        t->n++;
    }
    *n_same = t->n;
    if (t->n == r->n_full) return FKV_OK;
    fkv_status status = start_answer(t, row, err);
    if (status == FKV_OK) status = feed(t, t->ids, (size_t)t->n, NULL, err);
    if (status == FKV_OK && t->n) memcpy(row, fkv_session_logits(t->s), n_vocab * sizeof *row);
    return status == FKV_OK ? say(t, row, NULL, err) : status;
}

static fkv_status measure_reference(struct trial *t, struct eval_metrics *m, char *err)
{
    struct eval_runner *r = t->r;
    double kl[EVAL_FORCED], ignored;
    const int n = n_forced(t->request->n_answer);
    if (n == 0) return FKV_OK;
    const fkv_status status = force(t, t->request->answer, n, r->rows, err);
    if (status != FKV_OK) return status;
    m->gold = gold(t, r->rows) - r->full_gold;
    m->top1_reference = (double)compare(r, r->reference_rows, r->rows, n, kl) / n;
    eval_summary(kl, n, &m->kl_reference, &ignored, &ignored);
    return FKV_OK;
}

static fkv_status measure(struct trial *t, struct eval_metrics *m, char *err)
{
    struct eval_runner *r = t->r;
    double kl[EVAL_FORCED];
    const int n = n_forced((size_t)r->n_full);
    fkv_status status = measure_reference(t, m, err);
    if (status == FKV_OK) status = force(t, r->full_ids, n, r->rows, err);
    if (status != FKV_OK) return status;
    m->n_compared = n;
    m->top1 = (double)compare(r, r->answer_rows, r->rows, n, kl) / n;
    m->kl_first = kl[0];
    for (int i = 1; i < n; i++)
        if (kl[i] > kl[m->worst]) m->worst = i;
    m->kl_worst = kl[m->worst];
    eval_summary(kl, n, &m->kl, &m->kl_median, &m->kl_p95);
    return FKV_OK;
}

fkv_status eval_run_variant(struct eval_runner *r, int n_predict, int i, struct eval_metrics *metrics, char *err)
{
    struct trial t = {.r = r, .n_predict = n_predict};
    struct eval_metrics m = {0};
    fkv_status status = begin(&t, i + 1, err);
    if (status == FKV_OK) take_kept(&t, &m);
    if (status == FKV_OK) status = take_signals(&t, &m, err);
    if (status == FKV_OK) status = measure(&t, &m, err);
    if (status == FKV_OK) status = answer(&t, &m.n_same, err);
    if (status == FKV_OK && !take_text(&t, &m)) status = FKV_ERROR_MEMORY;
    m.prefill = r->full_work ? (double)work_of(&t) / (double)r->full_work : 1;
    if (status == FKV_OK) *metrics = m;
    end(&t);
    return status;
}

/* ---- what it costs ----------------------------------------------------------------------------- */

fkv_status eval_run_decode(struct eval_runner *r, int i, double *seconds, char *err)
{
    struct trial t = {.r = r, .request = r->request, .s = r->sessions[i]};
    struct fkv_session_stats before, after;
    r->watch(r->user, t.s);
    fkv_status status = start_answer(&t, NULL, err);
    fkv_session_get_stats(t.s, &before);
    for (int k = 0; k < r->n_full - 1 && status == FKV_OK; k++)
        status = failed(&t, fkv_session_append(t.s, r->full_ids[k]), err);
    fkv_session_get_stats(t.s, &after);
    end(&t);
    const uint64_t n = after.decode_tokens - before.decode_tokens;
    if (status == FKV_OK) *seconds = n ? (after.decode_s - before.decode_s) / (double)n : 0;
    return status;
}

fkv_status eval_run_attention(struct eval_runner *r, float *shares, char *err)
{
    const struct eval_request *q = r->request;
    struct trial t = {.r = r, .request = q, .s = r->sessions[0]};
    int32_t *ids = t.ids = malloc((q->n_prefix + (size_t)r->n_full) * sizeof *ids);
    if (!ids) {
        snprintf(err, FKV_ERROR_BYTES, "out of memory for an answer");
        return FKV_ERROR_MEMORY;
    }
    ids[0] = q->ids[q->n - 1];
    if (q->n_prefix) memcpy(ids + 1, q->prefix, q->n_prefix * sizeof *ids);
    memcpy(ids + 1 + q->n_prefix, r->full_ids, ((size_t)r->n_full - 1) * sizeof *ids);
    r->watch(r->user, t.s);
    fkv_status status = fkv_session_cut(t.s, q->n - 1);
    if (status == FKV_OK) status = fkv_session_attention(t.s, ids, q->n_prefix + (size_t)r->n_full, shares);
    failed(&t, status, err);
    end(&t);
    return status;
}
