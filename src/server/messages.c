#define _GNU_SOURCE
#include "server/messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/prompt.h"
#include "server/json_in.h"
#include "server/request.h"
#include "server/server.h"

enum { MOST_MESSAGES = 10000 };

/* The constant that a role is; NULL: there is none of that name. */
static const char *role_of(const char *name)
{
    static const char *const roles[][2] = {{"system", "system"},       {"developer", "system"}, {"user", "user"},
                                           {"assistant", "assistant"}, {"tool", "tool"},        {"function", "tool"}};
    for (size_t i = 0; name && i < sizeof roles / sizeof *roles; i++)
        if (!strcmp(name, roles[i][0])) return roles[i][1];
    return NULL;
}

/* Adds the text of a part, behind a newline unless it is the first. */
static bool add_part(struct eval_text *text, const char *field, const json_t *part, struct api_error *error)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    const json_t *content = json_object_get(part, "text");
    if (!type) return json_unwanted(field, "parts with a type", part, error);
    if (strcmp(type, "text") && strcmp(type, "input_text") && strcmp(type, "output_text"))
        return api_fail_field(error, field,
                              "%s: a part of type %.40s: image input is not supported, nor audio or files", field,
                              type);
    if (!json_is_string(content)) return json_unwanted(field, "parts with a text", content, error);
    if (text->n) eval_text_add(text, "\n", 1);
    eval_text_add(text, json_string_value(content), json_string_length(content));
    return true;
}

/* Malloc'ed; NULL after an error. */
static char *content_of(const json_t *message, size_t index, struct api_error *error)
{
    char field[48];
    size_t i;
    json_t *part, *content = json_object_get(message, "content");
    struct eval_text text = {0};
    snprintf(field, sizeof field, "messages[%zu].content", index);
    eval_text_add(&text, "", 0);
    bool ok = true;
    if (json_is_string(content))
        eval_text_add(&text, json_string_value(content), json_string_length(content));
    else if (!json_is_array(content) || !json_array_size(content))
        ok = json_unwanted(field, "a string or parts", content, error);
    json_array_foreach(content, i, part) ok = ok && add_part(&text, field, part, error);
    if (ok && text.failed) ok = api_fail(error, 500, ERROR_SERVER, "out of memory for the messages");
    if (ok) return text.s;
    free(text.s);
    return NULL;
}

static bool read_message(struct messages *m, const json_t *message, size_t index, struct api_error *error)
{
    char field[48];
    snprintf(field, sizeof field, "messages[%zu]", index);
    if (!json_is_object(message)) return json_unwanted(field, "an object", message, error);
    snprintf(field, sizeof field, "messages[%zu].role", index);
    const json_t *name = json_object_get(message, "role");
    const char *role = role_of(json_string_value(name));
    if (!role) return json_unwanted(field, "system, developer, user, assistant or tool", name, error);
    if (json_field(message, "tool_calls") || !strcmp(role, "tool")) {
        api_fail(error, 501, ERROR_NOT_SUPPORTED, "messages[%zu]: tools are not there yet", index);
        return false;
    }
    char *content = content_of(message, index, error);
    if (content) m->items[m->n++] = (struct fkv_message){role, content};
    return content;
}

bool messages_read(struct messages *m, const json_t *body, struct api_error *error)
{
    size_t i;
    json_t *message, *list = json_field(body, "messages");
    *m = (struct messages){0};
    if (!json_is_array(list) || !json_array_size(list) || json_array_size(list) > MOST_MESSAGES)
        return json_unwanted("messages", "an array of 1 to 10000 messages", list, error);
    m->items = calloc(json_array_size(list), sizeof *m->items);
    if (!m->items) return api_fail(error, 500, ERROR_SERVER, "out of memory for the messages");
    json_array_foreach(list, i, message) if (!read_message(m, message, i, error)) return false;
    if (m->n > 1 && !strcmp(m->items[m->n - 1].role, "assistant") && !strcmp(m->items[m->n - 2].role, "assistant"))
        return api_fail_field(error, "messages",
                              "messages: expected at most one message of the assistant at the end, found two");
    return true;
}

void messages_free(struct messages *m)
{
    for (size_t i = 0; i < m->n; i++) free((char *)(uintptr_t)m->items[i].content);
    free(m->items);
}

/* System messages behind the first become the user's; false when there is none. */
static bool demote_system(struct messages *m)
{
    bool any = false;
    for (size_t i = 1; i < m->n; i++) {
        if (strcmp(m->items[i].role, "system")) continue;
        m->items[i].role = "user";
        any = true;
    }
    return any;
}

/* Adds what a message says, marked as the template's messages are: it spells no control token. */
static bool append(const fkv_engine *engine, char **text, size_t *n, const struct fkv_message *message)
{
    char *more;
    size_t length;
    if (fkv_chat_format(engine, "{{ messages[0].content }}", message, 1, false, NULL, &more, &length, NULL) != FKV_OK)
        return false;
    char *longer = realloc(*text, *n + length + 1);
    if (longer) {
        memcpy(longer + *n, more, length + 1);
        *text = longer;
        *n += length;
    }
    fkv_free(more);
    return longer;
}

/* Variables for the template, as text for the library: malloc'ed, NULL without an error when there are none. */
static char *variables_of(const struct server *server, const json_t *body, struct api_error *error)
{
    json_t *given = json_field(body, "chat_template_kwargs"), *all = NULL;
    const char *defaults = server->settings->template_variables, *effort = NULL;
    json_get_text(body, "reasoning_effort", &effort, error);
    if (given && !json_is_object(given)) json_unwanted("chat_template_kwargs", "an object", given, error);
    if (error->status || (!given && !effort && !defaults)) return NULL;
    all = defaults ? json_loads(defaults, 0, NULL) : json_object();
    if (effort && !strcmp(effort, "none")) json_object_set_new(all, "enable_thinking", json_false());
    if (given) json_object_update(all, given);
    char *text = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    if (!text) api_fail(error, 500, ERROR_SERVER, "out of memory");
    return text;
}

bool messages_render(struct messages *m, const struct server *server, const json_t *body, bool generation_prompt,
                     char **text, size_t *n, struct api_error *error)
{
    char why[FKV_ERROR_BYTES];
    const bool continues = !strcmp(m->items[m->n - 1].role, "assistant");
    char *variables = variables_of(server, body, error);
    if (error->status) return false;
    fkv_status status;
    do {
        status = fkv_chat_format(server->engine, server->chat_template, m->items, m->n - continues,
                                 continues || generation_prompt, variables, text, n, why);
    } while (status != FKV_OK && demote_system(m));
    free(variables);
    if (status != FKV_OK)
        return api_fail(error, 400, ERROR_INVALID, "chat template: %s%s", why,
                        status == FKV_ERROR_UNSUPPORTED ? ": use /v1/completions, or start with --chat-template" : "");
    if (!continues || append(server->engine, text, n, &m->items[m->n - 1])) return true;
    free(*text);
    return api_fail(error, 500, ERROR_SERVER, "out of memory for the messages");
}

/* ---- where they are ---------------------------------------------------------------------------- */

/* Ids of the prompt up to the end of the first n messages; 0 where the template renders those otherwise. */
static size_t end_of(const struct messages *m, size_t n, const struct server *server, const char *variables,
                     struct prompt *p)
{
    char *text;
    int32_t *ids;
    size_t n_text, n_ids = 0;
    if (fkv_chat_format(server->engine, server->chat_template, m->items, n, false, variables, &text, &n_text, NULL) !=
        FKV_OK)
        return 0;
    if (n_text <= p->n_text && !memcmp(text, p->text, n_text) &&
        fkv_tokenize(server->engine, text, n_text, FKV_TOKENIZE_PARSE_SPECIAL, &ids, &n_ids, NULL) == FKV_OK) {
        if (n_ids > p->n || memcmp(ids, p->ids, n_ids * sizeof *ids)) n_ids = 0;
        fkv_free(ids);
    }
    fkv_free(text);
    p->unstable = p->unstable || !n_ids;
    return n_ids;
}

static void find_ends(const struct messages *m, const struct server *server, const json_t *body, struct prompt *p)
{
    struct api_error ignored = {0};
    const bool continues = !strcmp(m->items[m->n - 1].role, "assistant");
    const size_t n = m->n - continues, n_head = !strcmp(m->items[0].role, "system");
    char *variables = variables_of(server, body, &ignored);
    const size_t last = n ? end_of(m, n, server, variables, p) : 0;
    if (last) p->last_end = last;
    if (n_head && n_head < n) p->head_end = end_of(m, n_head, server, variables, p);
    if (n > n_head + 1) p->before_last = end_of(m, n - 1, server, variables, p);
    free(variables);
    const size_t ends[] = {p->head_end, p->before_last, last};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends[i] > (p->n_boundaries ? p->boundary[p->n_boundaries - 1] : 0))
            p->boundary[p->n_boundaries++] = ends[i];
}

/* Contents that the template changed are where the one before is. */
static void find_places(const struct messages *m, struct prompt *p)
{
    size_t at = 0;
    p->messages = calloc(m->n, sizeof *p->messages);
    for (p->n_messages = 0; p->messages && p->n_messages < m->n; p->n_messages++) {
        const struct fkv_message *message = &m->items[p->n_messages];
        const size_t n = strlen(message->content);
        const char *content = memmem(p->text + at, p->n_text - at, message->content, n);
        if (content) at = (size_t)(content - p->text);
        p->messages[p->n_messages] = (struct message_place){at, message->role};
        if (content) at += n;
    }
}

/* Where messages are, where they end, and that the last one of a user is the question. */
static void mark(const struct messages *m, const struct server *server, const json_t *body, struct prompt *p)
{
    find_ends(m, server, body, p);
    find_places(m, p);
    for (size_t i = m->n; i-- > 0;) {
        if (strcmp(m->items[i].role, "user")) continue;
        const size_t n = strlen(m->items[i].content);
        p->marks = prompt_marks(server->engine, p->text, p->n_text, p->ids, p->n, m->items[i].content, n, n);
        break;
    }
}

bool messages_prompt(struct request *r, bool generation_prompt, struct api_error *error)
{
    struct messages messages;
    char why[FKV_ERROR_BYTES], *text;
    size_t n_text, n;
    int32_t *ids;
    bool ok = messages_read(&messages, r->body, error) &&
              messages_render(&messages, r->server, r->body, generation_prompt, &text, &n_text, error);
    if (ok && fkv_tokenize(r->server->engine, text, n_text, FKV_TOKENIZE_PARSE_SPECIAL, &ids, &n, why) != FKV_OK) {
        free(text);
        ok = api_fail(error, 400, ERROR_INVALID, "%s", why);
    }
    struct prompt *p = ok ? request_add_prompt(r, text, n_text, ids, n, error) : NULL;
    if (p) mark(&messages, r->server, r->body, p);
    messages_free(&messages);
    return p;
}

size_t messages_at(const fkv_engine *engine, const struct prompt *p, size_t token)
{
    static const char blank[] = "\xe2\x96\x81"; /* as some vocabularies spell it */
    size_t bytes = 0, message = 0;
    for (size_t i = 0; i < token && i < p->n; i++) {
        const char *text;
        const size_t n = fkv_token_bytes(engine, p->ids[i], true, &text);
        bytes += n;
        for (size_t k = 0; k + 3 <= n; k++) bytes -= memcmp(text + k, blank, 3) ? 0 : 2;
    }
    while (message + 1 < p->n_messages && p->messages[message + 1].at <= bytes) message++;
    return message;
}
