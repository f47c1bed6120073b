/* Filters of text, of numbers, and of any value. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "template/jinja_run.h"

/* Text. */

static jvalue f_trim(jinja *j, const jcall *c)
{
    const jvalue s = fkv_jinja_str(j, c->self);
    return fkv_jinja_tagged(fkv_jinja_strip(j, s, c->a[0], true, true), s.tag);
}
/* A marked text stays marked. */
static jvalue recase(jinja *j, const jcall *c, enum jcase to)
{
    const jvalue s = fkv_jinja_str(j, c->self);
    return fkv_jinja_tagged(fkv_jinja_recase(j, s, to), s.tag);
}
static jvalue f_upper(jinja *j, const jcall *c) { return recase(j, c, J_UPPER); }
static jvalue f_lower(jinja *j, const jcall *c) { return recase(j, c, J_LOWER); }
static jvalue f_title(jinja *j, const jcall *c)
{
    return fkv_jinja_recase(j, fkv_jinja_str(j, c->self), J_TITLE_FILTER);
}
static jvalue f_capitalize(jinja *j, const jcall *c) { return recase(j, c, J_CAPITALIZED); }
static jvalue f_string(jinja *j, const jcall *c) { return fkv_jinja_str(j, c->self); }
static jvalue f_safe(jinja *j, const jcall *c) { return fkv_jinja_tagged(fkv_jinja_str(j, c->self), J_MARKUP); }

static jvalue f_replace(jinja *j, const jcall *c)
{
    jvalue old = fkv_jinja_str(j, c->a[0]), new = fkv_jinja_str(j, c->a[1]);
    int64_t at_most = c->a[2].kind == J_NONE ? -1 : fkv_jinja_integer_argument(j, c->a[2], -1);
    return fkv_jinja_replace(j, fkv_jinja_str(j, c->self), old, new, at_most);
}

static jvalue f_escape(jinja *j, const jcall *c) { return fkv_jinja_escape(j, fkv_jinja_str(j, c->self)); }
static jvalue f_forceescape(jinja *j, const jcall *c)
{
    return fkv_jinja_escape(j, fkv_jinja_tagged(fkv_jinja_str(j, c->self), 0));
}

static jvalue spaces(jinja *j, jvalue width, int64_t otherwise)
{
    if (width.kind == J_STRING) return width;
    return fkv_jinja_binary(j, '*', fkv_jinja_string(" ", 1),
                            fkv_jinja_int(fkv_jinja_integer_argument(j, width, otherwise)));
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
        if (i) fkv_jinja_put(j, &out, "\n", 1);
        if (i ? blank || lines.items[i].n : first) fkv_jinja_put_string(j, &out, indent);
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
        if (separators.n != 2) fkv_jinja_bad(j, "tojson: expected two separators");
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
    if (s.n == 0 || s.n >= sizeof digits) return false;
    memcpy(digits, s.text, s.n);
    digits[s.n] = 0;
    if (strspn(digits, "0123456789+-.eE") != s.n) return false;
    *number = strtod(digits, &end);
    return *end == 0;
}

static jvalue f_float(jinja *j, const jcall *c)
{
    double number;
    if (c->self.kind == J_UNDEFINED) fkv_jinja_fail_undefined(j, c->self);
    if (fkv_jinja_is_number(c->self)) return fkv_jinja_float(fkv_jinja_number(c->self));
    if (c->self.kind == J_STRING && parse_number(fkv_jinja_strip(j, c->self, (jvalue){0}, true, true), &number))
        return fkv_jinja_float(number);
    return c->a[0].kind == J_ABSENT ? fkv_jinja_float(0) : c->a[0];
}

/* A whole number in another base, with its prefix or without; false: it is none. */
static bool parse_in_base(jinja *j, jvalue s, int64_t base, int64_t *value)
{
    char digits[80], *end;
    const size_t sign = s.n && (s.text[0] == '-' || s.text[0] == '+');
    const char kind = s.n > sign + 1 && s.text[sign] == '0' ? (char)(s.text[sign + 1] | 32) : 0;
    const int64_t own = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    const size_t skip = own != 10 && own == base ? 2 : 0;
    if (s.n <= sign + skip || s.n >= sizeof digits) return false;
    memcpy(digits, s.text, sign);
    memcpy(digits + sign, s.text + sign + skip, s.n - sign - skip);
    digits[s.n - skip] = 0;
    if (strspn(digits + sign, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != s.n - sign - skip)
        return false;
    errno = 0;
    *value = strtoll(digits, &end, (int)base);
    if (errno == ERANGE) fkv_jinja_lacks(j, "integers above 64 bits are not supported");
    return *end == 0;
}

static jvalue f_int(jinja *j, const jcall *c)
{
    if (fkv_jinja_is_integer(c->self)) return fkv_jinja_int(c->self.integer);
    const int64_t base = fkv_jinja_integer_argument(j, c->a[1], 10);
    if (base != 2 && base != 8 && base != 10 && base != 16)
        fkv_jinja_lacks(j, "int: base %lld is not supported", (long long)base);
    int64_t parsed;
    if (base != 10 && c->self.kind == J_STRING &&
        parse_in_base(j, fkv_jinja_strip(j, c->self, (jvalue){0}, true, true), base, &parsed))
        return fkv_jinja_int(parsed);
    jvalue s = c->self.kind == J_STRING ? fkv_jinja_strip(j, c->self, (jvalue){0}, true, true) : (jvalue){0};
    bool negative = s.n && s.text[0] == '-';
    size_t at = negative || (s.n && s.text[0] == '+'), start = at;
    int64_t value = 0;
    bool over = false;
    for (; at < s.n && s.text[at] >= '0' && s.text[at] <= '9' && !over; at++) {
        int digit = s.text[at] - '0';
        over = __builtin_mul_overflow(value, 10, &value) || __builtin_sub_overflow(value, digit, &value);
    }
    if (over || (!negative && value == INT64_MIN)) fkv_jinja_lacks(j, "integers above 64 bits are not supported");
    if (at == s.n && at > start) return fkv_jinja_int(negative ? value : -value);
    jcall as_float = {.self = c->self, .a = {fkv_jinja_float(NAN)}};
    double number = fkv_jinja_number(f_float(j, &as_float)); /* so that "42.9" gives 42 */
    if (isnan(number)) return c->a[0].kind == J_ABSENT ? fkv_jinja_int(0) : c->a[0];
    if (fabs(number) >= 9.2e18) fkv_jinja_lacks(j, "integers above 64 bits are not supported");
    return fkv_jinja_int((int64_t)number);
}

static jvalue f_abs(jinja *j, const jcall *c)
{
    bool negative = fkv_jinja_is_number(c->self) &&
                    (c->self.kind == J_FLOAT ? signbit(c->self.number) : c->self.integer < 0);
    jvalue negated = fkv_jinja_negate(j, c->self);
    return negative ? negated : fkv_jinja_negate(j, negated);
}

static jvalue f_round(jinja *j, const jcall *c)
{
    int64_t precision = fkv_jinja_integer_argument(j, c->a[0], 0);
    jvalue method = c->a[1].kind == J_ABSENT ? fkv_jinja_string("common", 6) : fkv_jinja_string_argument(j, c->a[1]);
    bool common = fkv_jinja_is(method, "common"), up = fkv_jinja_is(method, "ceil");
    if (!common && !up && !fkv_jinja_is(method, "floor"))
        fkv_jinja_bad(j, "round: the method must be common, ceil or floor");
    if (!fkv_jinja_is_number(c->self))
        fkv_jinja_bad(j, "round: expected a number, found %s", fkv_jinja_type_name(c->self));
    if (precision < 0 || precision > 15) fkv_jinja_lacks(j, "round: a precision outside of 0 .. 15 is not supported");
    if (common && fkv_jinja_is_integer(c->self)) return fkv_jinja_int(c->self.integer);
    double number = fkv_jinja_number(c->self), scale = pow(10, (double)precision);
    if (!common) return fkv_jinja_float((up ? ceil(number * scale) : floor(number * scale)) / scale);
    char text[400]; /* the exact decimal value decides, halves go to the even digit */
    snprintf(text, sizeof text, "%.*f", (int)precision, number);
    return fkv_jinja_float(strtod(text, NULL));
}

/* Any value. */

static jvalue f_default(jinja *j, const jcall *c)
{
    (void)j;
    jvalue otherwise = c->a[0].kind == J_ABSENT ? fkv_jinja_string("", 0) : c->a[0];
    bool replaced = fkv_jinja_true(c->a[1]) ? !fkv_jinja_true(c->self) : c->self.kind == J_UNDEFINED;
    return replaced ? otherwise : c->self;
}

const jbuiltin fkv_jinja_filters[] = {
    {"abs", "", f_abs},
    {"capitalize", "", f_capitalize},
    {"d", "?default_value ?boolean", f_default},
    {"default", "?default_value ?boolean", f_default},
    {"e", "", f_escape},
    {"escape", "", f_escape},
    {"float", "?default", f_float},
    {"forceescape", "", f_forceescape},
    {"indent", "?width ?first ?blank", f_indent},
    {"int", "?default ?base", f_int},
    {"lower", "", f_lower},
    {"replace", "old new ?count", f_replace},
    {"round", "?precision ?method", f_round},
    {"safe", "", f_safe},
    {"string", "", f_string},
    {"title", "", f_title},
    {"tojson", "?ensure_ascii ?indent ?separators ?sort_keys", f_tojson},
    {"trim", "?chars", f_trim},
    {"upper", "", f_upper},
    {0},
};
