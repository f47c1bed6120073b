/* The observation window of a prefill: which of its last rows score the others, and what each counts. */
#include "engine/session.h"

enum {
    LEAST = 8,  /* rows of a window */
    LOOKED = 16 /* ids at a prompt's end among which its template's are */
};

fkv_status fkv_session_mark(fkv_session *s, const struct fkv_marks *marks)
{
    s->marks = (struct fkv_marks)FKV_MARKS_INIT;
    return fkv_take_params(&s->marks, sizeof s->marks, marks, "marks", &s->error);
}

fkv_status fkv_session_check_marks(fkv_session *s, size_t n)
{
    const struct fkv_marks *m = &s->marks;
    if (m->question_n && (m->question_first > n || m->question_n > n - m->question_first))
        return fkv_fail(&s->error, FKV_ERROR_ARGUMENT,
                        "marks: expected a question among %zu ids, found %zu from %zu on", n, m->question_n,
                        m->question_first);
    if (m->head_n > n)
        return fkv_fail(&s->error, FKV_ERROR_ARGUMENT, "marks: expected a head of %zu ids at most, found %zu", n,
                        m->head_n);
    return FKV_OK;
}

static bool is_control(const fkv_engine *e, int32_t id)
{
    const char *bytes;
    return !fkv_token_bytes(e, id, false, &bytes) && fkv_token_bytes(e, id, true, &bytes);
}

/* How many ids at the end a chat template adds to what was said. */
static size_t tail_of(const fkv_engine *e, const int32_t *ids, size_t n)
{
    size_t control = 0;
    for (size_t t = 1; t <= LOOKED && t <= n; t++) {
        if (fkv_token_is_end(e, ids[n - t])) return t;
        if (!control && is_control(e, ids[n - t])) control = t;
    }
    return control;
}

/* Rows of a prefill, counted from its first. */
struct rows {
    size_t from, to;
};

/* Those of the question, of which no window reaches more than the last FKV_MAX_WINDOW. */
static struct rows question_of(const fkv_session *s, const int32_t *ids, size_t n, size_t first)
{
    const struct fkv_marks *m = &s->marks;
    const size_t reach = n > FKV_MAX_WINDOW ? n - FKV_MAX_WINDOW : 0, end = m->question_first + m->question_n;
    if (m->question_n == 0 || end <= first + reach) return (struct rows){reach, n - tail_of(s->e, ids, n)};
    const size_t from = m->question_first > first ? m->question_first - first : 0;
    return (struct rows){from > reach ? from : reach, end - first};
}

void fkv_session_observe(fkv_session *s, const int32_t *ids, size_t n, size_t first)
{
    const struct fkv_kv_params *kv = &s->shape.params.kv;
    struct fkv_prefill_params *p = &s->prefill;
    p->window = n < (size_t)kv->window ? (int)n : kv->window;
    p->weight = NULL;
    p->sinks = kv->sinks;
    if (!kv->question) return;
    const struct rows question = question_of(s, ids, n, first);
    const size_t least = n < LEAST ? n : LEAST, rows = n - question.from, window = rows < least ? least : rows;
    for (size_t i = 0; i < window; i++) {
        const size_t row = n - window + i;
        s->weight[i] = row == n - 1 || (row >= question.from && row < question.to) ? 1 : 0;
    }
    p->window = (int)window;
    p->weight = s->weight;
    const int head = s->marks.head_n < FKV_HEAD_ROWS ? (int)s->marks.head_n : FKV_HEAD_ROWS;
    if (head > p->sinks) p->sinks = head;
}

int fkv_session_window(const fkv_session *s, const float **weight)
{
    *weight = s->prefill.weight;
    return s->prefill.window;
}
