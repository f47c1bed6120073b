#include "template/chat_template.h"

#include <stdlib.h>
#include <string.h>

#include "template/jinja_run.h"

/* What a template may use, beside a multiple of what it was given to work on: a long conversation may cost more than a
   short one. Real templates need a few thousand steps and copy each message about four times. */
enum { FREE_STEPS = 10 * 1000 * 1000, FREE_BYTES = 64 << 20, STEPS_PER_BYTE = 4, BYTES_PER_BYTE = 32 };

static jvalue from_json(jinja *j, const json_t *json, size_t *n_bytes);

static jvalue from_array(jinja *j, const json_t *json, size_t *n_bytes)
{
    size_t n = json_array_size(json);
    jvalue *items = fkv_jinja_alloc(j, n, sizeof *items);
    for (size_t i = 0; i < n; i++) items[i] = from_json(j, json_array_get(json, i), n_bytes);
    return fkv_jinja_sequence(J_LIST, items, n);
}

static jvalue from_object(jinja *j, const json_t *json, size_t *n_bytes)
{
    size_t n = 0;
    jpair *pairs = fkv_jinja_alloc(j, json_object_size(json), sizeof *pairs);
    json_t *object = (json_t *)json; /* jansson iterates over const objects only by this cast; nothing is changed */
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at), n++) {
        const char *key = json_object_iter_key(at);
        *n_bytes += strlen(key);
        pairs[n].key = fkv_jinja_string(key, strlen(key));
        pairs[n].value = from_json(j, json_object_iter_value(at), n_bytes);
    }
    return (jvalue){.kind = J_DICT, .n = n, .pairs = pairs};
}

/* Texts are not copied: the context outlives the rendering. Adds the bytes they hold. */
static jvalue from_json(jinja *j, const json_t *json, size_t *n_bytes)
{
    jvalue value = fkv_jinja_none();
    fkv_jinja_enter(j);
    *n_bytes += sizeof value;
    switch (json_typeof(json)) {
    case JSON_OBJECT: value = from_object(j, json, n_bytes); break;
    case JSON_ARRAY: value = from_array(j, json, n_bytes); break;
    case JSON_STRING:
        value = fkv_jinja_string(json_string_value(json), json_string_length(json));
        *n_bytes += value.n;
        if (!fkv_jinja_is_utf8(value.text, value.n)) fkv_jinja_bad(j, "a text of the conversation is not UTF-8");
        break;
    case JSON_INTEGER: value = fkv_jinja_int(json_integer_value(json)); break;
    case JSON_REAL: value = fkv_jinja_float(json_real_value(json)); break;
    case JSON_TRUE:
    case JSON_FALSE: value = fkv_jinja_bool(json_is_true(json)); break;
    case JSON_NULL: break;
    }
    fkv_jinja_leave(j);
    return value;
}

static void render(jinja *j, const char *source, size_t n_source, const json_t *context)
{
    size_t n_bytes = n_source;
    if (!json_is_object(context)) fkv_jinja_fail(j, FKV_ERROR_ARGUMENT, "the variables are not a JSON object");
    j->memory_left = j->work_left = SIZE_MAX; /* the context is the caller's; the template is not let loose yet */
    jvalue variables = from_json(j, context, &n_bytes);
    j->memory_left = FREE_BYTES + BYTES_PER_BYTE * n_bytes;
    j->work_left = FREE_STEPS + STEPS_PER_BYTE * n_bytes;
    if (!fkv_jinja_is_utf8(source, n_source)) fkv_jinja_bad(j, "the template is not UTF-8");
    jscope *globals = fkv_jinja_alloc(j, 1, sizeof *globals), *top = fkv_jinja_alloc(j, 1, sizeof *top);
    *globals = (jscope){.vars = (jpair *)variables.pairs, .n = variables.n, .capacity = variables.n};
    *top = (jscope){.parent = globals};
    j->scope = top;
    fkv_jinja_run(j, fkv_jinja_parse(j, source, n_source));
}

/* Apart from fkv_chat_render(), whose variables would be indeterminate after the longjmp. */
static void render_or_fail(jinja *j, const char *source, size_t n_source, const json_t *context, char **text)
{
    if (setjmp(j->failed)) return;
    render(j, source, n_source, context);
    char *copy = malloc(j->out->n + 1);
    if (!copy) fkv_jinja_fail(j, FKV_ERROR_MEMORY, "out of memory");
    if (j->out->n) memcpy(copy, j->out->text, j->out->n);
    copy[j->out->n] = 0;
    *text = copy;
}

fkv_status fkv_chat_render(const char *source, size_t n_source, const json_t *context, char **text, size_t *n_text,
                           struct fkv_error *e)
{
    jbuffer out = {0};
    jinja j = {.error = e, .out = &out};
    render_or_fail(&j, source, n_source, context, text);
    fkv_jinja_free_all(&j);
    if (j.status == FKV_OK) *n_text = out.n;
    return j.status;
}
