#include "server/kept.h"

#include <stdlib.h>
#include <string.h>

#include "server/json_out.h"

void kept_turn(const fkv_session *session, struct prompt *p, size_t first)
{
    struct kept_report *report = &p->kept;
    struct fkv_turn turn;
    const int32_t *positions;
    const int n = fkv_session_propagated(session, &report->tsp_layer, &positions);
    fkv_session_get_signals(session, &report->signals);
    if (n < 0 || !(p->went_on = malloc(p->n))) return;
    memset(p->went_on, 1, p->n);
    memset(p->went_on + first, 0, p->last_end - first);
    for (int i = 0; i < n; i++)
        if ((size_t)positions[i] < p->n) p->went_on[positions[i]] = 1;
    for (size_t i = 0; fkv_session_turn(session, i, &turn) && turn.end <= first; i++) /* not known of those */
        memset(p->went_on + turn.first, 0, turn.end - turn.first);
    report->n_propagated = 0;
    for (size_t i = 0; i < p->n; i++) report->n_propagated += p->went_on[i];
}

void kept_report(const fkv_session *session, struct prompt *p)
{
    struct kept_report *report = &p->kept;
    struct fkv_session_stats stats;
    const int32_t *positions;
    const uint64_t n_seen = fkv_session_n_seen(session);
    uint64_t sum = 0, n_heads = 0;
    fkv_session_get_stats(session, &stats);
    report->min = n_seen;
    report->bytes = stats.kv_bytes;
    report->full_bytes = stats.kv_full_bytes;
    for (int layer = 0; fkv_session_kept(session, layer, 0, &positions) >= 0; layer++) {
        for (int head = 0, n; (n = fkv_session_kept(session, layer, head, &positions)) >= 0; head++, n_heads++) {
            if ((uint64_t)n < report->min) report->min = (uint64_t)n;
            if ((uint64_t)n > report->max) report->max = (uint64_t)n;
            sum += (uint64_t)n;
        }
    }
    report->mean = n_heads ? (double)sum / (double)n_heads : 0;
    report->compressed = report->min < n_seen;
    if (!p->went_on) report->tsp_layer = report->n_propagated = -1;
}

/* How many heads kept each token: counts[n]. */
static void count_kept(const fkv_session *session, int64_t *counts, size_t n)
{
    const int32_t *positions;
    for (int layer = 0; fkv_session_kept(session, layer, 0, &positions) >= 0; layer++)
        for (int head = 0, kept; (kept = fkv_session_kept(session, layer, head, &positions)) >= 0; head++)
            for (int i = 0; i < kept; i++)
                if ((size_t)positions[i] < n) counts[positions[i]]++;
}

static void put_numbers(struct json_out *j, const char *name, const int64_t *numbers, size_t n)
{
    out_key(j, name);
    out_open(j, '[');
    for (size_t i = 0; i < n; i++) out_int(j, numbers[i]);
    out_close(j, ']');
}

static void put_text(struct json_out *j, const fkv_engine *engine, const struct prompt *p, int64_t *offsets)
{
    struct eval_text text = {0};
    for (size_t i = 0; i < p->n; i++) {
        const char *bytes;
        const size_t n = fkv_token_bytes(engine, p->ids[i], true, &bytes);
        offsets[i] = (int64_t)text.n;
        eval_text_add(&text, bytes, n);
    }
    out_key(j, "text");
    out_bytes(j, text.s ? text.s : "", text.n);
    j->text->failed |= text.failed;
    free(text.s);
}

void kept_map(const fkv_engine *engine, const fkv_session *session, struct prompt *p)
{
    struct json_out j = {&p->map, false};
    int64_t *numbers = calloc(p->n, sizeof *numbers);
    if (!numbers) {
        p->map.failed = true;
        return;
    }
    out_open(&j, '{');
    put_text(&j, engine, p, numbers);
    put_numbers(&j, "offsets", numbers, p->n);
    for (size_t i = 0; i < p->n; i++) numbers[i] = 0;
    count_kept(session, numbers, p->n);
    put_numbers(&j, "counts", numbers, p->n);
    for (size_t i = 0; i < p->n; i++) numbers[i] = p->went_on ? p->went_on[i] : 1;
    put_numbers(&j, "propagated", numbers, p->n);
    out_close(&j, '}');
    free(numbers);
}
