/* The % operator on a text, which the format filter is too. */
#include <math.h>
#include <string.h>

#include "template/jinja_spec.h"

/* What the values of a % come from. */
struct operands {
    jvalue given;
    bool escapes;        /* what is put in */
    const jvalue *items; /* of a tuple, or the one value */
    size_t n, used;
};

static jvalue next_operand(jinja *j, struct operands *o)
{
    if (o->used >= o->n) fkv_jinja_bad(j, "%%: the format wants more values");
    return o->items[o->used++];
}

static int64_t star_or_number(jinja *j, struct operands *o, jvalue format, size_t *at)
{
    if (fkv_spec_peek(format, *at) != '*') return fkv_spec_number(j, format, at, "%");
    ++*at;
    const jvalue v = next_operand(j, o);
    if (!fkv_jinja_is_integer(v) || v.integer > 1 << 30 || v.integer < -(1 << 30))
        fkv_jinja_bad(j, "%%: '*' wants a whole number");
    return v.integer;
}

static void put_converted(jinja *j, jbuffer *b, struct fkv_spec *s, jvalue v)
{
    if (strchr("sra", s->type)) {
        jbuffer text = {0};
        fkv_jinja_put_as(j, &text, v, s->type);
        if (s->fill == '0') s->fill = ' ';
        if (s->align == '=') s->align = 0;
        if (!s->align) s->align = '>';
        fkv_spec_put_string(j, b, s, fkv_jinja_taken(&text));
        return;
    }
    if (s->type == 'c') {
        const bool one = v.kind == J_STRING && fkv_jinja_length(j, v) == 1;
        if (!one && !fkv_jinja_is_integer(v)) fkv_spec_bad_type(j, s, v);
        if (!s->align || s->align == '=') s->align = '>';
        s->fill = ' ';
        fkv_spec_put_character(j, b, s, one ? fkv_jinja_character(v.text, v.n, 0, &(size_t){0}) : v.integer);
        return;
    }
    if (!fkv_jinja_is_number(v)) fkv_spec_bad_type(j, s, v);
    if (strchr("diu", s->type)) {
        if (v.kind == J_FLOAT && !(fabs(v.number) < 9.2e18)) fkv_jinja_bad(j, "%%: the number is too large");
        if (v.kind == J_FLOAT) v = fkv_jinja_int((int64_t)v.number);
        s->type = 'd';
    } else if (strchr("xXo", s->type)) {
        if (!fkv_jinja_is_integer(v)) fkv_spec_bad_type(j, s, v);
    } else if (!strchr("eEfFgG", s->type)) {
        fkv_jinja_bad(j, "%%: '%c' is not a format", s->type);
    }
    fkv_spec_put_number(j, b, s, v);
}

/* The conversion behind a '%' at `at`, which moves behind it. */
static void put_conversion(jinja *j, jbuffer *b, struct operands *o, jvalue format, size_t *at)
{
    struct fkv_spec s = {.fill = ' ', .sign = '-', .precision = -1, .why = "%"};
    jvalue v = {0};
    if (fkv_spec_peek(format, *at) == '(') {
        const size_t from = *at + 1;
        for (int depth = 1; depth; depth += (fkv_spec_peek(format, *at) == '(') - (fkv_spec_peek(format, *at) == ')'))
            if (++*at >= format.n) fkv_jinja_bad(j, "%%: a key is not closed");
        if (o->given.kind != J_DICT) fkv_jinja_bad(j, "%%: a key wants a dict");
        const jvalue key = fkv_jinja_string(format.text + from, *at - from);
        const jvalue *found = fkv_jinja_find(j, o->given.pairs, o->given.n, key);
        if (!found) fkv_jinja_bad(j, "%%: no key '%.*s'", J_SHOWN(key));
        v = *found;
        ++*at;
    }
    bool left = false, zero = false;
    for (char c; (c = fkv_spec_peek(format, *at)) && strchr("-+ #0", c); ++*at) {
        if (c == '-') left = true;
        if (c == '0') zero = true;
        if (c == '#') s.alternate = true;
        if (c == '+' || (c == ' ' && s.sign != '+')) s.sign = c;
    }
    int64_t width = star_or_number(j, o, format, at);
    if (width < -1 || (width == -1 && fkv_spec_peek(format, *at - 1) == '*')) left = true, width = -width;
    s.width = width < 0 ? 0 : width;
    if (left || zero) s.align = left ? '<' : '=';
    if (zero && !left) s.fill = '0';
    if (fkv_spec_peek(format, *at) == '.') {
        ++*at;
        const int64_t precision = star_or_number(j, o, format, at);
        s.precision = precision < 0 ? 0 : precision > 1 << 29 ? 1 << 29 : (int)precision;
    }
    if (fkv_spec_peek(format, *at) && strchr("hlL", fkv_spec_peek(format, *at))) ++*at;
    if (*at >= format.n) fkv_jinja_bad(j, "%%: a format is incomplete");
    s.type = format.text[(*at)++];
    if (s.type == '%') {
        fkv_jinja_put(j, b, "%", 1);
        return;
    }
    if (v.kind == J_ABSENT) v = next_operand(j, o);
    if (s.precision > FKV_MOST_PRECISION && !strchr("sra", s.type))
        fkv_jinja_lacks(j, "%%: a precision above %d is not supported", FKV_MOST_PRECISION);
    if (o->escapes && v.kind == J_STRING) v = fkv_jinja_escape(j, v);
    put_converted(j, b, &s, v);
}

jvalue fkv_jinja_percent(jinja *j, jvalue format, jvalue given)
{
    struct operands o = {.given = given, .items = &given, .n = 1, .escapes = fkv_jinja_is_markup(format)};
    if (given.kind == J_TUPLE) o.items = given.items, o.n = given.n;
    jbuffer b = {0};
    for (size_t at = 0; at < format.n;) {
        const char *sign = memchr(format.text + at, '%', format.n - at);
        const size_t end = sign ? (size_t)(sign - format.text) : format.n;
        fkv_jinja_put(j, &b, format.text + at, end - at);
        at = end + 1;
        if (sign) put_conversion(j, &b, &o, format, &at);
    }
    const bool may_be_left = given.kind == J_DICT || given.kind == J_LIST || given.kind == J_RANGE;
    if (o.used < o.n && !may_be_left) fkv_jinja_bad(j, "%%: the format wants fewer values");
    return fkv_jinja_tagged(fkv_jinja_taken(&b), format.tag);
}
