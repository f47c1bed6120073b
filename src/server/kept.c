#include "server/kept.h"

#include <stdlib.h>

#include "server/json_out.h"

void kept_report(const fkv_session *session, struct kept_report *report)
{
    struct fkv_session_stats stats;
    const int32_t *positions;
    const uint64_t n_seen = fkv_session_n_seen(session);
    uint64_t sum = 0, n_heads = 0;
    fkv_session_get_stats(session, &stats);
    *report = (struct kept_report){.min = n_seen, .bytes = stats.kv_bytes, .full_bytes = stats.kv_full_bytes};
    for (int layer = 0; fkv_session_kept(session, layer, 0, &positions) >= 0; layer++) {
        for (int head = 0, n; (n = fkv_session_kept(session, layer, head, &positions)) >= 0; head++, n_heads++) {
            if ((uint64_t)n < report->min) report->min = (uint64_t)n;
            if ((uint64_t)n > report->max) report->max = (uint64_t)n;
            sum += (uint64_t)n;
        }
    }
    report->mean = n_heads ? (double)sum / (double)n_heads : 0;
    report->compressed = report->min < n_seen;
    report->n_propagated = fkv_session_propagated(session, &report->tsp_layer, &positions);
    if (report->n_propagated < 0) report->tsp_layer = -1;
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
    const int32_t *positions;
    int layer;
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
    const int n_propagated = fkv_session_propagated(session, &layer, &positions);
    for (size_t i = 0; i < p->n; i++) numbers[i] = n_propagated < 0;
    for (int i = 0; i < n_propagated; i++)
        if ((size_t)positions[i] < p->n) numbers[positions[i]] = 1;
    put_numbers(&j, "propagated", numbers, p->n);
    out_close(&j, '}');
    free(numbers);
}
