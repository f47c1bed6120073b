/* str.format() */
#include <string.h>

#include "template/jinja_spec.h"

static bool is_align(char c) { return c && strchr("<>=^", c); }

static struct fkv_spec parse_spec(jinja *j, jvalue text)
{
    struct fkv_spec s = {.fill = ' ', .sign = '-', .precision = -1, .why = "format"};
    size_t at = 0, size = 0;
    if (text.n) s.fill = fkv_jinja_character(text.text, text.n, 0, &size);
    if (text.n > size && is_align(fkv_spec_peek(text, size))) {
        s.align = fkv_spec_peek(text, size);
        at = size + 1;
    } else {
        s.fill = ' ';
        if (is_align(fkv_spec_peek(text, 0))) s.align = fkv_spec_peek(text, at++);
    }
    if (fkv_spec_peek(text, at) && strchr("+- ", fkv_spec_peek(text, at))) s.sign = fkv_spec_peek(text, at++);
    if (fkv_spec_peek(text, at) == '#') s.alternate = true, at++;
    if (fkv_spec_peek(text, at) == '0') {
        at++;
        if (!s.align) s.fill = '0', s.align = '=';
    }
    const int64_t width = fkv_spec_number(j, text, &at, s.why);
    s.width = width < 0 ? 0 : width;
    if (fkv_spec_peek(text, at) == ',' || fkv_spec_peek(text, at) == '_') s.grouping = fkv_spec_peek(text, at++);
    if (fkv_spec_peek(text, at) == '.') {
        at++;
        const int64_t precision = fkv_spec_number(j, text, &at, s.why);
        if (precision < 0) fkv_jinja_bad(j, "format: the precision is missing");
        s.precision = (int)precision;
    }
    if (at < text.n) s.type = text.text[at++];
    if (at < text.n) fkv_jinja_bad(j, "format: '%.*s' is not a format", J_SHOWN(text));
    return s;
}

/* format(value, spec) */
static void put_formatted(jinja *j, jbuffer *b, jvalue v, jvalue text)
{
    if (text.n == 0) {
        fkv_jinja_put_str(j, b, v);
        return;
    }
    struct fkv_spec s = parse_spec(j, text);
    if (v.kind == J_STRING) {
        if (s.sign != '-' || s.alternate) fkv_jinja_bad(j, "format: a text has no sign and no '#'");
        if (s.align == '=' && s.fill == '0' && text.text[0] != '0') s.align = 0;
        if (s.align == '=' && s.fill == '0') s.align = '<';
        fkv_spec_put_string(j, b, &s, v);
    } else if (fkv_jinja_is_number(v)) {
        if (s.precision > FKV_MOST_PRECISION)
            fkv_jinja_lacks(j, "format: a precision above %d is not supported", FKV_MOST_PRECISION);
        fkv_spec_put_number(j, b, &s, v);
    } else {
        fkv_jinja_bad(j, "format: %s takes no format", fkv_jinja_type_name(v));
    }
}

/* A call of format(): its arguments, and the number of the next {}. */
struct formatting {
    const jargs *args;
    int64_t next; /* -1 once a field has a number */
    bool escapes; /* what is put in */
};

static jvalue field_root(jinja *j, struct formatting *f, jvalue name)
{
    size_t at = 0;
    int64_t number = name.n ? fkv_spec_number(j, name, &at, "format") : f->next;
    if (name.n && (number < 0 || at < name.n)) {
        const jvalue *named = fkv_jinja_find(j, f->args->named, f->args->n_named, name);
        if (!named) fkv_jinja_bad(j, "format: no argument '%.*s'", J_SHOWN(name));
        return *named;
    }
    if (name.n == 0 ? f->next < 0 : f->next > 0) fkv_jinja_bad(j, "format: {} and {0} do not go together");
    f->next = name.n ? -1 : f->next + 1;
    if (number >= (int64_t)f->args->n) fkv_jinja_bad(j, "format: no argument %lld", (long long)number);
    return f->args->values[number];
}

/* name.attribute[key] */
static jvalue field_value(jinja *j, struct formatting *f, jvalue path)
{
    size_t at = 0;
    while (at < path.n && path.text[at] != '.' && path.text[at] != '[') at++;
    jvalue value = field_root(j, f, fkv_jinja_string(path.text, at));
    while (at < path.n) {
        const bool index = path.text[at] == '[';
        const size_t from = ++at;
        while (at < path.n && (index ? path.text[at] != ']' : path.text[at] != '.' && path.text[at] != '[')) at++;
        const jvalue key = fkv_jinja_string(path.text + from, at - from);
        if (key.n == 0 || (index && at++ == path.n)) fkv_jinja_bad(j, "format: '%.*s' is not a field", J_SHOWN(path));
        size_t end = 0;
        const int64_t number = index ? fkv_spec_number(j, key, &end, "format") : -1;
        if (!index)
            value = fkv_jinja_attribute(j, value, key);
        else
            value = fkv_jinja_item(j, value, number >= 0 && end == key.n ? fkv_jinja_int(number) : key);
    }
    return value;
}

static void put_fields(jinja *j, jbuffer *b, struct formatting *f, jvalue format, int nesting);

/* What stands between the braces of a field: path!conversion:spec. */
static void put_field(jinja *j, jbuffer *b, struct formatting *f, jvalue field, int nesting)
{
    size_t at = 0;
    bool in_key = false;
    for (; at < field.n && (in_key || (field.text[at] != '!' && field.text[at] != ':')); at++)
        in_key = in_key ? field.text[at] != ']' : field.text[at] == '[';
    jvalue value = field_value(j, f, fkv_jinja_string(field.text, at));
    if (fkv_spec_peek(field, at) == '!') {
        const char conversion = fkv_spec_peek(field, at + 1);
        jbuffer text = {0};
        if (!conversion || !strchr("sra", conversion) || (at + 2 < field.n && fkv_spec_peek(field, at + 2) != ':'))
            fkv_jinja_bad(j, "format: '%.*s' is not a field", J_SHOWN(field));
        fkv_jinja_put_as(j, &text, value, conversion);
        value = fkv_jinja_taken(&text);
        at += 2;
    }
    jbuffer spec = {0};
    if (fkv_spec_peek(field, at) == ':')
        put_fields(j, &spec, f, fkv_jinja_string(field.text + at + 1, field.n - at - 1), nesting + 1);
    jbuffer text = {0};
    put_formatted(j, &text, value, fkv_jinja_taken(&spec));
    const jvalue put = fkv_jinja_tagged(fkv_jinja_taken(&text), fkv_jinja_is_markup(value) ? J_MARKUP : 0);
    fkv_jinja_put_string(j, b, f->escapes ? fkv_jinja_escape(j, put) : put);
}

/* The end of the field that begins behind a brace: the place of its closing brace. */
static size_t field_end(jinja *j, jvalue format, size_t at)
{
    int depth = 1;
    bool in_key = false; /* braces within [] are part of the key */
    for (; at < format.n; at++) {
        const char c = format.text[at];
        if (c == '[' && depth == 1) in_key = true;
        if (c == ']') in_key = false;
        if (!in_key && c == '{') depth++;
        if (!in_key && c == '}' && --depth == 0) return at;
    }
    fkv_jinja_bad(j, "format: a field is not closed");
}

static void put_fields(jinja *j, jbuffer *b, struct formatting *f, jvalue format, int nesting)
{
    if (nesting > 1) fkv_jinja_bad(j, "format: nested too deeply");
    for (size_t at = 0; at < format.n;) {
        const char c = format.text[at], next = fkv_spec_peek(format, at + 1);
        if (c == '{' && !(next == '{' && nesting == 0)) {
            const size_t end = field_end(j, format, at + 1);
            fkv_jinja_work_text(j, end - at);
            put_field(j, b, f, fkv_jinja_string(format.text + at + 1, end - at - 1), nesting);
            at = end + 1;
        } else if (c == '}' && next != '}') {
            fkv_jinja_bad(j, "format: a single '}'");
        } else {
            fkv_jinja_put(j, b, &c, 1);
            at += c == '{' || c == '}' ? 2 : 1;
        }
    }
}

jvalue fkv_jinja_format(jinja *j, jvalue format, const jargs *args)
{
    jbuffer b = {0};
    struct formatting f = {.args = args, .escapes = fkv_jinja_is_markup(format)};
    put_fields(j, &b, &f, format, 0);
    return fkv_jinja_taken(&b);
}
