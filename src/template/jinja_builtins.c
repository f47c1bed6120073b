/* Built-ins: binding of arguments, methods of loops and cyclers, global functions. */
#define _GNU_SOURCE
#include <string.h>
#include <time.h>

#include "template/jinja_run.h"

const jbuiltin *fkv_jinja_find_builtin(const jbuiltin *table, jvalue name)
{
    if (name.kind != J_STRING) return NULL;
    for (; table->name; table++)
        if (fkv_jinja_is(name, table->name)) return table;
    return NULL;
}

/* Puts the arguments where the list of parameters says. */
static void bind(jinja *j, const char *what, const jbuiltin *builtin, jcall *c)
{
    const jargs *args = c->args;
    size_t i = 0, n_used = 0;
    for (const char *p = builtin->parameters; *p; i++) {
        bool optional = *p == '?';
        p += optional;
        size_t n = strcspn(p, " ");
        for (size_t k = 0; k < args->n_named; k++)
            if (i >= args->n && args->named[k].key.n == n && !memcmp(args->named[k].key.text, p, n)) {
                c->a[i] = args->named[k].value;
                n_used++;
            }
        if (i < args->n) c->a[i] = args->values[i];
        if (c->a[i].kind == J_ABSENT && !optional)
            fkv_jinja_bad(j, "%s '%s' needs the argument '%.*s'", what, builtin->name, (int)n, p);
        p += n + (p[n] == ' ');
    }
    if (args->n > i || n_used < args->n_named)
        fkv_jinja_lacks(j, "these arguments of %s '%s' are not supported", what, builtin->name);
}

/* What a method of a marked text gives is marked too. */
static jvalue marked(jinja *j, jvalue v)
{
    if (v.kind == J_STRING) return fkv_jinja_tagged(v, J_MARKUP);
    if (v.kind != J_LIST && v.kind != J_TUPLE) return v;
    jvalue *items = fkv_jinja_alloc(j, v.n, sizeof *items);
    for (size_t i = 0; i < v.n; i++)
        items[i] = v.items[i].kind == J_STRING ? fkv_jinja_tagged(v.items[i], J_MARKUP) : v.items[i];
    return fkv_jinja_sequence(v.kind, items, v.n);
}

jvalue fkv_jinja_call_builtin(jinja *j, const char *what, const jbuiltin *builtin, jvalue self, const jargs *args)
{
    jcall c = {.self = self, .args = args};
    if (*builtin->parameters != '*') bind(j, what, builtin, &c);
    const jvalue result = builtin->run(j, &c);
    return fkv_jinja_is_markup(self) && strcmp(what, "function") == 0 ? marked(j, result) : result;
}

const jbuiltin *fkv_jinja_find_filter(jvalue name)
{
    const jbuiltin *filter = fkv_jinja_find_builtin(fkv_jinja_filters, name);
    if (!filter) filter = fkv_jinja_find_builtin(fkv_jinja_sequence_filters, name);
    return filter ? filter : fkv_jinja_find_builtin(fkv_jinja_layout_filters, name);
}

jvalue fkv_jinja_filter(jinja *j, jvalue name, jvalue self, const jargs *args)
{
    const jbuiltin *filter = fkv_jinja_find_filter(name);
    if (!filter) fkv_jinja_lacks(j, "filter '%.*s' is not supported", J_SHOWN(fkv_jinja_str(j, name)));
    return fkv_jinja_call_builtin(j, "filter", filter, self, args);
}

static jvalue bound(jinja *j, const jbuiltin *builtin, jvalue self)
{
    jmethod *method = fkv_jinja_alloc(j, 1, sizeof *method);
    *method = (jmethod){.builtin = builtin, .self = self};
    return (jvalue){.kind = J_METHOD, .method = method};
}

static jvalue loop_cycle(jinja *j, const jcall *c)
{
    if (!c->args->n) fkv_jinja_bad(j, "loop.cycle needs values");
    return c->args->values[c->self.loop->index % c->args->n];
}

/* Whether the arguments are other than in the last call. */
static jvalue loop_changed(jinja *j, const jcall *c)
{
    const jvalue now = fkv_jinja_sequence(J_TUPLE, c->args->values, c->args->n);
    jvalue *last = &c->self.loop->changed;
    const bool changed = last->kind == J_ABSENT || !fkv_jinja_equal(j, *last, now);
    if (changed) *last = now;
    return fkv_jinja_bool(changed);
}

static const jbuiltin loop_methods[] = {{"cycle", "*", loop_cycle}, {"changed", "*", loop_changed}, {0}};

jvalue fkv_jinja_next(jcycler *cycler)
{
    if (cycler->joiner) return cycler->at++ ? cycler->items[0] : fkv_jinja_string("", 0);
    const jvalue value = cycler->items[cycler->at];
    cycler->at = (cycler->at + 1) % cycler->n;
    return value;
}

static jvalue cycler_next(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_next(c->self.cycler);
}

static jvalue cycler_reset(jinja *j, const jcall *c)
{
    (void)j;
    c->self.cycler->at = 0;
    return fkv_jinja_none();
}

static const jbuiltin cycler_methods[] = {{"next", "", cycler_next}, {"reset", "", cycler_reset}, {0}};

static const jbuiltin *methods_of(jvalue self)
{
    switch (self.kind) {
    case J_STRING: return fkv_jinja_string_methods;
    case J_LIST: return fkv_jinja_list_methods;
    case J_TUPLE: return fkv_jinja_tuple_methods;
    case J_RANGE: return fkv_jinja_range_methods;
    case J_DICT: return fkv_jinja_dict_methods;
    case J_LOOP: return loop_methods;
    case J_CYCLER: return self.cycler->joiner ? NULL : cycler_methods;
    default: return NULL;
    }
}

bool fkv_jinja_method(jinja *j, jvalue self, jvalue name, jvalue *found)
{
    const jbuiltin *table = methods_of(self);
    const jbuiltin *method = table ? fkv_jinja_find_builtin(table, name) : NULL;
    if (!method && self.kind == J_STRING) method = fkv_jinja_find_builtin(fkv_jinja_layout_methods, name);
    if (method) *found = bound(j, method, self);
    return method != NULL;
}

jvalue fkv_jinja_string_argument(jinja *j, jvalue a)
{
    if (a.kind == J_UNDEFINED) fkv_jinja_fail_undefined(j, a);
    if (a.kind != J_STRING) fkv_jinja_bad(j, "expected a string argument, found %s", fkv_jinja_type_name(a));
    return a;
}

int64_t fkv_jinja_integer_argument(jinja *j, jvalue a, int64_t otherwise)
{
    if (a.kind == J_ABSENT) return otherwise;
    if (!fkv_jinja_is_integer(a)) fkv_jinja_bad(j, "expected an integer argument, found %s", fkv_jinja_type_name(a));
    return a.integer;
}

/* Functions. */

/* The pairs of a mapping or of a sequence of pairs, and the named arguments. */
static void add_members(jinja *j, jscope *to, const jargs *args)
{
    if (args->n > 1) fkv_jinja_bad(j, "expected one dict and named arguments");
    if (args->n == 1) {
        jvalue from = args->values[0];
        jvalue pairs = from.kind == J_DICT ? fkv_jinja_pairs_of(j, from, J_LIST) : fkv_jinja_iterate(j, from, J_LIST);
        for (size_t i = 0; i < pairs.n; i++) {
            jvalue pair = fkv_jinja_iterate(j, pairs.items[i], J_LIST);
            if (pair.n != 2) fkv_jinja_bad(j, "expected pairs of key and value");
            fkv_jinja_assign(j, to, pair.items[0], pair.items[1]);
        }
    }
    for (size_t i = 0; i < args->n_named; i++) fkv_jinja_assign(j, to, args->named[i].key, args->named[i].value);
}

static jvalue make_namespace(jinja *j, const jcall *c)
{
    jscope *members = fkv_jinja_alloc(j, 1, sizeof *members);
    *members = (jscope){0};
    add_members(j, members, c->args);
    return (jvalue){.kind = J_NAMESPACE, .scope = members};
}

static jvalue make_dict(jinja *j, const jcall *c)
{
    jscope members = {0};
    add_members(j, &members, c->args);
    return (jvalue){.kind = J_DICT, .n = members.n, .pairs = members.vars};
}

jvalue fkv_jinja_range(jinja *j, int64_t start, int64_t stop, int64_t step)
{
    int64_t distance;
    if (__builtin_sub_overflow(stop, start, &distance) || step == INT64_MIN)
        fkv_jinja_bad(j, "range: more than %d numbers", J_MAX_RANGE);
    const int64_t n = (step > 0) == (distance > 0) ? distance / step + (distance % step != 0) : 0;
    if (n > J_MAX_RANGE) fkv_jinja_bad(j, "range: more than %d numbers", J_MAX_RANGE);
    jrange *range = fkv_jinja_alloc(j, 1, sizeof *range);
    *range = (jrange){start, stop, step};
    return (jvalue){.kind = J_RANGE, .n = (size_t)n, .range = range};
}

static jvalue make_range(jinja *j, const jcall *c)
{
    bool has_start = c->a[1].kind != J_ABSENT;
    int64_t start = has_start ? fkv_jinja_integer_argument(j, c->a[0], 0) : 0;
    int64_t stop = fkv_jinja_integer_argument(j, c->a[has_start], 0);
    int64_t step = fkv_jinja_integer_argument(j, c->a[2], 1);
    if (step == 0) fkv_jinja_bad(j, "range: the step is 0");
    return fkv_jinja_range(j, start, stop, step);
}

static jvalue make_cycler(jinja *j, const jcall *c)
{
    if (!c->args->n || c->args->n_named) fkv_jinja_bad(j, "cycler: expected values");
    jcycler *cycler = fkv_jinja_alloc(j, 1, sizeof *cycler);
    *cycler = (jcycler){.items = c->args->values, .n = c->args->n};
    return (jvalue){.kind = J_CYCLER, .cycler = cycler};
}

static jvalue make_joiner(jinja *j, const jcall *c)
{
    jcycler *joiner = fkv_jinja_alloc(j, 1, sizeof *joiner);
    jvalue *separator = fkv_jinja_alloc(j, 1, sizeof *separator);
    *separator = c->a[0].kind == J_ABSENT ? fkv_jinja_string(", ", 2) : c->a[0];
    *joiner = (jcycler){.items = separator, .n = 1, .joiner = true};
    return (jvalue){.kind = J_CYCLER, .cycler = joiner};
}

static jvalue raise_exception(jinja *j, const jcall *c)
{
    jvalue message = fkv_jinja_str(j, c->a[0]);
    fkv_jinja_bad(j, "%.*s", message.n < FKV_ERROR_BYTES ? (int)message.n : FKV_ERROR_BYTES, message.text);
}

static jvalue strftime_now(jinja *j, const jcall *c)
{
    jvalue given = fkv_jinja_string_argument(j, c->a[0]);
    char format[128], *text = fkv_jinja_alloc(j, 1024, 1);
    if (given.n >= sizeof format || memchr(given.text, 0, given.n))
        fkv_jinja_lacks(j, "strftime_now: a format of %zu bytes is not supported", given.n);
    memcpy(format, given.text, given.n);
    format[given.n] = 0;
    time_t now = time(NULL);
    struct tm tm;
    if (!localtime_r(&now, &tm)) fkv_jinja_bad(j, "strftime_now: no local time");
    size_t n = strftime(text, 1024, format, &tm);
    if (!fkv_jinja_is_utf8(text, n)) fkv_jinja_bad(j, "strftime_now: the format is not valid");
    return fkv_jinja_string(text, n);
}

bool fkv_jinja_function(jinja *j, jvalue name, jvalue *found)
{
    static const jbuiltin functions[] = {
        {"namespace", "*", make_namespace},       {"dict", "*", make_dict},
        {"range", "#1 ?#2 ?#3", make_range},      {"raise_exception", "message", raise_exception},
        {"strftime_now", "format", strftime_now}, {"cycler", "*", make_cycler},
        {"joiner", "?sep", make_joiner},          {0},
    };
    const jbuiltin *function = fkv_jinja_find_builtin(functions, name);
    if (function) *found = bound(j, function, fkv_jinja_none());
    return function != NULL;
}
