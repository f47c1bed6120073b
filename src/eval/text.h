/* text.h: text that grows. Memory that runs out is remembered, so that only the end needs a check. */
#ifndef FKV_EVAL_TEXT_H
#define FKV_EVAL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct eval_text {
    char *s; /* NUL-terminated once something was added; malloc'ed */
    size_t n, capacity;
    bool failed;
};

void eval_text_add(struct eval_text *text, const char *bytes, size_t n);
void eval_text_print(struct eval_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Calls take(user, part, n) for each part of `text` between `separator`s that is not empty, until it returns false;
   false then. */
bool eval_text_split(const char *text, char separator, bool (*take)(void *user, const char *part, size_t n),
                     void *user);

#endif
