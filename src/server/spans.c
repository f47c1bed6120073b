#include "server/spans.h"

#include <string.h>

#include "server/server.h"

enum {
    SYSTEM = 256,   /* tokens of a system part that is a trunk */
    QUESTION = 512, /* tokens at the end of a document's message that are no trunk */
    SHORT = 256,
};

/* Does a policy drop anything of a turn of so many tokens? */
static bool drops(const struct fkv_kv_params *kv, size_t n)
{
    if (!strcmp(kv->policy, "full")) return false;
    const int kept = kv->kv_budget > 0 ? kv->kv_budget : kv->kv_floor,
              on = kv->tsp_budget > 0 ? kv->tsp_budget : kv->tsp_floor;
    return n > (size_t)(kept < on ? kept : on);
}

static bool ends_line(const fkv_engine *engine, int32_t id)
{
    const char *text;
    const size_t n = fkv_token_bytes(engine, id, false, &text);
    return n && text[n - 1] == '\n';
}

/* Where the document ends that the prompt asks about: before the last message; of a single one, before its last
   tokens, at the end of a line. */
static size_t document_end(const struct request *r, const struct prompt *p)
{
    if (p->before_last > p->head_end) return p->before_last;
    if (p->last_end < p->head_end + QUESTION) return p->head_end;
    const size_t most = p->last_end - QUESTION, least = most > p->head_end + SHORT ? most - SHORT : p->head_end;
    for (size_t n = most; n > least; n--)
        if (ends_line(r->server->engine, p->ids[n - 1])) return n;
    return most;
}

static void set_turn(const struct request *r, struct prompt *p, size_t first)
{
    p->turn_first = first < p->last_end && drops(&r->kv, p->last_end - first) ? first : p->last_end;
}

void spans_plan(const struct request *r, struct prompt *p)
{
    p->trunk = p->head_end >= SYSTEM ? p->head_end : 0;
    if (r->kv_mode == KV_MODE_DOCUMENT) {
        const size_t end = document_end(r, p);
        if (end > p->trunk) p->trunk = end;
        p->reason = "document";
    }
    set_turn(r, p, p->trunk);
}

size_t spans_least(const struct prompt *p) { return spans_compress(p) ? SHORT : 0; }

/* Whole bytes of the first n ids. */
static uint64_t bytes_of(const struct prompt *p, size_t n)
{
    return (uint64_t)((double)(p->whole_bytes - p->answer_bytes) * (double)n / (double)p->n);
}

uint64_t spans_bytes(const struct prompt *p)
{
    if (!spans_compress(p)) return p->whole_bytes;
    const uint64_t bytes = bytes_of(p, p->turn_first) + p->need_bytes;
    return bytes < p->whole_bytes ? bytes : p->whole_bytes;
}

uint64_t spans_least_bytes(const struct request *r, const struct prompt *p)
{
    return drops(&r->kv, p->last_end) && p->need_bytes < p->whole_bytes ? p->need_bytes : p->whole_bytes;
}

void spans_settle(const struct request *r, struct prompt *p, uint64_t kv_ram)
{
    const bool again = p->found.trunk > p->trunk && r->kv_mode != KV_MODE_ONESHOT && spans_compress(p);
    if (again) {
        p->trunk = p->found.trunk < p->last_end ? p->found.trunk : p->last_end;
        p->reason = "second_sight";
    }
    set_turn(r, p, p->found.n > p->trunk ? p->found.n : p->trunk);
    if (p->found.n < p->trunk && strcmp(r->kv.policy, "full") && spans_bytes(p) > kv_ram) {
        p->trunk = 0;
        p->reason = "memory";
        set_turn(r, p, p->found.n);
    }
}
