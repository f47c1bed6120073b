/* /v1/prefixes: prompts computed ahead of what will be asked about them; and what of /metrics the cache counts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/answer_json.h"
#include "server/json_in.h"
#include "server/messages.h"
#include "server/prefixes.h"
#include "server/prompts.h"
#include "server/routes.h"
#include "server/server.h"

/* ---- POST: computes one ------------------------------------------------------------------------- */

static bool read_prefix(struct request *r, struct api_error *error)
{
    json_get_bool(r->body, "pin", &r->pin, error);
    json_get_real(r->body, "ttl_s", 0, 1e9, false, &r->ttl_s, error);
    if (error->status) return false;
    r->kv.policy = "full";
    r->reason = "prefix";
    r->n = 1;
    r->n_predict = 0;
    r->cache_prompt = true;
    r->return_progress = r->stream;
    if (json_field(r->body, "messages") ? !messages_prompt(r, false, error) : !prompts_read(r, error)) return false;
    return r->n_prompts == 1 || api_fail_field(error, "prompt", "prompt: expected one, found %d", r->n_prompts);
}

static void begin(struct request *r) { exchange_write(r->x, ": accepted\n\n", 12); }

static void progress(struct request *r, struct prompt *p, size_t processed, double ms)
{
    struct event e;
    event_begin(&e);
    put_progress(&e.j, p, processed, ms);
    event_send(&e, r);
}

static void nothing(struct branch *b) { (void)b; }

static void put_id(struct json_out *j, uint64_t id)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)id);
    put_string(j, "id", text);
}

static void complete(struct request *r)
{
    const struct prompt *p = &r->prompts[0];
    struct fkv_prefix_entry_info info;
    struct event e;
    struct eval_text text = {0};
    struct json_out j = {&text, false};
    const double until = r->ttl_s > 0 ? fkv_clock_s() + (double)r->ttl_s : r->pin ? INFINITY : 0;
    if (!prefixes_pin(r->server->prefixes, p->entry, until, &info)) {
        struct api_error error = {0};
        api_fail(&error, 503, ERROR_UNAVAILABLE, "not enough memory to keep the prefix: see --kv-ram");
        exchange_fail(r->x, &error);
        return;
    }
    if (r->stream)
        event_begin(&e);
    else
        out_open(&j, '{');
    struct json_out *out = r->stream ? &e.j : &j;
    put_id(out, p->entry);
    put_string(out, "object", "prefix");
    put_int(out, "tokens", (int64_t)info.n_tokens);
    put_int(out, "cached_tokens", (int64_t)p->n_cached);
    put_int(out, "bytes", (int64_t)p->kept.bytes);
    if (r->stream) {
        event_send(&e, r);
        stream_done(r);
        return;
    }
    out_close(&j, '}');
    exchange_answer_json(r->x, &text);
}

const struct dialect dialect_prefix = {"prefixes", "prefix-", read_prefix, begin, progress, nothing, nothing, complete};

/* ---- GET, DELETE ---------------------------------------------------------------------------------- */

/* Is the entry of a prompt that came with this key? */
static bool is_own(const struct exchange *x, const struct fkv_prefix_entry_info *info)
{
    return !x->many_keys || strtol(info->salt, NULL, 10) == x->key;
}

static void put_entry(struct json_out *j, const struct fkv_prefix_entry_info *info, double now)
{
    out_open(j, '{');
    put_id(j, info->id);
    put_string(j, "object", "prefix");
    put_int(j, "tokens", (int64_t)info->n_tokens);
    put_int(j, "bytes", (int64_t)info->bytes);
    put_bool(j, "compressed", info->compressed);
    put_bool(j, "on_disk", info->on_disk);
    put_int(j, "hits", info->hits);
    put_real(j, "age_s", now - info->used);
    put_bool(j, "pinned", info->pinned_until > now);
    if (info->pinned_until > now && !isinf(info->pinned_until)) put_real(j, "ttl_s", info->pinned_until - now);
    out_close(j, '}');
}

void api_prefixes(struct server *server, struct exchange *x)
{
    struct eval_text text = {0};
    struct json_out j = {&text, false};
    struct fkv_prefix_entry_info info;
    out_open(&j, '{');
    put_string(&j, "object", "list");
    out_key(&j, "data");
    out_open(&j, '[');
    for (size_t i = 0; prefixes_list(server->prefixes, i, &info); i++)
        if (is_own(x, &info)) put_entry(&j, &info, fkv_clock_s());
    out_close(&j, ']');
    out_close(&j, '}');
    exchange_answer_json(x, &text);
}

void api_prefix_delete(struct server *server, struct exchange *x)
{
    struct eval_text text = {0};
    struct json_out j = {&text, false};
    struct api_error error = {0};
    struct fkv_prefix_entry_info info;
    char *end;
    const uint64_t id = strtoull(x->tail, &end, 10);
    if (*end || !prefixes_info(server->prefixes, id, &info) || !is_own(x, &info))
        api_fail(&error, 404, ERROR_NOT_FOUND, "there is no such prefix");
    else if (!prefixes_drop(server->prefixes, id))
        api_fail(&error, 409, ERROR_INVALID, "the prefix is in use: try again later");
    if (error.status) {
        exchange_fail(x, &error);
        return;
    }
    out_open(&j, '{');
    put_id(&j, id);
    put_string(&j, "object", "prefix.deleted");
    put_bool(&j, "deleted", true);
    out_close(&j, '}');
    exchange_answer_json(x, &text);
}

/* ---- metrics --------------------------------------------------------------------------------------- */

static void print_one(struct eval_text *out, const char *name, const char *kind, const char *help, double value)
{
    eval_text_print(out, "# HELP fastkv_%s %s\n# TYPE fastkv_%s %s\nfastkv_%s %.15g\n", name, help, name, kind, name,
                    value);
}

void prefixes_print(struct prefixes *c, struct eval_text *out)
{
    struct fkv_prefix_stats s;
    prefixes_stats(c, &s);
    print_one(out, "prefix_entries", "gauge", "prompts in the cache", (double)s.n_entries);
    print_one(out, "prefix_cache_hit_ratio", "gauge", "share of prompts' tokens that were not computed",
              s.tokens_asked ? (double)s.tokens_served / (double)s.tokens_asked : 0);
    print_one(out, "prefix_evictions_total", "counter", "entries that made room", (double)s.evictions);
    print_one(out, "disk_bytes", "gauge", "bytes of the cache's files", (double)s.disk_bytes);
    print_one(out, "disk_writes_total", "counter", "files of the cache that were written", (double)s.disk_writes);
    print_one(out, "disk_errors_total", "counter", "files that could not be written or read", (double)s.disk_errors);
    eval_text_print(out, "# HELP fastkv_prefix_misses_total prompts that were computed in part, by why\n"
                         "# TYPE fastkv_prefix_misses_total counter\n");
    for (int i = FKV_PREFIX_HIT + 1; i < FKV_PREFIX_N_MISSES; i++)
        eval_text_print(out, "fastkv_prefix_misses_total{reason=\"%s\"} %llu\n",
                        fkv_prefix_miss_name((enum fkv_prefix_miss)i), (unsigned long long)s.misses[i]);
}
