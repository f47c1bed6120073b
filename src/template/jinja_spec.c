/* Values laid out by a width, a sign, a precision ... */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "template/jinja_spec.h"

void fkv_spec_bad_type(jinja *j, const struct fkv_spec *s, jvalue v)
{
    fkv_jinja_bad(j, "%s: '%c' does not format %s", s->why, s->type, fkv_jinja_type_name(v));
}

static void put_fill(jinja *j, jbuffer *b, int32_t fill, int64_t n)
{
    for (; n > 0; n--) fkv_jinja_put_character(j, b, fill);
}

/* sign, and then the rest of the text, filled to the width. */
static void put_aligned(jinja *j, jbuffer *b, const struct fkv_spec *s, char own_align, jvalue sign, jvalue rest)
{
    const char align = s->align ? s->align : own_align;
    fkv_jinja_work_text(j, rest.n);
    const int64_t length = (int64_t)(fkv_jinja_n_characters(rest.text, rest.n) + sign.n);
    const int64_t missing = s->width > length ? s->width - length : 0;
    const int64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
    put_fill(j, b, s->fill, left);
    fkv_jinja_put_string(j, b, sign);
    if (align == '=') put_fill(j, b, s->fill, missing);
    fkv_jinja_put_string(j, b, rest);
    if (align == '<' || align == '^') put_fill(j, b, s->fill, missing - left);
}

static jvalue no_text(void) { return fkv_jinja_string("", 0); }

void fkv_spec_put_string(jinja *j, jbuffer *b, const struct fkv_spec *s, jvalue text)
{
    if ((s->type && !strchr("sra", s->type)) || s->grouping) fkv_spec_bad_type(j, s, text);
    if (s->align == '=') fkv_jinja_bad(j, "%s: '=' aligns numbers only", s->why);
    if (s->precision >= 0) text.n = fkv_jinja_offset(text.text, text.n, (size_t)s->precision);
    put_aligned(j, b, s, '<', no_text(), text);
}

static jvalue sign_of(const struct fkv_spec *s, bool negative)
{
    if (negative) return fkv_jinja_string("-", 1);
    return s->sign == '-' ? no_text() : fkv_jinja_string(&s->sign, 1);
}

/* Digits with a separator between groups of `size`, counted from the end of their first n. */
static jvalue grouped(jinja *j, jvalue digits, size_t n, char separator, size_t size)
{
    jbuffer b = {0};
    if (!separator) return digits;
    for (size_t i = 0; i < digits.n; i++) {
        if (i && i < n && (n - i) % size == 0) fkv_jinja_put(j, &b, &separator, 1);
        fkv_jinja_put(j, &b, digits.text + i, 1);
    }
    return fkv_jinja_taken(&b);
}

static void check_grouping(jinja *j, const struct fkv_spec *s)
{
    if (s->grouping && s->fill == '0' && s->align == '=' && s->width)
        fkv_jinja_lacks(j, "%s: zeros before grouped digits are not supported", s->why);
}

static void put_spec_int(jinja *j, jbuffer *b, const struct fkv_spec *s, int64_t value)
{
    char text[80], *at = text + sizeof text;
    const char *digits = s->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    const char base = s->type == 'b' ? 2 : s->type == 'o' ? 8 : s->type == 'x' || s->type == 'X' ? 16 : 10;
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    const jvalue sign = sign_of(s, value < 0);
    char prefix[4] = {0};
    do {
        *--at = digits[magnitude % (uint64_t)base];
        magnitude /= (uint64_t)base;
    } while (magnitude);
    jvalue all = fkv_jinja_string(at, (size_t)(text + sizeof text - at));
    /* the % operator takes a precision for the least digits */
    while (all.n < (size_t)(s->precision < 0 ? 0 : s->precision) && at > text) {
        *--at = '0';
        all = fkv_jinja_string(at, all.n + 1);
    }
    check_grouping(j, s);
    all = grouped(j, all, all.n, s->grouping, base == 10 ? 3 : 4);
    snprintf(prefix, sizeof prefix, "%.*s%s", (int)sign.n, sign.text,
             !s->alternate || base == 10 ? ""
             : base == 2                 ? "0b"
             : base == 8                 ? "0o"
             : s->type == 'X'            ? "0X"
                                         : "0x");
    put_aligned(j, b, s, '>', fkv_jinja_string(prefix, strlen(prefix)), all);
}

/* A float without a type but with a precision: as 'g', but always with a point or an exponent. */
static void shortest_with_point(char *text, size_t bytes, double x, int precision)
{
    char scientific[400];
    if (precision == 0) precision = 1;
    snprintf(scientific, sizeof scientific, "%.*e", precision - 1, x);
    const int exponent = atoi(strchr(scientific, 'e') + 1);
    if (exponent >= -4 && exponent < precision - 1) {
        snprintf(text, bytes, "%.*g", precision, x);
        if (!strchr(text, '.')) strcat(text, ".0");
        return;
    }
    char *e = strchr(scientific, 'e'), *end = e;
    if (memchr(scientific, '.', (size_t)(e - scientific))) {
        while (end[-1] == '0') end--;
        if (end[-1] == '.') end--;
    }
    snprintf(text, bytes, "%.*s%s", (int)(end - scientific), scientific, e);
}

static void put_spec_float(jinja *j, jbuffer *b, const struct fkv_spec *s, double value)
{
    char text[800], format[8];
    const double x = fabs(value) * (s->type == '%' ? 100 : 1);
    const int precision = s->precision < 0 ? 6 : s->precision;
    const char type = s->type == '%' ? 'f' : s->type == 'n' ? 'g' : s->type;
    jvalue all = fkv_jinja_string(text, 0);
    if (!isfinite(x)) {
        const bool upper = type && strchr("EFG", type);
        strcpy(text, isnan(x) ? (upper ? "NAN" : "nan") : upper ? "INF" : "inf");
    } else if (!type && s->precision < 0) {
        jbuffer repr = {0};
        fkv_jinja_put_repr(j, &repr, fkv_jinja_float(x));
        all = fkv_jinja_taken(&repr);
    } else if (!type) {
        shortest_with_point(text, sizeof text, x, s->precision);
    } else {
        snprintf(format, sizeof format, "%%%s.*%c", s->alternate ? "#" : "", type);
        /* a format of this file's own making */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(text, sizeof text - 1, format, precision, x);
#pragma GCC diagnostic pop
    }
    if (s->type == '%') strcat(text, "%");
    if (all.text == text) all.n = strlen(text);
    size_t whole = 0;
    while (whole < all.n && all.text[whole] >= '0' && all.text[whole] <= '9') whole++;
    check_grouping(j, s);
    all = grouped(j, all, whole, s->grouping, 3);
    put_aligned(j, b, s, '>', sign_of(s, signbit(value) && !isnan(value)), all);
}

void fkv_spec_put_character(jinja *j, jbuffer *b, const struct fkv_spec *s, int64_t code)
{
    jbuffer one = {0};
    if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        fkv_jinja_bad(j, "%s: %lld is not a character", s->why, (long long)code);
    fkv_jinja_put_character(j, &one, (int32_t)code);
    put_aligned(j, b, s, '<', no_text(), fkv_jinja_taken(&one));
}

void fkv_spec_put_number(jinja *j, jbuffer *b, const struct fkv_spec *s, jvalue v)
{
    if (fkv_jinja_is_integer(v) && (!s->type || strchr("bdoxXnc", s->type))) {
        if (s->precision >= 0 && *s->why != '%') fkv_jinja_bad(j, "%s: a whole number has no precision", s->why);
        if (s->type == 'c')
            fkv_spec_put_character(j, b, s, v.integer);
        else
            put_spec_int(j, b, s, v.integer);
    } else if (!s->type || strchr("eEfFgGn%", s->type)) {
        put_spec_float(j, b, s, fkv_jinja_number(v));
    } else {
        fkv_spec_bad_type(j, s, v);
    }
}

int64_t fkv_spec_number(jinja *j, jvalue text, size_t *at, const char *why)
{
    int64_t value = -1;
    for (; *at < text.n && text.text[*at] >= '0' && text.text[*at] <= '9'; ++*at) {
        value = (value < 0 ? 0 : value) * 10 + (text.text[*at] - '0');
        if (value > 1 << 30) fkv_jinja_bad(j, "%s: a number is too large", why);
    }
    return value;
}
