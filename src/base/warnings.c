#include "base/warnings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fkv_make_plain(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f) *text = ' ';
}

void fkv_warn(struct fkv_warnings *w, const char *format, ...)
{
    char line[FKV_ERROR_BYTES];
    if (!w) return;
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    fkv_make_plain(line);
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->text[i], line) == 0) return;
    const size_t bytes = strlen(line) + 1;
    char **text = realloc(w->text, (w->n + 1) * sizeof *text);
    if (!text) return;
    w->text = text;
    text[w->n] = malloc(bytes);
    if (text[w->n]) memcpy(text[w->n++], line, bytes);
}

void fkv_warnings_destroy(struct fkv_warnings *w)
{
    for (size_t i = 0; i < w->n; i++) free(w->text[i]);
    free(w->text);
    *w = (struct fkv_warnings){0};
}
