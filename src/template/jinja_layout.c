/* Methods and filters that lay text out: padding, wrapping, cutting, quoting. */
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "template/jinja_spec.h"

static jvalue part(jvalue s, size_t from, size_t to) { return fkv_jinja_string(s.text + from, to - from); }

static int64_t length_of(jinja *j, jvalue s) { return (int64_t)fkv_jinja_length(j, s); }

jvalue fkv_jinja_pad(jinja *j, jvalue s, int64_t width, int32_t fill, char align)
{
    const int64_t missing = width - length_of(j, s);
    if (missing <= 0) return s;
    /* as Python's center(): the odd one goes left when the width is odd */
    const int64_t left = align == '>' ? missing : align == '^' ? missing / 2 + (missing & width & 1) : 0;
    jbuffer b = {0};
    for (int64_t i = 0; i < missing; i++) {
        if (i == left) fkv_jinja_put_string(j, &b, s);
        fkv_jinja_put_character(j, &b, fill);
    }
    if (left == missing) fkv_jinja_put_string(j, &b, s);
    return fkv_jinja_taken(&b);
}

static jvalue justify(jinja *j, const jcall *c, char align)
{
    jvalue fill = c->a[1].kind == J_ABSENT ? fkv_jinja_string(" ", 1) : fkv_jinja_string_argument(j, c->a[1]);
    size_t size;
    if (length_of(j, fill) != 1) fkv_jinja_bad(j, "the fill must be one character");
    return fkv_jinja_pad(j, c->self, fkv_jinja_integer_argument(j, c->a[0], 0),
                         fkv_jinja_character(fill.text, fill.n, 0, &size), align);
}

static jvalue s_ljust(jinja *j, const jcall *c) { return justify(j, c, '<'); }
static jvalue s_rjust(jinja *j, const jcall *c) { return justify(j, c, '>'); }
static jvalue s_center(jinja *j, const jcall *c) { return justify(j, c, '^'); }

static jvalue s_zfill(jinja *j, const jcall *c)
{
    const jvalue s = c->self;
    const size_t sign = s.n && (s.text[0] == '-' || s.text[0] == '+');
    const int64_t width = fkv_jinja_integer_argument(j, c->a[0], 0);
    if (width <= length_of(j, s)) return s;
    jbuffer b = {0};
    fkv_jinja_put(j, &b, s.text, sign);
    fkv_jinja_put_string(j, &b, fkv_jinja_pad(j, part(s, sign, s.n), width - (int64_t)sign, '0', '>'));
    return fkv_jinja_taken(&b);
}

/* head, sep, tail; without sep in the text, all of it and two empty ones. */
static jvalue partition(jinja *j, const jcall *c, bool last)
{
    const jvalue s = c->self, by = fkv_jinja_string_argument(j, c->a[0]);
    if (by.n == 0) fkv_jinja_bad(j, "partition: the separator is empty");
    fkv_jinja_work_text(j, s.n);
    const int64_t at = last ? fkv_jinja_search_last(j, s, by) : fkv_jinja_search(s, 0, by);
    jvalue *three = fkv_jinja_alloc(j, 3, sizeof *three);
    for (int i = 0; i < 3; i++) three[i] = part(s, 0, 0);
    if (at == J_NOT_FOUND) {
        three[last ? 2 : 0] = s;
    } else {
        three[0] = part(s, 0, (size_t)at);
        three[1] = by;
        three[2] = part(s, (size_t)at + by.n, s.n);
    }
    return fkv_jinja_sequence(J_TUPLE, three, 3);
}

static jvalue s_partition(jinja *j, const jcall *c) { return partition(j, c, false); }
static jvalue s_rpartition(jinja *j, const jcall *c) { return partition(j, c, true); }

static jvalue s_format(jinja *j, const jcall *c) { return fkv_jinja_format(j, c->self, c->args); }

static jvalue s_format_map(jinja *j, const jcall *c)
{
    if (c->a[0].kind != J_DICT) fkv_jinja_bad(j, "format_map: expected a dict, found %s", fkv_jinja_type_name(c->a[0]));
    const jargs args = {.named = c->a[0].pairs, .n_named = c->a[0].n};
    return fkv_jinja_format(j, c->self, &args);
}

static jvalue s_expandtabs(jinja *j, const jcall *c)
{
    const int64_t tab = fkv_jinja_integer_argument(j, c->a[0], 8);
    int64_t column = 0;
    jbuffer b = {0};
    fkv_jinja_work_characters(j, c->self.n);
    for (size_t at = 0, size; at < c->self.n; at += size) {
        const int32_t ch = fkv_jinja_character(c->self.text, c->self.n, at, &size);
        if (ch == '\t') {
            for (int64_t n = tab > 0 ? tab - column % tab : 0; n > 0; n--, column++) fkv_jinja_put(j, &b, " ", 1);
            continue;
        }
        fkv_jinja_put(j, &b, c->self.text + at, size);
        column = ch == '\n' || ch == '\r' ? 0 : column + 1;
    }
    return fkv_jinja_taken(&b);
}

/* By a dict from characters' numbers to texts, numbers or none. */
static jvalue s_translate(jinja *j, const jcall *c)
{
    const jvalue s = c->self, table = c->a[0];
    jbuffer b = {0};
    if (table.kind != J_DICT) fkv_jinja_lacks(j, "translate by %s is not supported", fkv_jinja_type_name(table));
    for (size_t at = 0, size; at < s.n; at += size) {
        const int32_t ch = fkv_jinja_character(s.text, s.n, at, &size);
        const jvalue *to = fkv_jinja_find(j, table.pairs, table.n, fkv_jinja_int(ch));
        if (!to)
            fkv_jinja_put(j, &b, s.text + at, size);
        else if (fkv_jinja_is_integer(*to))
            fkv_spec_put_character(j, &b, &(struct fkv_spec){.why = "translate"}, to->integer);
        else if (to->kind != J_NONE)
            fkv_jinja_put_string(j, &b, fkv_jinja_string_argument(j, *to));
    }
    return fkv_jinja_taken(&b);
}

static jvalue s_isascii(jinja *j, const jcall *c)
{
    fkv_jinja_work_text(j, c->self.n);
    for (size_t i = 0; i < c->self.n; i++)
        if (c->self.text[i] & 0x80) return fkv_jinja_bool(false);
    return fkv_jinja_bool(true);
}

/* Upper case where a word starts and nowhere else. */
static jvalue s_istitle(jinja *j, const jcall *c)
{
    bool cased = false, within = false;
    fkv_jinja_work_characters(j, c->self.n);
    for (size_t at = 0, size; at < c->self.n; at += size) {
        const utf8proc_category_t kind = utf8proc_category(fkv_jinja_character(c->self.text, c->self.n, at, &size));
        const bool upper = kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LT;
        const bool lower = kind == UTF8PROC_CATEGORY_LL;
        if ((upper && within) || (lower && !within)) return fkv_jinja_bool(false);
        within = upper || lower;
        cased = cased || within;
    }
    return fkv_jinja_bool(cased);
}

const jbuiltin fkv_jinja_layout_methods[] = {
    {"ljust", "width ?fillchar", s_ljust},
    {"rjust", "width ?fillchar", s_rjust},
    {"center", "width ?fillchar", s_center},
    {"zfill", "width", s_zfill},
    {"partition", "sep", s_partition},
    {"rpartition", "sep", s_rpartition},
    {"format", "*", s_format},
    {"format_map", "mapping", s_format_map},
    {"translate", "table", s_translate},
    {"expandtabs", "?tabsize", s_expandtabs},
    {"isascii", "", s_isascii},
    {"istitle", "", s_istitle},
    {0},
};

/* ---- filters --------------------------------------------------------------------------------- */

static jvalue f_center(jinja *j, const jcall *c)
{
    return fkv_jinja_pad(j, fkv_jinja_str(j, c->self), fkv_jinja_integer_argument(j, c->a[0], 80), ' ', '^');
}

/* format|format(values): the % operator. */
static jvalue f_format(jinja *j, const jcall *c)
{
    if (c->args->n && c->args->n_named) fkv_jinja_bad(j, "format: expected values or names, found both");
    const jvalue named = {.kind = J_DICT, .n = c->args->n_named, .pairs = c->args->named};
    const jvalue values = fkv_jinja_sequence(J_TUPLE, c->args->values, c->args->n);
    return fkv_jinja_percent(j, fkv_jinja_str(j, c->self), c->args->n_named ? named : values);
}

static jvalue f_wordcount(jinja *j, const jcall *c)
{
    const jvalue s = fkv_jinja_str(j, c->self);
    int64_t n = 0;
    bool within = false;
    fkv_jinja_work_characters(j, s.n);
    for (size_t at = 0, size; at < s.n; at += size) {
        const int32_t ch = fkv_jinja_character(s.text, s.n, at, &size);
        const utf8proc_category_t kind = utf8proc_category(ch);
        const bool word = ch == '_' || (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO) ||
                          (kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO);
        n += word && !within;
        within = word;
    }
    return fkv_jinja_int(n);
}

/* At most `length` characters, `end` included; by default whole words, and up to 5 characters more than allowed. */
static jvalue f_truncate(jinja *j, const jcall *c)
{
    if (c->self.kind == J_UNDEFINED) return c->self;
    const jvalue s = fkv_jinja_string_argument(j, c->self);
    const jvalue end = c->a[2].kind == J_ABSENT ? fkv_jinja_string("...", 3) : fkv_jinja_string_argument(j, c->a[2]);
    const int64_t length = fkv_jinja_integer_argument(j, c->a[0], 255);
    const int64_t leeway = c->a[3].kind == J_NONE ? 5 : fkv_jinja_integer_argument(j, c->a[3], 5);
    const int64_t n_end = length_of(j, end);
    if (length < n_end) fkv_jinja_bad(j, "truncate: expected a length of at least %lld", (long long)n_end);
    if (leeway < 0) fkv_jinja_bad(j, "truncate: expected a leeway of at least 0");
    if (length_of(j, s) <= length + leeway) return s;
    jvalue kept = part(s, 0, fkv_jinja_offset(s.text, s.n, (size_t)(length - n_end)));
    if (!fkv_jinja_true(c->a[1])) {
        const int64_t space = fkv_jinja_search_last(j, kept, fkv_jinja_string(" ", 1));
        if (space != J_NOT_FOUND) kept.n = (size_t)space;
    }
    jbuffer b = {0};
    fkv_jinja_put_string(j, &b, kept);
    fkv_jinja_put_string(j, &b, end);
    return fkv_jinja_taken(&b);
}

static jvalue url_text(jinja *j, jvalue s, bool query)
{
    static const char digits[] = "0123456789ABCDEF", plain[] = "_.-~";
    jbuffer b = {0};
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char ch = (unsigned char)s.text[i];
        const bool safe = (ch >= '0' && ch <= '9') || ((ch | 32) >= 'a' && (ch | 32) <= 'z') ||
                          (ch && strchr(plain, ch)) || (ch == '/' && !query);
        const char escaped[3] = {'%', digits[ch >> 4], digits[ch & 15]};
        if (safe)
            fkv_jinja_put(j, &b, s.text + i, 1);
        else if (ch == ' ' && query)
            fkv_jinja_put(j, &b, "+", 1);
        else
            fkv_jinja_put(j, &b, escaped, 3);
    }
    return fkv_jinja_taken(&b);
}

/* A text for a path, pairs for a query. */
static jvalue f_urlencode(jinja *j, const jcall *c)
{
    if (c->self.kind == J_STRING || (c->self.kind != J_DICT && !fkv_jinja_is_sequence(c->self)))
        return url_text(j, fkv_jinja_str(j, c->self), false);
    const jvalue pairs = c->self.kind == J_DICT ? fkv_jinja_pairs_of(j, c->self, J_LIST) : c->self;
    jbuffer b = {0};
    for (size_t i = 0; i < pairs.n; i++) {
        const jvalue pair = fkv_jinja_iterate(j, pairs.items[i], J_LIST);
        if (pair.n != 2) fkv_jinja_bad(j, "urlencode: expected pairs of key and value");
        if (i) fkv_jinja_put(j, &b, "&", 1);
        fkv_jinja_put_string(j, &b, url_text(j, fkv_jinja_str(j, pair.items[0]), true));
        fkv_jinja_put(j, &b, "=", 1);
        fkv_jinja_put_string(j, &b, url_text(j, fkv_jinja_str(j, pair.items[1]), true));
    }
    return fkv_jinja_taken(&b);
}

static jvalue f_filesizeformat(jinja *j, const jcall *c)
{
    static const char *const units[2][8] = {{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"},
                                            {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}};
    if (!fkv_jinja_is_number(c->self))
        fkv_jinja_lacks(j, "filesizeformat of %s is not supported", fkv_jinja_type_name(c->self));
    const bool binary = fkv_jinja_true(c->a[0]);
    const double base = binary ? 1024 : 1000, bytes = fkv_jinja_number(c->self);
    char text[64];
    if (bytes < base) {
        snprintf(text, sizeof text, bytes == 1 ? "%.0f Byte" : "%.0f Bytes", (double)(int64_t)bytes);
    } else {
        int unit = 0;
        double scale = base * base;
        for (; unit < 7 && bytes >= scale; unit++) scale *= base;
        snprintf(text, sizeof text, "%.1f %s", base * bytes / scale, units[binary][unit]);
    }
    jbuffer b = {0};
    fkv_jinja_put(j, &b, text, strlen(text));
    return fkv_jinja_taken(&b);
}

const jbuiltin fkv_jinja_layout_filters[] = {
    {"center", "?width", f_center},
    {"filesizeformat", "?binary", f_filesizeformat},
    {"format", "*", f_format},
    {"truncate", "?length ?killwords ?end ?leeway", f_truncate},
    {"urlencode", "", f_urlencode},
    {"wordcount", "", f_wordcount},
    {0},
};
