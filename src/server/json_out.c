#include "server/json_out.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cli/utf8.h"

static void separate(struct json_out *j)
{
    if (j->comma) eval_text_add(j->text, ",", 1);
    j->comma = true;
}

void out_open(struct json_out *j, char bracket)
{
    separate(j);
    eval_text_add(j->text, &bracket, 1);
    j->comma = false;
}

void out_close(struct json_out *j, char bracket)
{
    eval_text_add(j->text, &bracket, 1);
    j->comma = true;
}

void out_key(struct json_out *j, const char *name)
{
    separate(j);
    eval_text_print(j->text, "\"%s\":", name);
    j->comma = false;
}

/* A character that cannot stand in a string as it is. */
static void escape(struct eval_text *out, unsigned char c)
{
    static const char plain[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    const char *at = c ? strchr(plain, c) : NULL;
    if (at)
        eval_text_print(out, "\\%c", names[at - plain]);
    else
        eval_text_print(out, "\\u%04x", c);
}

/* Valid UTF-8. */
static void add_escaped(struct eval_text *out, const char *s, size_t n)
{
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i];
        if (c >= ' ' && c != '"' && c != '\\' && c != 0x7f) continue;
        eval_text_add(out, s + from, i - from);
        escape(out, c);
        from = i + 1;
    }
    eval_text_add(out, s + from, n - from);
}

void out_bytes(struct json_out *j, const char *bytes, size_t n)
{
    separate(j);
    eval_text_add(j->text, "\"", 1);
    while (n) {
        const size_t good = utf8_find_bad(bytes, n), taken = good < n ? good + 1 : n;
        add_escaped(j->text, bytes, good);
        if (good < n) eval_text_add(j->text, "\xef\xbf\xbd", 3);
        bytes += taken;
        n -= taken;
    }
    eval_text_add(j->text, "\"", 1);
}

void out_string(struct json_out *j, const char *text)
{
    if (text)
        out_bytes(j, text, strlen(text));
    else
        out_null(j);
}

void out_int(struct json_out *j, int64_t value)
{
    separate(j);
    eval_text_print(j->text, "%" PRId64, value);
}

void out_real(struct json_out *j, double value)
{
    separate(j);
    if (isfinite(value))
        eval_text_print(j->text, "%.7g", value);
    else
        eval_text_add(j->text, "null", 4);
}

void out_bool(struct json_out *j, bool value)
{
    separate(j);
    eval_text_print(j->text, "%s", value ? "true" : "false");
}

void out_null(struct json_out *j)
{
    separate(j);
    eval_text_add(j->text, "null", 4);
}

void out_byte_array(struct json_out *j, const char *bytes, size_t n)
{
    out_open(j, '[');
    for (size_t i = 0; i < n; i++) out_int(j, (unsigned char)bytes[i]);
    out_close(j, ']');
}

void put_string(struct json_out *j, const char *name, const char *text)
{
    out_key(j, name);
    out_string(j, text);
}

void put_int(struct json_out *j, const char *name, int64_t value)
{
    out_key(j, name);
    out_int(j, value);
}

void put_real(struct json_out *j, const char *name, double value)
{
    out_key(j, name);
    out_real(j, value);
}

void put_bool(struct json_out *j, const char *name, bool value)
{
    out_key(j, name);
    out_bool(j, value);
}
