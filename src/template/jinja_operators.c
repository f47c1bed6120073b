/* Arithmetic, attributes, indices and slices. */
#include <math.h>
#include <string.h>

#include "template/jinja_run.h"

void fkv_jinja_fail_undefined(jinja *j, jvalue undefined)
{
    fkv_jinja_bad(j, "'%.*s' is undefined", J_SHOWN(undefined));
}

static _Noreturn void overflow(jinja *j) { fkv_jinja_lacks(j, "integers above 64 bits are not supported"); }

static int64_t int_power(jinja *j, int64_t base, int64_t exponent)
{
    int64_t power = 1;
    while (exponent > 0) {
        if ((exponent & 1) && __builtin_mul_overflow(power, base, &power)) overflow(j);
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base)) overflow(j);
    }
    return power;
}

/* Rounded down, with a remainder of the divisor's sign. */
static int64_t int_divide(jinja *j, int64_t a, int64_t b, bool remainder)
{
    if (a == INT64_MIN && b == -1) overflow(j);
    int64_t quotient = a / b, rest = a % b;
    if (rest && (rest < 0) != (b < 0)) {
        quotient--;
        rest += b;
    }
    return remainder ? rest : quotient;
}

static double float_divide(double a, double b, bool remainder)
{
    double rest = fmod(a, b), quotient = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        rest += b;
        quotient--;
    }
    if (remainder) return rest != 0 ? rest : copysign(0, b);
    double down = floor(quotient);
    return quotient == 0 ? copysign(0, a / b) : quotient - down > 0.5 ? down + 1 : down;
}

static jvalue int_arithmetic(jinja *j, int op, int64_t a, int64_t b)
{
    int64_t result;
    bool over = false;
    switch (op) {
    case '+': over = __builtin_add_overflow(a, b, &result); break;
    case '-': over = __builtin_sub_overflow(a, b, &result); break;
    case '*': over = __builtin_mul_overflow(a, b, &result); break;
    case OP_POWER: result = int_power(j, a, b); break;
    default: result = int_divide(j, a, b, op == '%');
    }
    if (over) overflow(j);
    return fkv_jinja_int(result);
}

static jvalue float_arithmetic(jinja *j, int op, double a, double b)
{
    double power;
    switch (op) {
    case '+': return fkv_jinja_float(a + b);
    case '-': return fkv_jinja_float(a - b);
    case '*': return fkv_jinja_float(a * b);
    case '/': return fkv_jinja_float(a / b);
    case OP_POWER:
        power = pow(a, b);
        if (!isfinite(power) && isfinite(a) && isfinite(b)) fkv_jinja_bad(j, "the power is not a finite number");
        return fkv_jinja_float(power);
    default: return fkv_jinja_float(float_divide(a, b, op == '%'));
    }
}

static jvalue join(jinja *j, jvalue a, jvalue b)
{
    jbuffer text = {0};
    fkv_jinja_put_str(j, &text, a);
    fkv_jinja_put_str(j, &text, b);
    return fkv_jinja_taken(&text);
}

static jvalue concatenate(jinja *j, jvalue a, jvalue b)
{
    jvalue *items = fkv_jinja_alloc(j, a.n + b.n, sizeof *items);
    if (a.n) memcpy(items, a.items, a.n * sizeof *items);
    if (b.n) memcpy(items + a.n, b.items, b.n * sizeof *items);
    return fkv_jinja_sequence(a.kind, items, a.n + b.n);
}

static bool repeatable(jvalue v) { return v.kind == J_STRING || v.kind == J_LIST || v.kind == J_TUPLE; }

static jvalue repeat(jinja *j, jvalue v, int64_t times)
{
    size_t unit = v.kind == J_STRING ? 1 : sizeof(jvalue), bytes;
    size_t n = times > 0 ? (size_t)times : 0;
    if (__builtin_mul_overflow(v.n * unit, n, &bytes))
        fkv_jinja_fail(j, FKV_ERROR_MEMORY, "the template needs more memory than it is allowed");
    char *copies = fkv_jinja_alloc(j, bytes, 1);
    for (size_t at = 0; at < bytes; at += v.n * unit) memcpy(copies + at, v.text, v.n * unit);
    v.n *= n;
    v.text = copies; /* or items: the same place */
    return v;
}

jvalue fkv_jinja_binary(jinja *j, int op, jvalue a, jvalue b)
{
    if (op == '~') return join(j, a, b);
    if (op == '%' && a.kind == J_STRING) return fkv_jinja_percent(j, a, b);
    if (a.kind == J_UNDEFINED || b.kind == J_UNDEFINED) fkv_jinja_fail_undefined(j, a.kind == J_UNDEFINED ? a : b);
    if (fkv_jinja_is_number(a) && fkv_jinja_is_number(b)) {
        if ((op == '/' || op == OP_FLOOR || op == '%') && fkv_jinja_number(b) == 0)
            fkv_jinja_bad(j, "division by zero");
        bool integers = fkv_jinja_is_integer(a) && fkv_jinja_is_integer(b);
        if (integers && op != '/' && !(op == OP_POWER && b.integer < 0))
            return int_arithmetic(j, op, a.integer, b.integer);
        return float_arithmetic(j, op, fkv_jinja_number(a), fkv_jinja_number(b));
    }
    if (op == '+' && (fkv_jinja_is_markup(a) || fkv_jinja_is_markup(b)) && a.kind == b.kind)
        return fkv_jinja_tagged(join(j, fkv_jinja_escape(j, a), fkv_jinja_escape(j, b)), J_MARKUP);
    if (op == '+' && a.kind == J_STRING && b.kind == J_STRING) return join(j, a, b);
    if (op == '+' && a.kind == b.kind && (a.kind == J_LIST || a.kind == J_TUPLE)) return concatenate(j, a, b);
    if (op == '*' && repeatable(a) && fkv_jinja_is_integer(b)) return repeat(j, a, b.integer);
    if (op == '*' && repeatable(b) && fkv_jinja_is_integer(a)) return repeat(j, b, a.integer);
    char name[] = {(char)op, (char)(op >> 8), 0};
    fkv_jinja_bad(j, "'%s' is not defined between %s and %s", name, fkv_jinja_type_name(a), fkv_jinja_type_name(b));
}

jvalue fkv_jinja_negate(jinja *j, jvalue a)
{
    if (a.kind == J_UNDEFINED) fkv_jinja_fail_undefined(j, a);
    if (!fkv_jinja_is_number(a)) fkv_jinja_bad(j, "%s has no sign", fkv_jinja_type_name(a));
    return a.kind == J_FLOAT ? fkv_jinja_float(-a.number) : int_arithmetic(j, '-', 0, a.integer);
}

static jvalue loop_attribute(jinja *j, jvalue self, jvalue name)
{
    const jloop *loop = self.loop;
    const struct {
        const char *name;
        size_t value;
    } counts[] = {{"index", loop->index + 1}, {"index0", loop->index},
                  {"length", loop->n},        {"revindex", loop->n - loop->index},
                  {"depth", loop->depth + 1}, {"revindex0", loop->n - loop->index - 1},
                  {"depth0", loop->depth}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (fkv_jinja_is(name, counts[i].name)) return fkv_jinja_int((int64_t)counts[i].value);
    bool first = loop->index == 0, last = loop->index + 1 >= loop->n;
    if (fkv_jinja_is(name, "first") || fkv_jinja_is(name, "last")) return fkv_jinja_bool(name.n == 5 ? first : last);
    if (fkv_jinja_is(name, "previtem")) return first ? fkv_jinja_undefined(name) : loop->items[loop->index - 1];
    if (fkv_jinja_is(name, "nextitem")) return last ? fkv_jinja_undefined(name) : loop->items[loop->index + 1];
    jvalue method;
    if (fkv_jinja_method(j, self, name, &method)) return method;
    fkv_jinja_lacks(j, "loop.%.*s is not supported", J_SHOWN(name));
}

static jvalue macro_attribute(jinja *j, const jnode *macro, jvalue name)
{
    const bool is_caller = macro->kind == N_CALL_BLOCK;
    if (fkv_jinja_is(name, "name")) return is_caller ? fkv_jinja_none() : macro->value;
    if (fkv_jinja_is(name, "catch_kwargs")) return fkv_jinja_bool(macro->op & J_USES_KWARGS);
    if (fkv_jinja_is(name, "catch_varargs")) return fkv_jinja_bool(macro->op & J_USES_VARARGS);
    if (fkv_jinja_is(name, "caller")) return fkv_jinja_bool(macro->op & J_USES_CALLER);
    if (!fkv_jinja_is(name, "arguments")) return (jvalue){0};
    jitems names = {0};
    for (const jnode *p = macro->list; p; p = p->next) fkv_jinja_push(j, &names, p->value);
    return fkv_jinja_sequence(J_TUPLE, names.items, names.n);
}

/* What `.name` finds before the members of a dict are looked at; J_ABSENT: nothing. */
static jvalue own_attribute(jinja *j, jvalue object, jvalue name)
{
    jvalue method;
    if (object.kind == J_UNDEFINED) fkv_jinja_fail_undefined(j, object);
    if (object.kind == J_LOOP) return loop_attribute(j, object, name);
    if (object.kind == J_MACRO) return macro_attribute(j, object.macro->node, name);
    if (object.kind == J_RANGE && fkv_jinja_is(name, "start")) return fkv_jinja_int(object.range->start);
    if (object.kind == J_RANGE && fkv_jinja_is(name, "stop")) return fkv_jinja_int(object.range->stop);
    if (object.kind == J_RANGE && fkv_jinja_is(name, "step")) return fkv_jinja_int(object.range->step);
    if (object.kind == J_CYCLER && !object.cycler->joiner && fkv_jinja_is(name, "current"))
        return object.cycler->items[object.cycler->at];
    if (object.kind == J_NAMESPACE) {
        const jvalue *member = fkv_jinja_find(j, object.scope->vars, object.scope->n, name);
        return member ? *member : (jvalue){0};
    }
    if (object.kind == J_TUPLE && object.tag == J_GROUP && fkv_jinja_is(name, "grouper")) return object.items[0];
    if (object.kind == J_TUPLE && object.tag == J_GROUP && fkv_jinja_is(name, "list")) return object.items[1];
    return fkv_jinja_method(j, object, name, &method) ? method : (jvalue){0};
}

static jvalue element(jinja *j, jvalue object, int64_t index)
{
    size_t n = fkv_jinja_length(j, object);
    if (index < 0) index += (int64_t)n;
    if (index < 0 || index >= (int64_t)n) return (jvalue){0};
    if (object.kind == J_RANGE) return fkv_jinja_range_item(object.range, (size_t)index);
    if (object.kind != J_STRING) return object.items[index];
    size_t from = fkv_jinja_offset(object.text, object.n, (size_t)index);
    size_t size = fkv_jinja_offset(object.text + from, object.n - from, 1);
    return fkv_jinja_tagged(fkv_jinja_string(object.text + from, size), object.tag);
}

/* What `[key]` finds before attributes are looked at; J_ABSENT: nothing. */
static jvalue own_item(jinja *j, jvalue object, jvalue key)
{
    if (object.kind == J_DICT) {
        const jvalue *found = fkv_jinja_find(j, object.pairs, object.n, key);
        return found ? *found : (jvalue){0};
    }
    bool indexed = object.kind == J_STRING || object.kind == J_LIST || object.kind == J_TUPLE || object.kind == J_RANGE;
    return indexed && fkv_jinja_is_integer(key) ? element(j, object, key.integer) : (jvalue){0};
}

jvalue fkv_jinja_attribute(jinja *j, jvalue object, jvalue name)
{
    jvalue found = own_attribute(j, object, name);
    if (found.kind == J_ABSENT) found = own_item(j, object, name);
    return found.kind == J_ABSENT ? fkv_jinja_undefined(name) : found;
}

jvalue fkv_jinja_item(jinja *j, jvalue object, jvalue key)
{
    if (object.kind == J_UNDEFINED) fkv_jinja_fail_undefined(j, object);
    jvalue found = own_item(j, object, key);
    if (found.kind == J_ABSENT && key.kind == J_STRING) found = own_attribute(j, object, key);
    return found.kind == J_ABSENT ? fkv_jinja_undefined(fkv_jinja_str(j, key)) : found;
}

/* A bound of a slice, counted from the end when negative, within [low, high]. */
static int64_t slice_bound(jinja *j, jvalue bound, int64_t n, int64_t low, int64_t high, int64_t otherwise)
{
    if (bound.kind == J_ABSENT || bound.kind == J_NONE) return otherwise;
    if (!fkv_jinja_is_integer(bound)) fkv_jinja_bad(j, "a slice needs integers, not %s", fkv_jinja_type_name(bound));
    int64_t at = bound.integer < 0 ? bound.integer + n : bound.integer;
    return at < low ? low : at > high ? high : at;
}

static jvalue join_items(jinja *j, const jvalue *items, size_t n)
{
    jbuffer text = {0};
    for (size_t i = 0; i < n; i++) fkv_jinja_put_string(j, &text, items[i]);
    return fkv_jinja_taken(&text);
}

static jvalue range_slice(jinja *j, const jrange *r, int64_t first, int64_t end, int64_t by)
{
    int64_t start, stop, step;
    if (__builtin_mul_overflow(r->step, by, &step) || __builtin_mul_overflow(r->step, first, &start) ||
        __builtin_mul_overflow(r->step, end, &stop) || __builtin_add_overflow(r->start, start, &start) ||
        __builtin_add_overflow(r->start, stop, &stop))
        overflow(j);
    return fkv_jinja_range(j, start, stop, step);
}

static jvalue slice(jinja *j, jvalue object, jvalue from, jvalue to, jvalue step)
{
    if (object.kind == J_UNDEFINED) fkv_jinja_fail_undefined(j, object);
    if (!repeatable(object) && object.kind != J_RANGE)
        fkv_jinja_bad(j, "%s has no slices", fkv_jinja_type_name(object));
    int64_t n = (int64_t)fkv_jinja_length(j, object);
    int64_t by = slice_bound(j, step, 0, -INT64_MAX, INT64_MAX, 1);
    if (by == 0) fkv_jinja_bad(j, "the step of a slice is 0");
    int64_t low = by < 0 ? -1 : 0, high = by < 0 ? n - 1 : n;
    int64_t first = slice_bound(j, from, n, low, high, by < 0 ? high : low),
            end = slice_bound(j, to, n, low, high, by < 0 ? low : high);
    if (object.kind == J_RANGE) return range_slice(j, object.range, first, end, by);
    if (by == 1 && object.kind == J_STRING) {
        size_t start = fkv_jinja_offset(object.text, object.n, (size_t)first);
        size_t characters = end > first ? (size_t)(end - first) : 0;
        return fkv_jinja_string(object.text + start,
                                fkv_jinja_offset(object.text + start, object.n - start, characters));
    }
    if (by == 1)
        return fkv_jinja_sequence(object.kind, n ? object.items + first : NULL,
                                  end > first ? (size_t)(end - first) : 0);
    jvalue all = fkv_jinja_iterate(j, object, object.kind);
    jitems chosen = {0};
    for (int64_t i = first; by < 0 ? i > end : i < end;) {
        fkv_jinja_push(j, &chosen, all.items[i]);
        if (__builtin_add_overflow(i, by, &i)) break;
    }
    if (object.kind == J_STRING) return join_items(j, chosen.items, chosen.n);
    return fkv_jinja_sequence(object.kind, chosen.items, chosen.n);
}

jvalue fkv_jinja_slice(jinja *j, jvalue object, jvalue from, jvalue to, jvalue step)
{
    const jvalue part = slice(j, object, from, to, step);
    return part.kind == J_STRING ? fkv_jinja_tagged(part, object.tag) : part;
}
