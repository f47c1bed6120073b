/* Built-ins: binding of arguments, global functions and tests. */
#define _GNU_SOURCE
#include <string.h>
#include <time.h>

#include "template/jinja_run.h"

static const jbuiltin *find(const jbuiltin *table, jvalue name)
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

jvalue fkv_jinja_call_builtin(jinja *j, const char *what, const jbuiltin *builtin, jvalue self, const jargs *args)
{
    jcall c = {.self = self, .args = args};
    if (*builtin->parameters != '*') bind(j, what, builtin, &c);
    return builtin->run(j, &c);
}

static const jbuiltin *find_filter(jvalue name)
{
    const jbuiltin *filter = find(fkv_jinja_filters, name);
    return filter ? filter : find(fkv_jinja_sequence_filters, name);
}

jvalue fkv_jinja_filter(jinja *j, jvalue name, jvalue self, const jargs *args)
{
    const jbuiltin *filter = find_filter(name);
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

static const jbuiltin loop_methods[] = {{"cycle", "*", loop_cycle}, {0}};

bool fkv_jinja_method(jinja *j, jvalue self, jvalue name, jvalue *found)
{
    const jbuiltin *table = self.kind == J_STRING                         ? fkv_jinja_string_methods
                            : self.kind == J_LIST || self.kind == J_TUPLE ? fkv_jinja_list_methods
                            : self.kind == J_DICT                         ? fkv_jinja_dict_methods
                            : self.kind == J_LOOP                         ? loop_methods
                                                                          : NULL;
    const jbuiltin *method = table ? find(table, name) : NULL;
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

static jvalue make_range(jinja *j, const jcall *c)
{
    bool has_start = c->a[1].kind != J_ABSENT;
    int64_t start = has_start ? fkv_jinja_integer_argument(j, c->a[0], 0) : 0;
    int64_t end = fkv_jinja_integer_argument(j, c->a[has_start], 0), step = fkv_jinja_integer_argument(j, c->a[2], 1),
            distance;
    if (step == 0) fkv_jinja_bad(j, "range: the step is 0");
    if (__builtin_sub_overflow(end, start, &distance) || step == INT64_MIN)
        fkv_jinja_bad(j, "range: more than %d numbers", J_MAX_RANGE);
    int64_t n = (step > 0) == (distance > 0) ? distance / step + (distance % step != 0) : 0;
    if (n > J_MAX_RANGE) fkv_jinja_bad(j, "range: more than %d numbers", J_MAX_RANGE);
    jvalue *items = fkv_jinja_alloc(j, (size_t)n, sizeof *items);
    for (int64_t i = 0; i < n; i++) items[i] = fkv_jinja_int(start + i * step);
    return fkv_jinja_sequence(J_VIEW, items, (size_t)n);
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
        {"namespace", "*", make_namespace},         {"dict", "*", make_dict},
        {"range", "start ?stop ?step", make_range}, {"raise_exception", "message", raise_exception},
        {"strftime_now", "format", strftime_now},   {0},
    };
    const jbuiltin *function = find(functions, name);
    if (function) *found = bound(j, function, fkv_jinja_none());
    return function != NULL;
}

/* Tests: what stands behind `is`. */

static jvalue is_defined(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(c->self.kind != J_UNDEFINED);
}
static jvalue is_undefined(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(c->self.kind == J_UNDEFINED);
}
static jvalue is_none(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(c->self.kind == J_NONE);
}
static jvalue is_boolean(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(c->self.kind == J_BOOL);
}
static jvalue is_true(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(c->self.kind == J_BOOL && c->self.integer);
}
static jvalue is_false(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(c->self.kind == J_BOOL && !c->self.integer);
}
static jvalue is_integer(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(c->self.kind == J_INT);
}
static jvalue is_float(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(c->self.kind == J_FLOAT);
}
static jvalue is_number(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(fkv_jinja_is_number(c->self));
}
static jvalue is_string(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(c->self.kind == J_STRING);
}
static jvalue is_mapping(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(c->self.kind == J_DICT);
}
static jvalue is_escaped(jinja *j, const jcall *c)
{
    (void)j;
    (void)c;
    return fkv_jinja_bool(false);
}

/* Jinja's undefined counts, though calling it fails. */
static jvalue is_callable(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(c->self.kind == J_METHOD || c->self.kind == J_MACRO || c->self.kind == J_UNDEFINED);
}

static jvalue is_iterable(jinja *j, const jcall *c)
{
    (void)j;
    enum jkind kind = c->self.kind;
    return fkv_jinja_bool(fkv_jinja_is_sequence(c->self) || kind == J_STRING || kind == J_DICT || kind == J_UNDEFINED ||
                          kind == J_LOOP);
}

static jvalue is_sequence(jinja *j, const jcall *c)
{
    (void)j;
    enum jkind kind = c->self.kind;
    return fkv_jinja_bool(kind == J_LIST || kind == J_TUPLE || kind == J_STRING || kind == J_DICT ||
                          kind == J_UNDEFINED);
}

static jvalue is_equal(jinja *j, const jcall *c) { return fkv_jinja_bool(fkv_jinja_equal(j, c->self, c->a[0])); }
static jvalue is_unequal(jinja *j, const jcall *c) { return fkv_jinja_bool(!fkv_jinja_equal(j, c->self, c->a[0])); }
static jvalue is_less(jinja *j, const jcall *c) { return fkv_jinja_bool(fkv_jinja_compare(j, c->self, c->a[0]) < 0); }
static jvalue is_more(jinja *j, const jcall *c) { return fkv_jinja_bool(fkv_jinja_compare(j, c->self, c->a[0]) > 0); }
static jvalue is_at_most(jinja *j, const jcall *c)
{
    return fkv_jinja_bool(fkv_jinja_compare(j, c->self, c->a[0]) <= 0);
}
static jvalue is_at_least(jinja *j, const jcall *c)
{
    return fkv_jinja_bool(fkv_jinja_compare(j, c->self, c->a[0]) >= 0);
}
static jvalue is_in(jinja *j, const jcall *c) { return fkv_jinja_bool(fkv_jinja_contains(j, c->a[0], c->self)); }

/* The same object; for numbers and texts, which have no identity here, the same kind and value. */
static jvalue is_same(jinja *j, const jcall *c)
{
    return fkv_jinja_bool(c->self.kind == c->a[0].kind && fkv_jinja_equal(j, c->self, c->a[0]));
}

static jvalue remainder_is(jinja *j, const jcall *c, jvalue divisor, int64_t rest)
{
    return fkv_jinja_bool(fkv_jinja_equal(j, fkv_jinja_binary(j, '%', c->self, divisor), fkv_jinja_int(rest)));
}

static jvalue is_odd(jinja *j, const jcall *c) { return remainder_is(j, c, fkv_jinja_int(2), 1); }
static jvalue is_even(jinja *j, const jcall *c) { return remainder_is(j, c, fkv_jinja_int(2), 0); }
static jvalue is_divisible(jinja *j, const jcall *c) { return remainder_is(j, c, c->a[0], 0); }

static jvalue is_cased(jinja *j, const jcall *c, enum jcase to)
{
    jvalue s = fkv_jinja_str(j, c->self);
    bool has_case = !fkv_jinja_equal(j, fkv_jinja_recase(j, s, J_LOWER), fkv_jinja_recase(j, s, J_UPPER));
    return fkv_jinja_bool(has_case && fkv_jinja_equal(j, s, fkv_jinja_recase(j, s, to)));
}

static jvalue is_lower(jinja *j, const jcall *c) { return is_cased(j, c, J_LOWER); }
static jvalue is_upper(jinja *j, const jcall *c) { return is_cased(j, c, J_UPPER); }
static jvalue is_filter(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(find_filter(c->self) != NULL);
}

bool fkv_jinja_test(jinja *j, jvalue name, jvalue self, const jargs *args)
{
    static const jbuiltin tests[] = {
        {"defined", "", is_defined},
        {"undefined", "", is_undefined},
        {"none", "", is_none},
        {"boolean", "", is_boolean},
        {"true", "", is_true},
        {"false", "", is_false},
        {"integer", "", is_integer},
        {"float", "", is_float},
        {"number", "", is_number},
        {"string", "", is_string},
        {"mapping", "", is_mapping},
        {"iterable", "", is_iterable},
        {"sequence", "", is_sequence},
        {"callable", "", is_callable},
        {"escaped", "", is_escaped},
        {"lower", "", is_lower},
        {"upper", "", is_upper},
        {"filter", "", is_filter},
        {"odd", "", is_odd},
        {"even", "", is_even},
        {"divisibleby", "num", is_divisible},
        {"in", "seq", is_in},
        {"sameas", "other", is_same},
        {"equalto", "other", is_equal},
        {"eq", "other", is_equal},
        {"==", "other", is_equal},
        {"ne", "other", is_unequal},
        {"!=", "other", is_unequal},
        {"lt", "other", is_less},
        {"<", "other", is_less},
        {"lessthan", "other", is_less},
        {"gt", "other", is_more},
        {">", "other", is_more},
        {"greaterthan", "other", is_more},
        {"le", "other", is_at_most},
        {"<=", "other", is_at_most},
        {"ge", "other", is_at_least},
        {">=", "other", is_at_least},
        {0},
    };
    const jbuiltin *test = find(tests, name);
    if (!test) fkv_jinja_lacks(j, "test '%.*s' is not supported", J_SHOWN(fkv_jinja_str(j, name)));
    return fkv_jinja_true(fkv_jinja_call_builtin(j, "test", test, self, args));
}
