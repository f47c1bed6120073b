/* Values as text: str(), repr() and json.dumps(). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "template/jinja.h"

static void put_text(jinja *j, jbuffer *b, const char *text) { fkv_jinja_put(j, b, text, strlen(text)); }

/* The shortest digits that read back as the same double, laid out as Python does: exponents outside of 1e-4 .. 1e16. */
static void put_float(jinja *j, jbuffer *b, double x, const char *infinity, const char *nan)
{
    char e[40], digits[24];
    if (!isfinite(x)) {
        put_text(j, b, isnan(x) ? nan : x < 0 ? "-" : "");
        put_text(j, b, isnan(x) ? "" : infinity);
        return;
    }
    for (int precision = 0; precision < 17; precision++) {
        snprintf(e, sizeof e, "%.*e", precision, fabs(x));
        if (strtod(e, NULL) == fabs(x)) break;
    }
    int n = 0, exponent = atoi(strchr(e, 'e') + 1);
    for (const char *p = e; *p != 'e'; p++)
        if (*p >= '0' && *p <= '9') digits[n++] = *p;
    put_text(j, b, signbit(x) ? "-" : "");
    char out[64];
    if (exponent < -4 || exponent >= 16)
        snprintf(out, sizeof out, "%c%s%.*se%+03d", digits[0], n > 1 ? "." : "", n - 1, digits + 1, exponent);
    else if (exponent < 0)
        snprintf(out, sizeof out, "0.%.*s%.*s", -exponent - 1, "000", n, digits);
    else if (n <= exponent + 1)
        snprintf(out, sizeof out, "%.*s%.*s.0", n, digits, exponent + 1 - n, "0000000000000000");
    else
        snprintf(out, sizeof out, "%.*s.%.*s", exponent + 1, digits, n - exponent - 1, digits + exponent + 1);
    put_text(j, b, out);
}

static void put_int(jinja *j, jbuffer *b, int64_t i)
{
    char out[24];
    snprintf(out, sizeof out, "%lld", (long long)i);
    put_text(j, b, out);
}

static bool is_printable(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    case UTF8PROC_CATEGORY_ZS: return c == ' ';
    default: return true;
    }
}

static void put_escaped(jinja *j, jbuffer *b, const char *format, int32_t c)
{
    char out[16];
    snprintf(out, sizeof out, format, (unsigned)c);
    put_text(j, b, out);
}

static void put_code(jinja *j, jbuffer *b, int32_t c)
{
    put_escaped(j, b, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
}

static void put_quoted(jinja *j, jbuffer *b, jvalue s)
{
    bool doubled = s.n && memchr(s.text, '\'', s.n) && !memchr(s.text, '"', s.n);
    const char quote = doubled ? '"' : '\'';
    fkv_jinja_put(j, b, &quote, 1);
    for (size_t at = 0, size; at < s.n; at += size) {
        int32_t c = fkv_jinja_character(s.text, s.n, at, &size);
        if (c == quote || c == '\\')
            put_escaped(j, b, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            put_escaped(j, b, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (is_printable(c))
            fkv_jinja_put(j, b, s.text + at, size);
        else
            put_code(j, b, c);
    }
    fkv_jinja_put(j, b, &quote, 1);
}

static void put_items(jinja *j, jbuffer *b, jvalue v)
{
    put_text(j, b, v.kind == J_LIST ? "[" : "(");
    for (size_t i = 0; i < v.n; i++) {
        put_text(j, b, i ? ", " : "");
        fkv_jinja_put_repr(j, b, v.items[i]);
    }
    put_text(j, b, v.kind == J_LIST ? "]" : v.n == 1 ? ",)" : ")");
}

static void put_pairs(jinja *j, jbuffer *b, const jpair *pairs, size_t n)
{
    put_text(j, b, "{");
    for (size_t i = 0; i < n; i++) {
        put_text(j, b, i ? ", " : "");
        fkv_jinja_put_repr(j, b, pairs[i].key);
        put_text(j, b, ": ");
        fkv_jinja_put_repr(j, b, pairs[i].value);
    }
    put_text(j, b, "}");
}

static void put_range(jinja *j, jbuffer *b, const jrange *r)
{
    put_text(j, b, "range(");
    put_int(j, b, r->start);
    put_text(j, b, ", ");
    put_int(j, b, r->stop);
    if (r->step != 1) {
        put_text(j, b, ", ");
        put_int(j, b, r->step);
    }
    put_text(j, b, ")");
}

static void put_view(jinja *j, jbuffer *b, jvalue v)
{
    static const char *const names[] =
        {[J_KEYS] = "dict_keys(", [J_VALUES] = "dict_values(", [J_ITEMS] = "dict_items("};
    put_text(j, b, names[v.tag]);
    put_items(j, b, fkv_jinja_sequence(J_LIST, v.items, v.n));
    put_text(j, b, ")");
}

void fkv_jinja_put_repr(jinja *j, jbuffer *b, jvalue v)
{
    fkv_jinja_work(j, 1);
    fkv_jinja_enter(j);
    switch (v.kind) {
    case J_UNDEFINED: put_text(j, b, "Undefined"); break;
    case J_NONE: put_text(j, b, "None"); break;
    case J_BOOL: put_text(j, b, v.integer ? "True" : "False"); break;
    case J_INT: put_int(j, b, v.integer); break;
    case J_FLOAT: put_float(j, b, v.number, "inf", "nan"); break;
    case J_STRING:
        put_text(j, b, fkv_jinja_is_markup(v) ? "Markup(" : "");
        put_quoted(j, b, v);
        put_text(j, b, fkv_jinja_is_markup(v) ? ")" : "");
        break;
    case J_LIST:
    case J_TUPLE: put_items(j, b, v); break;
    case J_DICT: put_pairs(j, b, v.pairs, v.n); break;
    case J_RANGE: put_range(j, b, v.range); break;
    case J_VIEW: put_view(j, b, v); break;
    case J_NAMESPACE:
        put_text(j, b, "<Namespace ");
        put_pairs(j, b, v.scope->vars, v.scope->n);
        put_text(j, b, ">");
        break;
    default: fkv_jinja_lacks(j, "printing a %s is not supported", fkv_jinja_type_name(v));
    }
    fkv_jinja_leave(j);
}

void fkv_jinja_put_str(jinja *j, jbuffer *b, jvalue v)
{
    if (v.kind == J_STRING)
        fkv_jinja_put_string(j, b, v);
    else if (v.kind != J_UNDEFINED)
        fkv_jinja_put_repr(j, b, v);
}

void fkv_jinja_put_as(jinja *j, jbuffer *b, jvalue v, char conversion)
{
    jbuffer repr = {0};
    if (conversion == 's') {
        fkv_jinja_put_str(j, b, v);
        return;
    }
    fkv_jinja_put_repr(j, &repr, v);
    fkv_jinja_work_characters(j, repr.n);
    for (size_t at = 0, size; at < repr.n; at += size) {
        const int32_t c = fkv_jinja_character(repr.text, repr.n, at, &size);
        if (conversion == 'a' && c >= 0x80)
            put_code(j, b, c);
        else
            fkv_jinja_put(j, b, repr.text + at, size);
    }
}

jvalue fkv_jinja_str(jinja *j, jvalue v)
{
    if (v.kind == J_STRING) return v;
    jbuffer b = {0};
    fkv_jinja_put_str(j, &b, v);
    return fkv_jinja_taken(&b);
}

jvalue fkv_jinja_escape(jinja *j, jvalue s)
{
    static const char special[] = "&<>'\"", *const entities[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    if (fkv_jinja_is_markup(s)) return s;
    jbuffer text = {0};
    for (size_t i = 0; i < s.n; i++) {
        const char *known = s.text[i] ? strchr(special, s.text[i]) : NULL;
        if (known)
            put_text(j, &text, entities[known - special]);
        else
            fkv_jinja_put(j, &text, s.text + i, 1);
    }
    return fkv_jinja_tagged(fkv_jinja_taken(&text), J_MARKUP);
}

static void put_json_string(jinja *j, jbuffer *b, jvalue s, bool ascii)
{
    static const char named[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    put_text(j, b, "\"");
    for (size_t at = 0, size; at < s.n; at += size) {
        int32_t c = fkv_jinja_character(s.text, s.n, at, &size);
        const char *known = c && c < 128 ? strchr(named, c) : NULL;
        if (known)
            put_escaped(j, b, "\\%c", letters[known - named]);
        else if (c < 32 || (ascii && c >= 127 && c < 0x10000))
            put_escaped(j, b, "\\u%04x", c);
        else if (ascii && c >= 0x10000) {
            put_escaped(j, b, "\\u%04x", 0xd800 + ((c - 0x10000) >> 10));
            put_escaped(j, b, "\\u%04x", 0xdc00 + ((c - 0x10000) & 0x3ff));
        } else {
            fkv_jinja_put(j, b, s.text + at, size);
        }
    }
    put_text(j, b, "\"");
}

static void put_json_line(jinja *j, jbuffer *b, const struct jjson *style, int level)
{
    if (style->indent.kind == J_ABSENT) return;
    put_text(j, b, "\n");
    for (int i = 0; i < level; i++) fkv_jinja_put_string(j, b, style->indent);
}

/* JSON keys are strings: numbers, booleans and None are spelled as JSON spells them. */
static void put_json_key(jinja *j, jbuffer *b, jvalue key, const struct jjson *style)
{
    jbuffer spelled = {0};
    if (key.kind != J_STRING) {
        if (!fkv_jinja_is_number(key) && key.kind != J_NONE)
            fkv_jinja_bad(j, "tojson: a key must not be %s", fkv_jinja_type_name(key));
        fkv_jinja_put_json(j, &spelled, key, style, 0);
        key = fkv_jinja_taken(&spelled);
    }
    put_json_string(j, b, key, style->ascii);
    fkv_jinja_put_string(j, b, style->key_separator);
}

static jvalue sorted_by_key(jinja *j, jvalue dict)
{
    jpair *pairs = fkv_jinja_alloc(j, dict.n, sizeof *pairs);
    for (size_t i = 0, at; i < dict.n; i++) {
        for (at = i; at && fkv_jinja_compare(j, dict.pairs[i].key, pairs[at - 1].key) < 0; at--)
            pairs[at] = pairs[at - 1];
        pairs[at] = dict.pairs[i];
    }
    dict.pairs = pairs;
    return dict;
}

static void put_json_container(jinja *j, jbuffer *b, jvalue v, const struct jjson *style, int level)
{
    bool dict = v.kind == J_DICT;
    if (dict && style->sort) v = sorted_by_key(j, v);
    put_text(j, b, dict ? "{" : "[");
    for (size_t i = 0; i < v.n; i++) {
        if (i) fkv_jinja_put_string(j, b, style->item_separator);
        put_json_line(j, b, style, level + 1);
        if (dict) put_json_key(j, b, v.pairs[i].key, style);
        fkv_jinja_put_json(j, b, dict ? v.pairs[i].value : v.items[i], style, level + 1);
    }
    if (v.n) put_json_line(j, b, style, level);
    put_text(j, b, dict ? "}" : "]");
}

void fkv_jinja_put_json(jinja *j, jbuffer *b, jvalue v, const struct jjson *style, int level)
{
    fkv_jinja_work(j, 1);
    fkv_jinja_enter(j);
    switch (v.kind) {
    case J_NONE: put_text(j, b, "null"); break;
    case J_BOOL: put_text(j, b, v.integer ? "true" : "false"); break;
    case J_INT: put_int(j, b, v.integer); break;
    case J_FLOAT: put_float(j, b, v.number, "Infinity", "NaN"); break;
    case J_STRING: put_json_string(j, b, v, style->ascii); break;
    case J_LIST:
    case J_TUPLE:
    case J_DICT: put_json_container(j, b, v, style, level); break;
    default: fkv_jinja_bad(j, "tojson: %s is not JSON", fkv_jinja_type_name(v));
    }
    fkv_jinja_leave(j);
}
