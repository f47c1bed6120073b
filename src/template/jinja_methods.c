/* Methods of strings, lists and dicts. Those that would change a list or dict do not exist, as in the sandbox of
   transformers. */
#include <string.h>
#include <utf8proc.h>

#include "template/jinja_run.h"

static jvalue strip(jinja *j, const jcall *c, bool left, bool right)
{
    jvalue chars = c->a[0];
    if (chars.kind != J_ABSENT && chars.kind != J_NONE) fkv_jinja_string_argument(j, chars);
    return fkv_jinja_strip(j, c->self, chars, left, right);
}

static jvalue s_strip(jinja *j, const jcall *c) { return strip(j, c, true, true); }
static jvalue s_lstrip(jinja *j, const jcall *c) { return strip(j, c, true, false); }
static jvalue s_rstrip(jinja *j, const jcall *c) { return strip(j, c, false, true); }
static jvalue s_upper(jinja *j, const jcall *c) { return fkv_jinja_recase(j, c->self, J_UPPER); }
static jvalue s_lower(jinja *j, const jcall *c) { return fkv_jinja_recase(j, c->self, J_LOWER); }
/* Beside lower(), only the common sharp s and the final sigma become another text. */
static jvalue s_casefold(jinja *j, const jcall *c)
{
    const jvalue lower = fkv_jinja_recase(j, c->self, J_LOWER);
    const jvalue plain = fkv_jinja_replace(j, lower, fkv_jinja_string("ß", 2), fkv_jinja_string("ss", 2), -1);
    return fkv_jinja_replace(j, plain, fkv_jinja_string("ς", 2), fkv_jinja_string("σ", 2), -1);
}
static jvalue s_swapcase(jinja *j, const jcall *c) { return fkv_jinja_recase(j, c->self, J_SWAPPED); }
static jvalue s_title(jinja *j, const jcall *c) { return fkv_jinja_recase(j, c->self, J_TITLE_METHOD); }
static jvalue s_capitalize(jinja *j, const jcall *c) { return fkv_jinja_recase(j, c->self, J_CAPITALIZED); }

static jvalue part(jvalue s, size_t from, size_t to) { return fkv_jinja_string(s.text + from, to - from); }

static jvalue list_of(const jitems *items) { return fkv_jinja_sequence(J_LIST, items->items, items->n); }

/* Words between runs of white space; the last part of a limited split keeps its own. */
static jvalue split_words(jinja *j, jvalue s, int64_t at_most)
{
    jitems words = {0};
    fkv_jinja_work_characters(j, s.n);
    size_t at = fkv_jinja_skip_space(s.text, s.n, 0);
    for (; at < s.n && at_most-- != 0;) {
        size_t end = at, size;
        while (end < s.n && !fkv_jinja_is_space(fkv_jinja_character(s.text, s.n, end, &size))) end += size;
        fkv_jinja_push(j, &words, part(s, at, end));
        at = fkv_jinja_skip_space(s.text, s.n, end);
    }
    if (at < s.n) fkv_jinja_push(j, &words, part(s, at, s.n));
    return list_of(&words);
}

static jvalue separator(jinja *j, const jcall *c)
{
    jvalue separator = fkv_jinja_string_argument(j, c->a[0]);
    if (separator.n == 0) fkv_jinja_bad(j, "split: the separator is empty");
    return separator;
}

static jvalue s_split(jinja *j, const jcall *c)
{
    jvalue s = c->self;
    int64_t at_most = fkv_jinja_integer_argument(j, c->a[1], -1);
    if (c->a[0].kind == J_ABSENT || c->a[0].kind == J_NONE) return split_words(j, s, at_most);
    fkv_jinja_work_text(j, s.n);
    jvalue by = separator(j, c);
    jitems parts = {0};
    size_t from = 0;
    for (int64_t hit; at_most-- != 0 && (hit = fkv_jinja_search(s, from, by)) != J_NOT_FOUND; from = (size_t)hit + by.n)
        fkv_jinja_push(j, &parts, part(s, from, (size_t)hit));
    fkv_jinja_push(j, &parts, part(s, from, s.n));
    return list_of(&parts);
}

/* The same from the end. */
static jvalue rsplit_words(jinja *j, jvalue s, int64_t at_most)
{
    const jvalue words = split_words(j, s, -1);
    const size_t n_first = words.n > (size_t)at_most ? words.n - (size_t)at_most : 0;
    jvalue *parts = fkv_jinja_alloc(j, words.n - n_first + 1, sizeof *parts);
    size_t n = 0;
    if (n_first) { /* what is left keeps its own white space, but for that at its end */
        const jvalue last = words.items[n_first - 1];
        parts[n++] = part(s, 0, (size_t)(last.text + last.n - s.text));
    }
    for (size_t i = n_first; i < words.n; i++) parts[n++] = words.items[i];
    return fkv_jinja_sequence(J_LIST, parts, n);
}

static jvalue s_rsplit(jinja *j, const jcall *c)
{
    jvalue s = c->self;
    int64_t at_most = fkv_jinja_integer_argument(j, c->a[1], -1);
    if (at_most < 0) return s_split(j, c);
    if (c->a[0].kind == J_ABSENT || c->a[0].kind == J_NONE) return rsplit_words(j, s, at_most);
    jvalue by = separator(j, c);
    jitems parts = {0};
    for (int64_t hit; at_most-- > 0 && (hit = fkv_jinja_search_last(j, s, by)) != J_NOT_FOUND; s.n = (size_t)hit)
        fkv_jinja_push(j, &parts, part(s, (size_t)hit + by.n, s.n));
    fkv_jinja_push(j, &parts, s);
    for (size_t i = 0; i < parts.n / 2; i++) {
        jvalue other = parts.items[parts.n - 1 - i];
        parts.items[parts.n - 1 - i] = parts.items[i];
        parts.items[i] = other;
    }
    return list_of(&parts);
}

static jvalue s_splitlines(jinja *j, const jcall *c)
{
    return fkv_jinja_split_lines(j, c->self, fkv_jinja_true(c->a[0]));
}

static bool starts_or_ends(jvalue s, jvalue with, bool end)
{
    return with.n <= s.n && !memcmp(s.text + (end ? s.n - with.n : 0), with.text, with.n);
}

/* self[start:end], the second and third argument; *from: the bytes before it. */
static jvalue window(jinja *j, const jcall *c, size_t *from)
{
    *from = 0;
    if (c->a[1].kind == J_ABSENT && c->a[2].kind == J_ABSENT) return c->self;
    const jvalue s = fkv_jinja_slice(j, c->self, c->a[1], c->a[2], (jvalue){0});
    *from = (size_t)(s.text - c->self.text);
    return s;
}

/* The argument may be a tuple of alternatives. */
static jvalue affix(jinja *j, const jcall *c, bool end)
{
    jvalue one = c->a[0], any = one.kind == J_TUPLE ? one : fkv_jinja_sequence(J_TUPLE, &one, 1);
    const jvalue s = window(j, c, &(size_t){0});
    for (size_t i = 0; i < any.n; i++)
        if (starts_or_ends(s, fkv_jinja_string_argument(j, any.items[i]), end)) return fkv_jinja_bool(true);
    return fkv_jinja_bool(false);
}

static jvalue s_startswith(jinja *j, const jcall *c) { return affix(j, c, false); }
static jvalue s_endswith(jinja *j, const jcall *c) { return affix(j, c, true); }

static jvalue s_removeprefix(jinja *j, const jcall *c)
{
    jvalue prefix = fkv_jinja_string_argument(j, c->a[0]);
    return starts_or_ends(c->self, prefix, false) ? part(c->self, prefix.n, c->self.n) : c->self;
}

static jvalue s_removesuffix(jinja *j, const jcall *c)
{
    jvalue suffix = fkv_jinja_string_argument(j, c->a[0]);
    return starts_or_ends(c->self, suffix, true) ? part(c->self, 0, c->self.n - suffix.n) : c->self;
}

static jvalue s_replace(jinja *j, const jcall *c)
{
    jvalue old = fkv_jinja_string_argument(j, c->a[0]), new = fkv_jinja_string_argument(j, c->a[1]);
    if (fkv_jinja_is_markup(c->self)) new = fkv_jinja_escape(j, new);
    return fkv_jinja_replace(j, c->self, old, new, fkv_jinja_integer_argument(j, c->a[2], -1));
}

/* Where the argument stands, as Python counts it: in characters. -1: nowhere. */
static jvalue find_place(jinja *j, const jcall *c, bool last)
{
    size_t from;
    const jvalue what = fkv_jinja_string_argument(j, c->a[0]), s = window(j, c, &from);
    const int64_t at = last ? fkv_jinja_search_last(j, s, what) : fkv_jinja_search(s, 0, what);
    fkv_jinja_work_text(j, c->self.n);
    if (at == J_NOT_FOUND) return fkv_jinja_int(-1);
    return fkv_jinja_int((int64_t)fkv_jinja_n_characters(c->self.text, from + (size_t)at));
}

static jvalue s_find(jinja *j, const jcall *c) { return find_place(j, c, false); }
static jvalue s_rfind(jinja *j, const jcall *c) { return find_place(j, c, true); }

static jvalue must_find(jinja *j, const jcall *c, bool last)
{
    jvalue found = find_place(j, c, last);
    if (found.integer < 0) fkv_jinja_bad(j, "index: the text is not there");
    return found;
}

static jvalue s_index(jinja *j, const jcall *c) { return must_find(j, c, false); }
static jvalue s_rindex(jinja *j, const jcall *c) { return must_find(j, c, true); }

static jvalue s_count(jinja *j, const jcall *c)
{
    size_t from = 0;
    jvalue what = fkv_jinja_string_argument(j, c->a[0]), s = window(j, c, &from);
    fkv_jinja_work_text(j, s.n);
    if (what.n == 0) return fkv_jinja_int((int64_t)fkv_jinja_length(j, s) + 1);
    int64_t n = 0;
    from = 0;
    for (int64_t hit; (hit = fkv_jinja_search(s, from, what)) != J_NOT_FOUND; n++) from = (size_t)hit + what.n;
    return fkv_jinja_int(n);
}

static jvalue s_join(jinja *j, const jcall *c)
{
    jvalue items = fkv_jinja_iterate(j, c->a[0], J_LIST);
    jbuffer text = {0};
    for (size_t i = 0; i < items.n; i++) {
        if (i) fkv_jinja_put_string(j, &text, c->self);
        const jvalue item = fkv_jinja_string_argument(j, items.items[i]);
        fkv_jinja_put_string(j, &text, fkv_jinja_is_markup(c->self) ? fkv_jinja_escape(j, item) : item);
    }
    return fkv_jinja_taken(&text);
}

static bool is_alpha(int32_t c)
{
    return utf8proc_category(c) >= UTF8PROC_CATEGORY_LU && utf8proc_category(c) <= UTF8PROC_CATEGORY_LO;
}
static bool is_digit(int32_t c) { return utf8proc_category(c) == UTF8PROC_CATEGORY_ND; }
static bool is_alnum(int32_t c)
{
    return is_alpha(c) ||
           (utf8proc_category(c) >= UTF8PROC_CATEGORY_ND && utf8proc_category(c) <= UTF8PROC_CATEGORY_NO);
}

/* Not empty, and every character is one. */
static jvalue all_are(jinja *j, jvalue s, bool (*is)(int32_t))
{
    fkv_jinja_work_characters(j, s.n);
    for (size_t at = 0, size; at < s.n; at += size)
        if (!is(fkv_jinja_character(s.text, s.n, at, &size))) return fkv_jinja_bool(false);
    return fkv_jinja_bool(s.n > 0);
}

static jvalue s_isalpha(jinja *j, const jcall *c) { return all_are(j, c->self, is_alpha); }
static jvalue s_isdigit(jinja *j, const jcall *c) { return all_are(j, c->self, is_digit); }
static jvalue s_isalnum(jinja *j, const jcall *c) { return all_are(j, c->self, is_alnum); }
static bool is_numeric(int32_t c)
{
    const utf8proc_category_t kind = utf8proc_category(c);
    return kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO;
}
static jvalue s_isnumeric(jinja *j, const jcall *c) { return all_are(j, c->self, is_numeric); }
static jvalue s_isspace(jinja *j, const jcall *c) { return all_are(j, c->self, fkv_jinja_is_space); }

static jvalue is_cased(jinja *j, const jcall *c, const char *test)
{
    return fkv_jinja_bool(fkv_jinja_test(j, fkv_jinja_string(test, strlen(test)), c->self, c->args));
}

static jvalue s_islower(jinja *j, const jcall *c) { return is_cased(j, c, "lower"); }
static jvalue s_isupper(jinja *j, const jcall *c) { return is_cased(j, c, "upper"); }

const jbuiltin fkv_jinja_string_methods[] = {
    {"strip", "?chars", s_strip},
    {"lstrip", "?chars", s_lstrip},
    {"rstrip", "?chars", s_rstrip},
    {"split", "?sep ?maxsplit", s_split},
    {"rsplit", "?sep ?maxsplit", s_rsplit},
    {"splitlines", "?keepends", s_splitlines},
    {"startswith", "prefix ?start ?end", s_startswith},
    {"endswith", "suffix ?start ?end", s_endswith},
    {"removeprefix", "prefix", s_removeprefix},
    {"removesuffix", "suffix", s_removesuffix},
    {"replace", "old new ?count", s_replace},
    {"upper", "", s_upper},
    {"lower", "", s_lower},
    {"casefold", "", s_casefold},
    {"swapcase", "", s_swapcase},
    {"title", "", s_title},
    {"capitalize", "", s_capitalize},
    {"find", "sub ?start ?end", s_find},
    {"rfind", "sub ?start ?end", s_rfind},
    {"index", "sub ?start ?end", s_index},
    {"rindex", "sub ?start ?end", s_rindex},
    {"count", "sub ?start ?end", s_count},
    {"join", "iterable", s_join},
    {"isalpha", "", s_isalpha},
    {"isdigit", "", s_isdigit},
    {"isdecimal", "", s_isdigit},
    {"isnumeric", "", s_isnumeric},
    {"isalnum", "", s_isalnum},
    {"isspace", "", s_isspace},
    {"islower", "", s_islower},
    {"isupper", "", s_isupper},
    {0},
};

static jvalue l_count(jinja *j, const jcall *c)
{
    const jvalue items = fkv_jinja_iterate(j, c->self, J_LIST);
    int64_t n = 0;
    for (size_t i = 0; i < items.n; i++) n += fkv_jinja_equal(j, items.items[i], c->a[0]);
    return fkv_jinja_int(n);
}

/* Within self[start:end], as an index of self. */
static jvalue l_index(jinja *j, const jcall *c)
{
    const jvalue items = fkv_jinja_iterate(j, c->self, J_LIST);
    const int64_t n = (int64_t)items.n;
    int64_t from = fkv_jinja_integer_argument(j, c->a[1], 0), to = fkv_jinja_integer_argument(j, c->a[2], n);
    if (from < 0) from = from + n < 0 ? 0 : from + n;
    if (to < 0) to += n;
    for (int64_t i = from; i < to && i < n; i++)
        if (fkv_jinja_equal(j, items.items[i], c->a[0])) return fkv_jinja_int(i);
    fkv_jinja_bad(j, "index: the value is not in the list");
}

/* A copy is the same: values do not change. */
static jvalue same(jinja *j, const jcall *c)
{
    (void)j;
    return c->self;
}

const jbuiltin fkv_jinja_list_methods[] = {{"copy", "", same},
                                           {"count", "value", l_count},
                                           {"index", "value ?start ?stop", l_index},
                                           {0}};
const jbuiltin fkv_jinja_tuple_methods[] = {{"count", "value", l_count}, {"index", "value ?start ?stop", l_index}, {0}};
const jbuiltin fkv_jinja_range_methods[] = {{"count", "value", l_count}, {"index", "value", l_index}, {0}};

jvalue fkv_jinja_pairs_of(jinja *j, jvalue dict, enum jkind as)
{
    jvalue *pairs = fkv_jinja_alloc(j, dict.n, sizeof *pairs);
    for (size_t i = 0; i < dict.n; i++) {
        jvalue *pair = fkv_jinja_alloc(j, 2, sizeof *pair);
        pair[0] = dict.pairs[i].key;
        pair[1] = dict.pairs[i].value;
        pairs[i] = fkv_jinja_sequence(J_TUPLE, pair, 2);
    }
    return fkv_jinja_sequence(as, pairs, dict.n);
}

static jvalue view(jvalue items, unsigned tag)
{
    items.tag = tag;
    return items;
}

static jvalue d_items(jinja *j, const jcall *c) { return view(fkv_jinja_pairs_of(j, c->self, J_VIEW), J_ITEMS); }
static jvalue d_keys(jinja *j, const jcall *c) { return fkv_jinja_iterate(j, c->self, J_VIEW); }

static jvalue d_values(jinja *j, const jcall *c)
{
    jvalue *values = fkv_jinja_alloc(j, c->self.n, sizeof *values);
    for (size_t i = 0; i < c->self.n; i++) values[i] = c->self.pairs[i].value;
    return view(fkv_jinja_sequence(J_VIEW, values, c->self.n), J_VALUES);
}

static jvalue d_get(jinja *j, const jcall *c)
{
    const jvalue *found = fkv_jinja_find(j, c->self.pairs, c->self.n, c->a[0]);
    return found ? *found : c->a[1].kind == J_ABSENT ? fkv_jinja_none() : c->a[1];
}

const jbuiltin fkv_jinja_dict_methods[] = {
    {"copy", "", same},   {"get", "key ?default", d_get}, {"items", "", d_items},
    {"keys", "", d_keys}, {"values", "", d_values},       {0},
};
