/* Conversations as text, by chat templates. */
#define _GNU_SOURCE
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "template/chat_template.h"

const char *fkv_chat_template(const fkv_engine *e) { return *e->chat_template ? e->chat_template : NULL; }

static bool add_token(json_t *context, const char *key, const fkv_engine *e, int32_t id)
{
    const char *bytes = "";
    const size_t n = id >= 0 ? fkv_token_bytes(e, id, true, &bytes) : 0;
    json_t *text = json_stringn(bytes, n);
    return json_object_set_new(context, key, text ? text : json_string("")) == 0;
}

/* One message; as_parts: its content is a list of typed parts. NULL when memory runs out or a text is not UTF-8. */
static json_t *message_of(const struct fkv_message *m, bool as_parts)
{
    if (!as_parts) return json_pack("{s:s, s:s}", "role", m->role, "content", m->content);
    return json_pack("{s:s, s:[{s:s, s:s}]}", "role", m->role, "content", "type", "text", "text", m->content);
}

/* Puts the messages into the context; false as above. */
static bool set_messages(json_t *context, const struct fkv_message *messages, size_t n, bool as_parts)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < n; i++) ok = json_array_append_new(list, message_of(&messages[i], as_parts)) == 0;
    ok = ok && json_object_set(context, "messages", list) == 0;
    json_decref(list);
    return ok;
}

/* What a template sees, but for the messages; NULL when memory runs out. */
static json_t *chat_context(const fkv_engine *e, bool add_generation_prompt)
{
    json_t *context = json_object();
    if (context && json_object_set_new(context, "add_generation_prompt", json_boolean(add_generation_prompt)) == 0 &&
        json_object_set_new(context, "tools", json_null()) == 0 && /* defined, as transformers has them */
        json_object_set_new(context, "documents", json_null()) == 0 &&
        add_token(context, "bos_token", e, fkv_tokenizer_bos(e->tokenizer)) &&
        add_token(context, "eos_token", e, fkv_tokenizer_eos(e->tokenizer)))
        return context;
    json_decref(context);
    return NULL;
}

static fkv_status add_variables(json_t *context, const char *variables, struct fkv_error *error)
{
    json_error_t why;
    if (!variables) return FKV_OK;
    json_t *object = json_loads(variables, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    fkv_status status = FKV_OK;
    if (!json_is_object(object))
        status = fkv_fail(error, FKV_ERROR_ARGUMENT, "template variables: expected a JSON object, found %.60s%s%.200s",
                          variables, object ? "" : ": ", object ? "" : why.text);
    else if (json_object_update(context, object))
        status = fkv_fail(error, FKV_ERROR_MEMORY, "no memory for the template's variables");
    json_decref(object);
    return status;
}

/* Whether the template prints what a user says, alone or after a system message, when it comes in this form. */
static bool prints_content(const char *source, json_t *context, bool as_parts)
{
    static const struct fkv_message probe[] = {{"system", "be brief"}, {"user", "is this text printed"}};
    bool printed = false;
    for (size_t first = 2; first-- > 0 && !printed;) {
        char *text = NULL;
        size_t n;
        printed = set_messages(context, probe + first, 2 - first, as_parts) &&
                  fkv_chat_render(source, strlen(source), context, &text, &n, NULL) == FKV_OK &&
                  strcasestr(text, probe[1].content);
        free(text);
    }
    return printed;
}

static void free_messages(struct fkv_message *messages, size_t n)
{
    for (size_t i = 0; messages && i < n; i++) free((char *)(uintptr_t)messages[i].content);
    free(messages);
}

/* Copies whose contents spell no control token. */
static fkv_status mark_messages(const fkv_engine *e, const struct fkv_message *messages, size_t n,
                                struct fkv_message **marked, struct fkv_error *error)
{
    struct fkv_message *copies = calloc(n + 1, sizeof *copies);
    fkv_status status = copies ? FKV_OK : fkv_fail(error, FKV_ERROR_MEMORY, "no memory for %zu messages", n);
    for (size_t i = 0; i < n && status == FKV_OK; i++) {
        char *content = NULL;
        status = fkv_tokenizer_mark(e->tokenizer, messages[i].content, &content, error);
        copies[i] = (struct fkv_message){messages[i].role, content};
    }
    if (status == FKV_OK)
        *marked = copies;
    else
        free_messages(copies, n);
    return status;
}

fkv_status fkv_chat_format(const fkv_engine *e, const char *chat_template, const struct fkv_message *messages,
                           size_t n_messages, bool add_generation_prompt, const char *variables, char **text,
                           size_t *n_bytes, char *err)
{
    struct fkv_error error = {""};
    struct fkv_message *marked = NULL;
    const char *source = chat_template ? chat_template : fkv_chat_template(e);
    json_t *context = chat_context(e, add_generation_prompt);
    fkv_status status = FKV_OK;
    if (!source)
        status = fkv_fail(&error, FKV_ERROR_UNSUPPORTED,
                          "the model has no chat template: pass one, or use the text as it stands");
    else if (!context)
        status = fkv_fail(&error, FKV_ERROR_MEMORY, "no memory for the template's variables");
    if (status == FKV_OK) status = add_variables(context, variables, &error);
    if (status == FKV_OK) status = mark_messages(e, messages, n_messages, &marked, &error);
    if (status == FKV_OK) {
        const bool as_parts = !prints_content(source, context, false) && prints_content(source, context, true);
        if (set_messages(context, marked, n_messages, as_parts))
            status = fkv_chat_render(source, strlen(source), context, text, n_bytes, &error);
        else
            status = fkv_fail(&error, FKV_ERROR_FORMAT, "a chat message is not valid UTF-8");
    }
    json_decref(context);
    free_messages(marked, n_messages);
    return fkv_tell(err, &error, status);
}
