/* Filters of strings, lists and dicts as sequences. */
#include <string.h>

#include "template/jinja_run.h"

static jvalue f_length(jinja *j, const jcall *c) { return fkv_jinja_int((int64_t)fkv_jinja_length(j, c->self)); }
static jvalue f_list(jinja *j, const jcall *c) { return fkv_jinja_iterate(j, c->self, J_LIST); }

static jvalue undefined(const char *what) { return fkv_jinja_undefined(fkv_jinja_string(what, strlen(what))); }

static jvalue f_first(jinja *j, const jcall *c)
{
    jvalue items = fkv_jinja_iterate(j, c->self, J_LIST);
    return items.n ? items.items[0] : undefined("the first item of nothing");
}

static jvalue f_last(jinja *j, const jcall *c)
{
    if (c->self.kind == J_ITERATOR) fkv_jinja_bad(j, "last: an iterator has no last item (make it a list first)");
    jvalue items = fkv_jinja_iterate(j, c->self, J_LIST);
    return items.n ? items.items[items.n - 1] : undefined("the last item of nothing");
}

static jvalue f_reverse(jinja *j, const jcall *c)
{
    jvalue items = fkv_jinja_iterate(j, c->self, J_LIST);
    jvalue *reversed = fkv_jinja_alloc(j, items.n, sizeof *reversed);
    jbuffer text = {0};
    for (size_t i = 0; i < items.n; i++) {
        reversed[i] = items.items[items.n - 1 - i];
        if (c->self.kind == J_STRING) fkv_jinja_put_string(j, &text, reversed[i]);
    }
    return c->self.kind == J_STRING ? fkv_jinja_taken(&text) : fkv_jinja_sequence(J_ITERATOR, reversed, items.n);
}

/* item.a.b for the path "a.b"; parts of digits are indices. J_ABSENT or None: the item itself. */
static jvalue follow(jinja *j, jvalue item, jvalue path)
{
    if (path.kind == J_ABSENT || path.kind == J_NONE) return item;
    if (path.kind != J_STRING) return fkv_jinja_item(j, item, path);
    for (size_t from = 0, to; from <= path.n; from = to + 1) {
        int64_t index = 0;
        bool digits = true;
        for (to = from; to < path.n && path.text[to] != '.'; to++) {
            digits = digits && path.text[to] >= '0' && path.text[to] <= '9' && to - from < 9;
            index = digits ? 10 * index + path.text[to] - '0' : 0;
        }
        digits = digits && to > from;
        item = fkv_jinja_item(j, item, digits ? fkv_jinja_int(index) : fkv_jinja_string(path.text + from, to - from));
    }
    return item;
}

static jvalue f_join(jinja *j, const jcall *c)
{
    jvalue items = fkv_jinja_iterate(j, c->self, J_LIST);
    jvalue separator = c->a[0].kind == J_ABSENT ? fkv_jinja_string("", 0) : fkv_jinja_str(j, c->a[0]);
    jbuffer text = {0};
    for (size_t i = 0; i < items.n; i++) {
        if (i) fkv_jinja_put_string(j, &text, separator);
        fkv_jinja_put_str(j, &text, follow(j, items.items[i], c->a[1]));
    }
    return fkv_jinja_taken(&text);
}

static jvalue named(const jargs *args, const char *name)
{
    for (size_t i = 0; i < args->n_named; i++)
        if (fkv_jinja_is(args->named[i].key, name)) return args->named[i].value;
    return (jvalue){0};
}

/* map("filter", its arguments ...) or map(attribute="path", default=...). */
static jvalue f_map(jinja *j, const jcall *c)
{
    if (!fkv_jinja_true(c->self)) return fkv_jinja_sequence(J_ITERATOR, NULL, 0);
    jvalue items = fkv_jinja_iterate(j, c->self, J_ITERATOR);
    jvalue attribute = named(c->args, "attribute"), otherwise = named(c->args, "default");
    jvalue *mapped = fkv_jinja_alloc(j, items.n, sizeof *mapped);
    jargs rest = {.named = c->args->named, .n_named = c->args->n_named};
    if (c->args->n > 1) {
        rest.values = c->args->values + 1;
        rest.n = c->args->n - 1;
    }
    size_t n_known = (attribute.kind != J_ABSENT) + (otherwise.kind != J_ABSENT);
    if (!c->args->n && (attribute.kind == J_ABSENT || n_known < c->args->n_named))
        fkv_jinja_bad(j, "map: expected a filter, or attribute and default");
    for (size_t i = 0; i < items.n; i++) {
        if (c->args->n)
            mapped[i] = fkv_jinja_filter(j, c->args->values[0], items.items[i], &rest);
        else
            mapped[i] = follow(j, items.items[i], attribute);
        if (!c->args->n && mapped[i].kind == J_UNDEFINED && otherwise.kind != J_ABSENT) mapped[i] = otherwise;
    }
    return fkv_jinja_sequence(J_ITERATOR, mapped, items.n);
}

/* ([attribute,] [test, its arguments ...]): the items for which the test, or else the value itself, is as `wanted`. */
static jvalue filter_items(jinja *j, const jcall *c, bool by_attribute, bool wanted)
{
    jitems chosen = {0};
    if (!fkv_jinja_true(c->self)) return fkv_jinja_sequence(J_ITERATOR, NULL, 0);
    jvalue items = fkv_jinja_iterate(j, c->self, J_LIST);
    size_t used = by_attribute, n = c->args->n;
    if (n < used) fkv_jinja_bad(j, "expected the name of an attribute");
    jargs rest = {.named = c->args->named, .n_named = c->args->n_named};
    if (n > used + 1) {
        rest.values = c->args->values + used + 1;
        rest.n = n - used - 1;
    }
    for (size_t i = 0; i < items.n; i++) {
        jvalue value = by_attribute ? follow(j, items.items[i], c->args->values[0]) : items.items[i];
        bool holds = n > used ? fkv_jinja_test(j, c->args->values[used], value, &rest) : fkv_jinja_true(value);
        if (holds == wanted) fkv_jinja_push(j, &chosen, items.items[i]);
    }
    return fkv_jinja_sequence(J_ITERATOR, chosen.items, chosen.n);
}

static jvalue f_select(jinja *j, const jcall *c) { return filter_items(j, c, false, true); }
static jvalue f_reject(jinja *j, const jcall *c) { return filter_items(j, c, false, false); }
static jvalue f_selectattr(jinja *j, const jcall *c) { return filter_items(j, c, true, true); }
static jvalue f_rejectattr(jinja *j, const jcall *c) { return filter_items(j, c, true, false); }

static jvalue f_items(jinja *j, const jcall *c)
{
    if (c->self.kind == J_UNDEFINED) return fkv_jinja_sequence(J_ITERATOR, NULL, 0);
    if (c->self.kind != J_DICT) fkv_jinja_bad(j, "items: expected a dict, found %s", fkv_jinja_type_name(c->self));
    return fkv_jinja_pairs_of(j, c->self, J_ITERATOR);
}

/* Order. A key is what an item is compared by. */

static jvalue without_case(jinja *j, jvalue key, bool case_sensitive)
{
    return key.kind == J_STRING && !case_sensitive ? fkv_jinja_recase(j, key, J_LOWER) : key;
}

/* Stable merge sort by key; `from` is changed too. */
static void merge_sort(jinja *j, jpair *from, jpair *to, size_t n, int sign)
{
    size_t half = n / 2, left = 0, right = half;
    if (n < 2) return;
    fkv_jinja_enter(j);
    merge_sort(j, from, to, half, sign);
    merge_sort(j, from + half, to + half, n - half, sign);
    for (size_t i = 0; i < n; i++) {
        bool take_right = left == half ||
                          (right < n && sign * fkv_jinja_compare(j, from[right].key, from[left].key) < 0);
        to[i] = from[take_right ? right++ : left++];
    }
    memcpy(from, to, n * sizeof *from);
    fkv_jinja_leave(j);
}

static jvalue sorted(jinja *j, jpair *pairs, size_t n, bool reverse)
{
    jvalue *items = fkv_jinja_alloc(j, n, sizeof *items);
    merge_sort(j, pairs, fkv_jinja_alloc(j, n, sizeof *pairs), n, reverse ? -1 : 1);
    for (size_t i = 0; i < n; i++) items[i] = pairs[i].value;
    return fkv_jinja_sequence(J_LIST, items, n);
}

/* One key, or the list of keys that "a,b" names. */
static jvalue sort_key(jinja *j, jvalue item, jvalue attribute, bool case_sensitive)
{
    jitems keys = {0};
    size_t n = attribute.kind == J_STRING ? attribute.n : 0;
    for (size_t from = 0, to; from <= n; from = to + 1) {
        const char *comma = n > from ? memchr(attribute.text + from, ',', n - from) : NULL;
        to = comma ? (size_t)(comma - attribute.text) : n;
        jvalue path = n ? fkv_jinja_string(attribute.text + from, to - from) : attribute;
        fkv_jinja_push(j, &keys, without_case(j, follow(j, item, path), case_sensitive));
    }
    return fkv_jinja_sequence(J_LIST, keys.items, keys.n);
}

static jvalue f_sort(jinja *j, const jcall *c)
{
    jvalue items = fkv_jinja_iterate(j, c->self, J_LIST);
    jpair *pairs = fkv_jinja_alloc(j, items.n, sizeof *pairs);
    for (size_t i = 0; i < items.n; i++)
        pairs[i] = (jpair){sort_key(j, items.items[i], c->a[2], fkv_jinja_true(c->a[1])), items.items[i]};
    return sorted(j, pairs, items.n, fkv_jinja_true(c->a[0]));
}

static jvalue f_dictsort(jinja *j, const jcall *c)
{
    if (c->self.kind != J_DICT) fkv_jinja_bad(j, "dictsort: expected a dict, found %s", fkv_jinja_type_name(c->self));
    jvalue by = c->a[1].kind == J_ABSENT ? fkv_jinja_string("key", 3) : fkv_jinja_string_argument(j, c->a[1]);
    bool by_value = fkv_jinja_is(by, "value");
    if (!by_value && !fkv_jinja_is(by, "key")) fkv_jinja_bad(j, "dictsort: expected 'key' or 'value'");
    jvalue items = fkv_jinja_pairs_of(j, c->self, J_LIST);
    jpair *pairs = fkv_jinja_alloc(j, items.n, sizeof *pairs);
    for (size_t i = 0; i < items.n; i++)
        pairs[i] = (jpair){without_case(j, items.items[i].items[by_value], fkv_jinja_true(c->a[0])), items.items[i]};
    return sorted(j, pairs, items.n, fkv_jinja_true(c->a[2]));
}

static jvalue f_unique(jinja *j, const jcall *c)
{
    jvalue items = fkv_jinja_iterate(j, c->self, J_LIST);
    jitems keys = {0}, chosen = {0};
    for (size_t i = 0; i < items.n; i++) {
        jvalue key = without_case(j, follow(j, items.items[i], c->a[1]), fkv_jinja_true(c->a[0]));
        fkv_jinja_check_key(j, key);
        if (fkv_jinja_contains(j, fkv_jinja_sequence(J_LIST, keys.items, keys.n), key)) continue;
        fkv_jinja_push(j, &keys, key);
        fkv_jinja_push(j, &chosen, items.items[i]);
    }
    return fkv_jinja_sequence(J_ITERATOR, chosen.items, chosen.n);
}

/* n items a line, the last one filled up with fill when that is given. */
static jvalue f_batch(jinja *j, const jcall *c)
{
    const jvalue items = fkv_jinja_iterate(j, c->self, J_LIST);
    const int64_t size = fkv_jinja_integer_argument(j, c->a[0], 0);
    jitems lines = {0};
    if (size < 1) fkv_jinja_lacks(j, "batch: a size below 1 is not supported");
    for (size_t i = 0; i < items.n; i += (size_t)size) {
        const size_t n = items.n - i < (size_t)size ? items.n - i : (size_t)size;
        jitems line = {0};
        for (size_t k = 0; k < n; k++) fkv_jinja_push(j, &line, items.items[i + k]);
        const bool filled = c->a[1].kind != J_ABSENT && c->a[1].kind != J_NONE;
        while (filled && line.n < (size_t)size) {
            fkv_jinja_work(j, 1);
            fkv_jinja_push(j, &line, c->a[1]);
        }
        fkv_jinja_push(j, &lines, fkv_jinja_sequence(J_LIST, line.items, line.n));
    }
    return fkv_jinja_sequence(J_ITERATOR, lines.items, lines.n);
}

/* n columns of nearly equal length. */
static jvalue f_slice(jinja *j, const jcall *c)
{
    const jvalue items = fkv_jinja_iterate(j, c->self, J_LIST);
    const int64_t n = fkv_jinja_integer_argument(j, c->a[0], 0);
    if (n < 1) fkv_jinja_bad(j, "slice: expected a number of slices, at least 1");
    const size_t length = items.n / (size_t)n, longer = items.n % (size_t)n;
    jitems columns = {0};
    for (size_t i = 0, at = 0; i < (size_t)n; i++) {
        const size_t size = length + (i < longer);
        jitems column = {0};
        fkv_jinja_work(j, 1);
        for (size_t k = 0; k < size; k++) fkv_jinja_push(j, &column, items.items[at + k]);
        if (c->a[1].kind != J_ABSENT && c->a[1].kind != J_NONE && i >= longer) fkv_jinja_push(j, &column, c->a[1]);
        fkv_jinja_push(j, &columns, fkv_jinja_sequence(J_LIST, column.items, column.n));
        at += size;
    }
    return fkv_jinja_sequence(J_ITERATOR, columns.items, columns.n);
}

/* What stands under the path in each item, or `otherwise`. */
static jvalue group_key(jinja *j, jvalue item, jvalue path, jvalue otherwise)
{
    const jvalue key = follow(j, item, path);
    return key.kind == J_UNDEFINED && otherwise.kind != J_ABSENT && otherwise.kind != J_NONE ? otherwise : key;
}

/* Pairs of a key and the list of the items that have it, in the order of the keys. */
static jvalue f_groupby(jinja *j, const jcall *c)
{
    const jvalue items = fkv_jinja_iterate(j, c->self, J_LIST);
    const bool cased = fkv_jinja_true(c->a[2]);
    jpair *pairs = fkv_jinja_alloc(j, items.n, sizeof *pairs);
    for (size_t i = 0; i < items.n; i++)
        pairs[i] = (jpair){without_case(j, group_key(j, items.items[i], c->a[0], c->a[1]), cased), items.items[i]};
    const jvalue in_order = sorted(j, pairs, items.n, false);
    jitems groups = {0};
    for (size_t i = 0; i < in_order.n;) {
        const jvalue first = group_key(j, in_order.items[i], c->a[0], c->a[1]), key = without_case(j, first, cased);
        jitems group = {0};
        for (; i < in_order.n; i++) {
            const jvalue other = without_case(j, group_key(j, in_order.items[i], c->a[0], c->a[1]), cased);
            if (!fkv_jinja_equal(j, key, other)) break;
            fkv_jinja_push(j, &group, in_order.items[i]);
        }
        jvalue *pair = fkv_jinja_alloc(j, 2, sizeof *pair);
        pair[0] = first;
        pair[1] = fkv_jinja_sequence(J_LIST, group.items, group.n);
        fkv_jinja_push(j, &groups, fkv_jinja_sequence(J_TUPLE, pair, 2));
        groups.items[groups.n - 1].tag = J_GROUP;
    }
    return fkv_jinja_sequence(J_LIST, groups.items, groups.n);
}

/* An attribute, never a member of a dict. */
static jvalue f_attr(jinja *j, const jcall *c)
{
    const jvalue name = fkv_jinja_str(j, c->a[0]);
    if (c->self.kind == J_UNDEFINED) fkv_jinja_fail_undefined(j, c->self);
    if (c->self.kind == J_DICT) {
        jvalue method;
        return fkv_jinja_method(j, c->self, name, &method) ? method : fkv_jinja_undefined(name);
    }
    return fkv_jinja_attribute(j, c->self, name);
}

static jvalue extreme(jinja *j, const jcall *c, int sign)
{
    jvalue items = fkv_jinja_iterate(j, c->self, J_LIST), best = undefined("the extreme of nothing"), best_key = best;
    for (size_t i = 0; i < items.n; i++) {
        jvalue key = without_case(j, follow(j, items.items[i], c->a[1]), fkv_jinja_true(c->a[0]));
        if (i && sign * fkv_jinja_compare(j, key, best_key) <= 0) continue;
        best = items.items[i];
        best_key = key;
    }
    return best;
}

static jvalue f_min(jinja *j, const jcall *c) { return extreme(j, c, -1); }
static jvalue f_max(jinja *j, const jcall *c) { return extreme(j, c, 1); }

static jvalue f_sum(jinja *j, const jcall *c)
{
    jvalue items = fkv_jinja_iterate(j, c->self, J_LIST), sum = c->a[1].kind == J_ABSENT ? fkv_jinja_int(0) : c->a[1];
    if (sum.kind == J_STRING) fkv_jinja_bad(j, "sum: strings are joined, not summed");
    for (size_t i = 0; i < items.n; i++) sum = fkv_jinja_binary(j, '+', sum, follow(j, items.items[i], c->a[0]));
    return sum;
}

const jbuiltin fkv_jinja_sequence_filters[] = {
    {"attr", "name", f_attr},
    {"batch", "linecount ?fill_with", f_batch},
    {"count", "", f_length},
    {"dictsort", "?case_sensitive ?by ?reverse", f_dictsort},
    {"first", "", f_first},
    {"groupby", "attribute ?default ?case_sensitive", f_groupby},
    {"items", "", f_items},
    {"join", "?d ?attribute", f_join},
    {"last", "", f_last},
    {"length", "", f_length},
    {"list", "", f_list},
    {"map", "*", f_map},
    {"max", "?case_sensitive ?attribute", f_max},
    {"min", "?case_sensitive ?attribute", f_min},
    {"reject", "*", f_reject},
    {"rejectattr", "*", f_rejectattr},
    {"reverse", "", f_reverse},
    {"select", "*", f_select},
    {"selectattr", "*", f_selectattr},
    {"slice", "slices ?fill_with", f_slice},
    {"sort", "?reverse ?case_sensitive ?attribute", f_sort},
    {"sum", "?attribute ?start", f_sum},
    {"unique", "?case_sensitive ?attribute", f_unique},
    {0},
};
