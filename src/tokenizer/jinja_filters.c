/* Filters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/jinja_run.h"

/* Text. */

static jvalue f_trim(jinja *j, const jcall *c) { return fkv_jinja_strip(j, fkv_jinja_str(j, c->self), c->a[0], true, true); }
static jvalue f_upper(jinja *j, const jcall *c) { return fkv_jinja_recase(j, fkv_jinja_str(j, c->self), J_UPPER); }
static jvalue f_lower(jinja *j, const jcall *c) { return fkv_jinja_recase(j, fkv_jinja_str(j, c->self), J_LOWER); }
static jvalue f_title(jinja *j, const jcall *c) { return fkv_jinja_recase(j, fkv_jinja_str(j, c->self), J_TITLE_FILTER); }
static jvalue f_capitalize(jinja *j, const jcall *c) { return fkv_jinja_recase(j, fkv_jinja_str(j, c->self), J_CAPITALIZED); }
static jvalue f_string(jinja *j, const jcall *c) { return fkv_jinja_str(j, c->self); }
static jvalue f_safe(jinja *j, const jcall *c) { return fkv_jinja_str(j, c->self); }

static jvalue f_replace(jinja *j, const jcall *c)
{
    jvalue old = fkv_jinja_str(j, c->a[0]), new = fkv_jinja_str(j, c->a[1]);
    int64_t at_most = c->a[2].kind == J_NONE ? -1 : fkv_jinja_integer_argument(j, c->a[2], -1);
    return fkv_jinja_replace(j, fkv_jinja_str(j, c->self), old, new, at_most);
}

static jvalue f_escape(jinja *j, const jcall *c)
{
    static const char special[] = "&<>'\"", *const entities[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    jvalue s = fkv_jinja_str(j, c->self);
    jbuffer text = {0};
    for (size_t i = 0; i < s.n; i++) {
        const char *known = s.text[i] ? strchr(special, s.text[i]) : NULL;
        if (known)
            fkv_jinja_put(j, &text, entities[known - special], strlen(entities[known - special]));
        else
            fkv_jinja_put(j, &text, s.text + i, 1);
    }
    return fkv_jinja_taken(&text);
}

static jvalue spaces(jinja *j, jvalue width, int64_t otherwise)
{
    if (width.kind == J_STRING)
        return width;
    return fkv_jinja_binary(j, '*', fkv_jinja_string(" ", 1), fkv_jinja_int(fkv_jinja_integer_argument(j, width, otherwise)));
}

static jvalue f_indent(jinja *j, const jcall *c)
{
    jvalue indent = spaces(j, c->a[0], 4);
    bool first = fkv_jinja_true(c->a[1]), blank = fkv_jinja_true(c->a[2]);
    jbuffer text = {0};
    fkv_jinja_put_string(j, &text, fkv_jinja_string_argument(j, c->self));
    fkv_jinja_put(j, &text, "\n", 1);
    jvalue lines = fkv_jinja_split_lines(j, fkv_jinja_taken(&text), false);
    jbuffer out = {0};
    for (size_t i = 0; i < lines.n; i++) {
        if (i)
            fkv_jinja_put(j, &out, "\n", 1);
        if (i ? blank || lines.items[i].n : first)
            fkv_jinja_put_string(j, &out, indent);
        fkv_jinja_put_string(j, &out, lines.items[i]);
    }
    return fkv_jinja_taken(&out);
}

static jvalue f_tojson(jinja *j, const jcall *c)
{
    bool indented = c->a[1].kind != J_ABSENT && c->a[1].kind != J_NONE;
    struct jjson style = {
        .ascii = fkv_jinja_true(c->a[0]),
        .indent = indented ? spaces(j, c->a[1], 0) : (jvalue){0},
        .item_separator = fkv_jinja_string(", ", indented ? 1 : 2),
        .key_separator = fkv_jinja_string(": ", 2),
        .sort = fkv_jinja_true(c->a[3]),
    };
    if (c->a[2].kind != J_ABSENT && c->a[2].kind != J_NONE) {
        jvalue separators = fkv_jinja_iterate(j, c->a[2], J_LIST);
        if (separators.n != 2)
            fkv_jinja_bad(j, "tojson: expected two separators");
        style.item_separator = fkv_jinja_string_argument(j, separators.items[0]);
        style.key_separator = fkv_jinja_string_argument(j, separators.items[1]);
    }
    jbuffer text = {0};
    fkv_jinja_put_json(j, &text, c->self, &style, 0);
    return fkv_jinja_taken(&text);
}

/* Numbers. */

/* A number spelled in decimal, spaces around it allowed. */
static bool parse_number(jvalue s, double *number)
{
    char digits[64], *end;
    if (s.n == 0 || s.n >= sizeof digits)
        return false;
    memcpy(digits, s.text, s.n);
    digits[s.n] = 0;
    if (strspn(digits, "0123456789+-.eE") != s.n)
        return false;
    *number = strtod(digits, &end);
    return *end == 0;
}

static jvalue f_float(jinja *j, const jcall *c)
{
    double number;
    if (c->self.kind == J_UNDEFINED)
        fkv_jinja_fail_undefined(j, c->self);
    if (fkv_jinja_is_number(c->self))
        return fkv_jinja_float(fkv_jinja_number(c->self));
    if (c->self.kind == J_STRING && parse_number(fkv_jinja_strip(j, c->self, (jvalue){0}, true, true), &number))
        return fkv_jinja_float(number);
    return c->a[0].kind == J_ABSENT ? fkv_jinja_float(0) : c->a[0];
}

static jvalue f_int(jinja *j, const jcall *c)
{
    if (fkv_jinja_is_integer(c->self))
        return fkv_jinja_int(c->self.integer);
    jvalue s = c->self.kind == J_STRING ? fkv_jinja_strip(j, c->self, (jvalue){0}, true, true) : (jvalue){0};
    bool negative = s.n && s.text[0] == '-';
    size_t at = negative || (s.n && s.text[0] == '+'), start = at;
    int64_t value = 0;
    bool over = false;
    for (; at < s.n && s.text[at] >= '0' && s.text[at] <= '9' && !over; at++) {
        int digit = s.text[at] - '0';
        over = __builtin_mul_overflow(value, 10, &value) || __builtin_sub_overflow(value, digit, &value);
    }
    if (over || (!negative && value == INT64_MIN))
        fkv_jinja_lacks(j, "integers above 64 bits are not supported");
    if (at == s.n && at > start)
        return fkv_jinja_int(negative ? value : -value);
    jcall as_float = {.self = c->self, .a = {fkv_jinja_float(NAN)}};
    double number = fkv_jinja_number(f_float(j, &as_float)); /* so that "42.9" gives 42 */
    if (isnan(number))
        return c->a[0].kind == J_ABSENT ? fkv_jinja_int(0) : c->a[0];
    if (fabs(number) >= 9.2e18)
        fkv_jinja_lacks(j, "integers above 64 bits are not supported");
    return fkv_jinja_int((int64_t)number);
}

static jvalue f_abs(jinja *j, const jcall *c)
{
    bool negative = fkv_jinja_is_number(c->self) && (c->self.kind == J_FLOAT ? signbit(c->self.number) : c->self.integer < 0);
    jvalue negated = fkv_jinja_negate(j, c->self);
    return negative ? negated : fkv_jinja_negate(j, negated);
}

static jvalue f_round(jinja *j, const jcall *c)
{
    int64_t precision = fkv_jinja_integer_argument(j, c->a[0], 0);
    jvalue method = c->a[1].kind == J_ABSENT ? fkv_jinja_string("common", 6) : fkv_jinja_string_argument(j, c->a[1]);
    bool common = method.n == 6 && !memcmp(method.text, "common", 6), up = method.n == 4 && !memcmp(method.text, "ceil", 4);
    if (!common && !up && !(method.n == 5 && !memcmp(method.text, "floor", 5)))
        fkv_jinja_bad(j, "round: the method must be common, ceil or floor");
    if (!fkv_jinja_is_number(c->self))
        fkv_jinja_bad(j, "round: expected a number, found %s", fkv_jinja_type_name(c->self));
    if (precision < 0 || precision > 15)
        fkv_jinja_lacks(j, "round: a precision outside of 0 .. 15 is not supported");
    if (common && fkv_jinja_is_integer(c->self))
        return fkv_jinja_int(c->self.integer);
    double number = fkv_jinja_number(c->self), scale = pow(10, (double)precision);
    if (!common)
        return fkv_jinja_float((up ? ceil(number * scale) : floor(number * scale)) / scale);
    char text[400]; /* the exact decimal value decides, halves go to the even digit */
    snprintf(text, sizeof text, "%.*f", (int)precision, number);
    return fkv_jinja_float(strtod(text, NULL));
}

/* Sequences. */

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
    if (c->self.kind == J_ITERATOR)
        fkv_jinja_bad(j, "last: an iterator has no last item (make it a list first)");
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
        if (c->self.kind == J_STRING)
            fkv_jinja_put_string(j, &text, reversed[i]);
    }
    return c->self.kind == J_STRING ? fkv_jinja_taken(&text) : fkv_jinja_sequence(J_ITERATOR, reversed, items.n);
}

static jvalue f_default(jinja *j, const jcall *c)
{
    (void)j;
    jvalue otherwise = c->a[0].kind == J_ABSENT ? fkv_jinja_string("", 0) : c->a[0];
    bool replaced = fkv_jinja_true(c->a[1]) ? !fkv_jinja_true(c->self) : c->self.kind == J_UNDEFINED;
    return replaced ? otherwise : c->self;
}

/* item.a.b for the path "a.b"; parts of digits are indices. J_ABSENT or None: the item itself. */
static jvalue follow(jinja *j, jvalue item, jvalue path)
{
    if (path.kind == J_ABSENT || path.kind == J_NONE)
        return item;
    if (path.kind != J_STRING)
        return fkv_jinja_item(j, item, path);
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
        if (i)
            fkv_jinja_put_string(j, &text, separator);
        fkv_jinja_put_str(j, &text, follow(j, items.items[i], c->a[1]));
    }
    return fkv_jinja_taken(&text);
}

static jvalue named(const jargs *args, const char *name)
{
    for (size_t i = 0; i < args->n_named; i++)
        if (args->named[i].key.n == strlen(name) && !memcmp(args->named[i].key.text, name, strlen(name)))
            return args->named[i].value;
    return (jvalue){0};
}

/* map("filter", its arguments ...) or map(attribute="path", default=...). */
static jvalue f_map(jinja *j, const jcall *c)
{
    jvalue items = fkv_jinja_iterate(j, c->self, J_ITERATOR), attribute = named(c->args, "attribute"), otherwise = named(c->args, "default");
    jvalue *mapped = fkv_jinja_alloc(j, items.n, sizeof *mapped);
    jargs rest = {.values = c->args->values + 1, .n = c->args->n - 1, .named = c->args->named, .n_named = c->args->n_named};
    if (!c->args->n && attribute.kind == J_ABSENT)
        fkv_jinja_bad(j, "map: expected a filter or an attribute");
    for (size_t i = 0; i < items.n; i++) {
        if (c->args->n)
            mapped[i] = fkv_jinja_filter(j, c->args->values[0], items.items[i], &rest);
        else
            mapped[i] = follow(j, items.items[i], attribute);
        if (!c->args->n && mapped[i].kind == J_UNDEFINED && otherwise.kind != J_ABSENT)
            mapped[i] = otherwise;
    }
    return fkv_jinja_sequence(J_ITERATOR, mapped, items.n);
}

/* ([attribute,] [test, its arguments ...]): the items for which the test, or else the value itself, is as `wanted`. */
static jvalue filter_items(jinja *j, const jcall *c, bool by_attribute, bool wanted)
{
    jitems chosen = {0};
    if (!fkv_jinja_true(c->self))
        return fkv_jinja_sequence(J_ITERATOR, NULL, 0);
    jvalue items = fkv_jinja_iterate(j, c->self, J_LIST);
    size_t used = by_attribute, n = c->args->n;
    if (n < used)
        fkv_jinja_bad(j, "expected the name of an attribute");
    jargs rest = {.named = c->args->named, .n_named = c->args->n_named};
    if (n > used + 1) {
        rest.values = c->args->values + used + 1;
        rest.n = n - used - 1;
    }
    for (size_t i = 0; i < items.n; i++) {
        jvalue value = by_attribute ? follow(j, items.items[i], c->args->values[0]) : items.items[i];
        bool holds = n > used ? fkv_jinja_test(j, c->args->values[used], value, &rest) : fkv_jinja_true(value);
        if (holds == wanted)
            fkv_jinja_push(j, &chosen, items.items[i]);
    }
    return fkv_jinja_sequence(J_ITERATOR, chosen.items, chosen.n);
}

static jvalue f_select(jinja *j, const jcall *c) { return filter_items(j, c, false, true); }
static jvalue f_reject(jinja *j, const jcall *c) { return filter_items(j, c, false, false); }
static jvalue f_selectattr(jinja *j, const jcall *c) { return filter_items(j, c, true, true); }
static jvalue f_rejectattr(jinja *j, const jcall *c) { return filter_items(j, c, true, false); }

static jvalue f_items(jinja *j, const jcall *c)
{
    if (c->self.kind == J_UNDEFINED)
        return fkv_jinja_sequence(J_ITERATOR, NULL, 0);
    if (c->self.kind != J_DICT)
        fkv_jinja_bad(j, "items: expected a dict, found %s", fkv_jinja_type_name(c->self));
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
    if (n < 2)
        return;
    fkv_jinja_enter(j);
    merge_sort(j, from, to, half, sign);
    merge_sort(j, from + half, to + half, n - half, sign);
    for (size_t i = 0; i < n; i++) {
        bool take_right = left == half || (right < n && sign * fkv_jinja_compare(j, from[right].key, from[left].key) < 0);
        to[i] = from[take_right ? right++ : left++];
    }
    memcpy(from, to, n * sizeof *from);
    fkv_jinja_leave(j);
}

static jvalue sorted(jinja *j, jpair *pairs, size_t n, bool reverse)
{
    jvalue *items = fkv_jinja_alloc(j, n, sizeof *items);
    merge_sort(j, pairs, fkv_jinja_alloc(j, n, sizeof *pairs), n, reverse ? -1 : 1);
    for (size_t i = 0; i < n; i++)
        items[i] = pairs[i].value;
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
    if (c->self.kind != J_DICT)
        fkv_jinja_bad(j, "dictsort: expected a dict, found %s", fkv_jinja_type_name(c->self));
    jvalue by = c->a[1].kind == J_ABSENT ? fkv_jinja_string("key", 3) : fkv_jinja_string_argument(j, c->a[1]);
    bool by_value = by.n == 5 && !memcmp(by.text, "value", 5);
    if (!by_value && !(by.n == 3 && !memcmp(by.text, "key", 3)))
        fkv_jinja_bad(j, "dictsort: expected 'key' or 'value'");
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
        if (fkv_jinja_contains(j, fkv_jinja_sequence(J_LIST, keys.items, keys.n), key))
            continue;
        fkv_jinja_push(j, &keys, key);
        fkv_jinja_push(j, &chosen, items.items[i]);
    }
    return fkv_jinja_sequence(J_ITERATOR, chosen.items, chosen.n);
}

static jvalue extreme(jinja *j, const jcall *c, int sign)
{
    jvalue items = fkv_jinja_iterate(j, c->self, J_LIST), best = undefined("the extreme of nothing"), best_key = best;
    for (size_t i = 0; i < items.n; i++) {
        jvalue key = without_case(j, follow(j, items.items[i], c->a[1]), fkv_jinja_true(c->a[0]));
        if (i && sign * fkv_jinja_compare(j, key, best_key) <= 0)
            continue;
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
    if (sum.kind == J_STRING)
        fkv_jinja_bad(j, "sum: strings are joined, not summed");
    for (size_t i = 0; i < items.n; i++)
        sum = fkv_jinja_binary(j, '+', sum, follow(j, items.items[i], c->a[0]));
    return sum;
}

const jbuiltin fkv_jinja_filters[] = {
    {"abs", "", f_abs},
    {"capitalize", "", f_capitalize},
    {"count", "", f_length},
    {"d", "?default_value ?boolean", f_default},
    {"default", "?default_value ?boolean", f_default},
    {"dictsort", "?case_sensitive ?by ?reverse", f_dictsort},
    {"e", "", f_escape},
    {"escape", "", f_escape},
    {"first", "", f_first},
    {"float", "?default", f_float},
    {"indent", "?width ?first ?blank", f_indent},
    {"int", "?default", f_int},
    {"items", "", f_items},
    {"join", "?d ?attribute", f_join},
    {"last", "", f_last},
    {"length", "", f_length},
    {"list", "", f_list},
    {"lower", "", f_lower},
    {"map", "*", f_map},
    {"max", "?case_sensitive ?attribute", f_max},
    {"min", "?case_sensitive ?attribute", f_min},
    {"reject", "*", f_reject},
    {"rejectattr", "*", f_rejectattr},
    {"replace", "old new ?count", f_replace},
    {"reverse", "", f_reverse},
    {"round", "?precision ?method", f_round},
    {"safe", "", f_safe},
    {"select", "*", f_select},
    {"selectattr", "*", f_selectattr},
    {"sort", "?reverse ?case_sensitive ?attribute", f_sort},
    {"string", "", f_string},
    {"sum", "?attribute ?start", f_sum},
    {"title", "", f_title},
    {"tojson", "?ensure_ascii ?indent ?separators ?sort_keys", f_tojson},
    {"trim", "?chars", f_trim},
    {"unique", "?case_sensitive ?attribute", f_unique},
    {"upper", "", f_upper},
    {0},
};
