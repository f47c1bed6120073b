/* What Python does with values: truth, equality, order, membership, iteration. */
#include <string.h>

#include "template/jinja.h"

const char *fkv_jinja_type_name(jvalue v)
{
    static const char *const names[] = {
        [J_ABSENT] = "nothing",  [J_UNDEFINED] = "undefined", [J_NONE] = "None",   [J_BOOL] = "bool",
        [J_INT] = "int",         [J_FLOAT] = "float",         [J_STRING] = "str",  [J_LIST] = "list",
        [J_TUPLE] = "tuple",     [J_VIEW] = "view",           [J_RANGE] = "range", [J_ITERATOR] = "iterator",
        [J_DICT] = "dict",       [J_NAMESPACE] = "namespace", [J_LOOP] = "loop",   [J_MACRO] = "macro",
        [J_METHOD] = "function", [J_CYCLER] = "cycler",
    };
    return names[v.kind];
}

bool fkv_jinja_is_sequence(jvalue v)
{
    return v.kind == J_LIST || v.kind == J_TUPLE || v.kind == J_VIEW || v.kind == J_ITERATOR;
}

bool fkv_jinja_true(jvalue v)
{
    switch (v.kind) {
    case J_ABSENT:
    case J_UNDEFINED:
    case J_NONE: return false;
    case J_BOOL:
    case J_INT: return v.integer != 0;
    case J_FLOAT: return v.number != 0;
    case J_STRING:
    case J_LIST:
    case J_TUPLE:
    case J_VIEW:
    case J_RANGE:
    case J_DICT: return v.n > 0;
    default: return true;
    }
}

static bool equal_strings(jinja *j, jvalue a, jvalue b)
{
    if (a.n != b.n) return false;
    fkv_jinja_work_text(j, a.n);
    return a.n == 0 || !memcmp(a.text, b.text, a.n);
}

static bool equal_dicts(jinja *j, jvalue a, jvalue b)
{
    for (size_t i = 0; i < a.n; i++) {
        const jvalue *other = fkv_jinja_find(j, b.pairs, b.n, a.pairs[i].key);
        if (!other || !fkv_jinja_equal(j, a.pairs[i].value, *other)) return false;
    }
    return a.n == b.n;
}

static bool equal_items(jinja *j, jvalue a, jvalue b)
{
    bool equal = a.n == b.n;
    for (size_t i = 0; equal && i < a.n; i++) equal = fkv_jinja_equal(j, a.items[i], b.items[i]);
    return equal;
}

/* As sequences of numbers. */
static bool equal_ranges(jvalue a, jvalue b)
{
    if (a.n != b.n || a.n == 0) return a.n == b.n;
    return a.range->start == b.range->start && (a.n == 1 || a.range->step == b.range->step);
}

bool fkv_jinja_equal(jinja *j, jvalue a, jvalue b)
{
    fkv_jinja_work(j, 1);
    if (fkv_jinja_is_number(a) && fkv_jinja_is_number(b)) {
        if (fkv_jinja_is_integer(a) && fkv_jinja_is_integer(b)) return a.integer == b.integer;
        return fkv_jinja_number(a) == fkv_jinja_number(b);
    }
    if (a.kind != b.kind) return false;
    bool equal;
    fkv_jinja_enter(j);
    switch (a.kind) {
    case J_STRING: equal = equal_strings(j, a, b); break;
    case J_LIST:
    case J_TUPLE:
    case J_VIEW: equal = equal_items(j, a, b); break;
    case J_DICT: equal = equal_dicts(j, a, b); break;
    case J_RANGE: equal = equal_ranges(a, b); break;
    case J_UNDEFINED:
    case J_NONE: equal = true; break;
    default: equal = a.items == b.items; /* the same object */
    }
    fkv_jinja_leave(j);
    return equal;
}

static int compare_strings(jinja *j, jvalue a, jvalue b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    fkv_jinja_work_text(j, n);
    int order = n ? memcmp(a.text, b.text, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_sequences(jinja *j, jvalue a, jvalue b)
{
    int order = 0;
    fkv_jinja_enter(j);
    for (size_t i = 0; !order && i < a.n && i < b.n; i++)
        if (!fkv_jinja_equal(j, a.items[i], b.items[i])) order = fkv_jinja_compare(j, a.items[i], b.items[i]);
    fkv_jinja_leave(j);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

int fkv_jinja_compare(jinja *j, jvalue a, jvalue b)
{
    fkv_jinja_work(j, 1);
    if (fkv_jinja_is_integer(a) && fkv_jinja_is_integer(b)) return (a.integer > b.integer) - (a.integer < b.integer);
    if (fkv_jinja_is_number(a) && fkv_jinja_is_number(b))
        return (fkv_jinja_number(a) > fkv_jinja_number(b)) - (fkv_jinja_number(a) < fkv_jinja_number(b));
    if (a.kind == J_STRING && b.kind == J_STRING) return compare_strings(j, a, b);
    if (a.kind == b.kind && (a.kind == J_LIST || a.kind == J_TUPLE)) return compare_sequences(j, a, b);
    fkv_jinja_bad(j, "%s and %s have no order", fkv_jinja_type_name(a), fkv_jinja_type_name(b));
}

bool fkv_jinja_contains(jinja *j, jvalue container, jvalue item)
{
    if (container.kind == J_STRING) {
        if (item.kind != J_STRING) fkv_jinja_bad(j, "'in' a string needs a string, not %s", fkv_jinja_type_name(item));
        fkv_jinja_work_text(j, container.n);
        return fkv_jinja_search(container, 0, item) != J_NOT_FOUND;
    }
    if (container.kind == J_DICT) {
        fkv_jinja_check_key(j, item);
        return fkv_jinja_find(j, container.pairs, container.n, item) != NULL;
    }
    if (container.kind == J_UNDEFINED) return false;
    if (container.kind == J_RANGE) container = fkv_jinja_iterate(j, container, J_LIST);
    if (!fkv_jinja_is_sequence(container))
        fkv_jinja_bad(j, "'in' needs a container, not %s", fkv_jinja_type_name(container));
    for (size_t i = 0; i < container.n; i++)
        if (fkv_jinja_equal(j, container.items[i], item)) return true;
    return false;
}

size_t fkv_jinja_length(jinja *j, jvalue v)
{
    switch (v.kind) {
    case J_STRING: fkv_jinja_work_text(j, v.n); return fkv_jinja_n_characters(v.text, v.n);
    case J_LIST:
    case J_TUPLE:
    case J_VIEW:
    case J_RANGE:
    case J_DICT: return v.n;
    case J_LOOP: return v.loop->n;
    case J_UNDEFINED: return 0;
    default: fkv_jinja_bad(j, "%s has no length", fkv_jinja_type_name(v));
    }
}

jvalue fkv_jinja_range_item(const jrange *range, size_t i)
{
    return fkv_jinja_int(range->start + (int64_t)i * range->step);
}

jvalue fkv_jinja_iterate(jinja *j, jvalue v, enum jkind as)
{
    if (fkv_jinja_is_sequence(v)) return fkv_jinja_sequence(as, v.items, v.n);
    if (v.kind == J_UNDEFINED) return fkv_jinja_sequence(as, NULL, 0);
    if (v.kind != J_STRING && v.kind != J_DICT && v.kind != J_RANGE)
        fkv_jinja_bad(j, "%s cannot be iterated", fkv_jinja_type_name(v));
    size_t n = fkv_jinja_length(j, v);
    jvalue *items = fkv_jinja_alloc(j, n, sizeof *items);
    fkv_jinja_work(j, n);
    for (size_t i = 0, at = 0, end; i < n; i++, at = end) {
        if (v.kind == J_DICT) {
            items[i] = v.pairs[i].key;
            end = 0;
        } else if (v.kind == J_RANGE) {
            items[i] = fkv_jinja_range_item(v.range, i);
            end = 0;
        } else { /* a byte that starts no character stays with the one before it */
            end = at + 1 + fkv_jinja_offset(v.text + at + 1, v.n - at - 1, 0);
            items[i] = fkv_jinja_string(v.text + at, end - at);
        }
    }
    return fkv_jinja_sequence(as, items, n);
}

/* Texts of different lengths, by far the most common, cost no step of their own. */
static bool same_key(jinja *j, jvalue a, jvalue b)
{
    return a.kind == J_STRING && b.kind == J_STRING ? equal_strings(j, a, b) : fkv_jinja_equal(j, a, b);
}

const jvalue *fkv_jinja_find(jinja *j, const jpair *pairs, size_t n, jvalue key)
{
    fkv_jinja_work(j, 1 + n / 8);
    for (size_t i = 0; i < n; i++)
        if (same_key(j, pairs[i].key, key)) return &pairs[i].value;
    return NULL;
}

void fkv_jinja_check_key(jinja *j, jvalue key)
{
    if (key.kind == J_LIST || key.kind == J_DICT) fkv_jinja_bad(j, "%s cannot be a key", fkv_jinja_type_name(key));
}

size_t fkv_jinja_set_pair(jinja *j, jpair *pairs, size_t n, jvalue key, jvalue value)
{
    for (size_t i = 0; i < n; i++)
        if (fkv_jinja_equal(j, pairs[i].key, key)) {
            pairs[i].value = value;
            return n;
        }
    pairs[n] = (jpair){key, value};
    return n + 1;
}

void fkv_jinja_push(jinja *j, jitems *list, jvalue item)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 8;
        jvalue *items = fkv_jinja_alloc(j, capacity, sizeof *items);
        if (list->n) memcpy(items, list->items, list->n * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->n++] = item;
}

void fkv_jinja_assign(jinja *j, jscope *scope, jvalue name, jvalue value)
{
    if (scope->n == scope->capacity) {
        size_t capacity = scope->capacity ? 2 * scope->capacity : 4;
        jpair *vars = fkv_jinja_alloc(j, capacity, sizeof *vars);
        if (scope->n) memcpy(vars, scope->vars, scope->n * sizeof *vars);
        scope->vars = vars;
        scope->capacity = capacity;
    }
    scope->n = fkv_jinja_set_pair(j, scope->vars, scope->n, name, value);
}
