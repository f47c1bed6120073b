/* Tests: what stands behind `is`. */
#include <string.h>

#include "template/jinja_run.h"

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
    return fkv_jinja_bool(fkv_jinja_is_markup(c->self));
}

/* Jinja's undefined counts, though calling it fails. */
static jvalue is_callable(jinja *j, const jcall *c)
{
    (void)j;
    const enum jkind kind = c->self.kind;
    return fkv_jinja_bool(kind == J_METHOD || kind == J_MACRO || kind == J_UNDEFINED || kind == J_LOOP ||
                          (kind == J_CYCLER && c->self.cycler->joiner));
}

static jvalue is_iterable(jinja *j, const jcall *c)
{
    (void)j;
    enum jkind kind = c->self.kind;
    return fkv_jinja_bool(fkv_jinja_is_sequence(c->self) || kind == J_STRING || kind == J_DICT || kind == J_UNDEFINED ||
                          kind == J_LOOP || kind == J_RANGE);
}

static jvalue is_sequence(jinja *j, const jcall *c)
{
    (void)j;
    enum jkind kind = c->self.kind;
    return fkv_jinja_bool(kind == J_LIST || kind == J_TUPLE || kind == J_STRING || kind == J_DICT ||
                          kind == J_UNDEFINED || kind == J_RANGE);
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
    return fkv_jinja_bool(fkv_jinja_find_filter(c->self) != NULL);
}

static jvalue is_test(jinja *j, const jcall *c);

static const jbuiltin *find_test(jvalue name)
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
        {"test", "", is_test},
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
    return fkv_jinja_find_builtin(tests, name);
}

static jvalue is_test(jinja *j, const jcall *c)
{
    (void)j;
    return fkv_jinja_bool(find_test(c->self) != NULL);
}

bool fkv_jinja_test(jinja *j, jvalue name, jvalue self, const jargs *args)
{
    const jbuiltin *test = find_test(name);
    if (!test) fkv_jinja_lacks(j, "test '%.*s' is not supported", J_SHOWN(fkv_jinja_str(j, name)));
    return fkv_jinja_true(fkv_jinja_call_builtin(j, "test", test, self, args));
}
