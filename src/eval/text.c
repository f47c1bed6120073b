#include "eval/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool make_room(struct eval_text *text, size_t n)
{
    const size_t wanted = text->n + n + 1;
    if (text->failed) return false;
    if (wanted <= text->capacity) return true;
    const size_t capacity = wanted < 2 * text->capacity ? 2 * text->capacity : wanted + 64;
    char *more = realloc(text->s, capacity);
    text->failed = !more;
    if (!more) return false;
    text->s = more;
    text->capacity = capacity;
    return true;
}

void eval_text_add(struct eval_text *text, const char *bytes, size_t n)
{
    if (!make_room(text, n)) return;
    memcpy(text->s + text->n, bytes, n);
    text->s[text->n += n] = '\0';
}

void eval_text_print(struct eval_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || !make_room(text, (size_t)n)) return;
    va_start(args, format);
    vsnprintf(text->s + text->n, (size_t)n + 1, format, args);
    va_end(args);
    text->n += (size_t)n;
}

bool eval_text_split(const char *text, char separator, bool (*take)(void *user, const char *part, size_t n), void *user)
{
    while (*text) {
        const char *end = strchr(text, separator);
        const size_t n = end ? (size_t)(end - text) : strlen(text);
        if (n && !take(user, text, n)) return false;
        text += n + (end != NULL);
    }
    return true;
}
