/* What a request wants of retention: the options of the command line, by their names with _ in place of -. */
#include <stdio.h>
#include <string.h>

#include "cli/retention.h"
#include "server/json_in.h"
#include "server/request.h"
#include "server/server.h"

static bool starts_with(const char *text, const char *prefix) { return !strncmp(text, prefix, strlen(prefix)); }

bool request_fail_retention(const struct request *r, const char *why, struct api_error *error)
{
    char field[RETENTION_NAME];
    const size_t n = strcspn(why, ":");
    snprintf(field, sizeof field, "%.*s", (int)n, why);
    for (char *c = field; *c; c++)
        if (*c == '-') *c = '_';
    if (!json_field(r->body, field)) return api_fail(error, 400, ERROR_INVALID, "%s", why);
    return api_fail_field(error, field, "%s%s", field, why + n);
}

/* One of the options of retention, by its name with _ in place of -; false after an error. *known: there is one. */
static bool read_kv_option(struct request *r, const char *key, const json_t *value, bool *known,
                           struct api_error *error)
{
    char name[RETENTION_NAME], text[64], why[FKV_ERROR_BYTES];
    struct fkv_kv_option option;
    const int n = snprintf(name, sizeof name, "--%s", key);
    for (char *c = name; *c; c++)
        if (*c == '_') *c = '-';
    *known = n < (int)sizeof name && retention_find(name, (size_t)n, &option);
    if (!*known) return true;
    if (json_is_string(value))
        snprintf(text, sizeof text, "%s", json_string_value(value));
    else if (json_is_number(value))
        snprintf(text, sizeof text, "%.17g", json_number_value(value));
    else
        return json_unwanted(key, option.words ? option.words : "a number", value, error);
    if (fkv_kv_set(&r->kv, name + 2, text, why) != FKV_OK) return request_fail_retention(r, why, error);
    return true;
}

/* A policy's name; auto is the server's own rules, policy:auto the policy of that name. */
static bool read_policy(struct request *r, struct api_error *error)
{
    const char *text = NULL, *name, *about;
    if (!json_get_text(r->body, "kv_policy", &text, error) || !text || !strcmp(text, "auto")) return !error->status;
    if (starts_with(text, "policy:")) text += strlen("policy:");
    for (int i = 0; fkv_policy_list(i, &name, &about); i++) {
        if (strcmp(name, text)) continue;
        r->kv.policy = name;
        r->reason = "named";
        return true;
    }
    return json_unwanted("kv_policy", "auto, or a policy of fastkv serve --help (the one called auto: policy:auto)",
                         json_field(r->body, "kv_policy"), error);
}

static bool read_mode(struct request *r, struct api_error *error)
{
    static const char *const modes[] = {"auto", "oneshot", "document", "agent"};
    const char *text = "auto", *branch = "whole";
    json_get_text(r->body, "kv_branch", &branch, error);
    if (strcmp(branch, "whole")) json_unwanted("kv_branch", "whole", json_field(r->body, "kv_branch"), error);
    if (!json_get_text(r->body, "kv_mode", &text, error)) return false;
    for (int i = 0; i < 4; i++) {
        if (strcmp(text, modes[i])) continue;
        r->kv_mode = (enum kv_mode)i;
        return !error->status;
    }
    return json_unwanted("kv_mode", "auto, oneshot, document or agent", json_field(r->body, "kv_mode"), error);
}

bool request_read_retention(struct request *r, struct api_error *error)
{
    static const char *const own[] = {"kv_policy", "kv_mode", "kv_branch", "kv_map"};
    const char *key;
    json_t *value;
    r->kv = r->server->settings->session.kv;
    r->reason = "default";
    if (!read_policy(r, error) || !read_mode(r, error)) return false;
    if (r->kv_mode == KV_MODE_AGENT && strcmp(r->reason, "named")) {
        r->kv.policy = "full";
        r->reason = "agent";
    }
    json_get_bool(r->body, "kv_map", &r->kv_map, error);
    json_object_foreach(r->body, key, value)
    {
        bool known = json_is_null(value);
        for (size_t i = 0; i < sizeof own / sizeof *own; i++) known = known || !strcmp(key, own[i]);
        if (!known && !read_kv_option(r, key, value, &known, error)) return false;
        if (!known && (starts_with(key, "kv_") || starts_with(key, "tsp_")))
            return api_fail_field(error, key, "%.60s: there is no such option of retention", key);
    }
    return !error->status;
}
