/* jinja_spec.h: Python's little language of widths, signs and precisions, which str.format() and % share. */
#ifndef FKV_TEMPLATE_JINJA_SPEC_H
#define FKV_TEMPLATE_JINJA_SPEC_H

#include "template/jinja_run.h"

/* How one value is laid out. */
struct fkv_spec {
    int32_t fill;    /* a character */
    char align;      /* '<', '>', '^', '=' (fill behind the sign), or 0: the type's own */
    char sign;       /* '-', '+' or ' ' */
    char grouping;   /* ',' or '_' between digits, or 0 */
    char type;       /* 'd', 'x', 'f' ..., or 0 */
    bool alternate;  /* # */
    int64_t width;   /* in characters; 0: none */
    int precision;   /* -1: none */
    const char *why; /* names the format in messages */
};

enum { FKV_MOST_PRECISION = 300 }; /* of a number */

/* The value does not go with s->type. */
_Noreturn void fkv_spec_bad_type(jinja *j, const struct fkv_spec *s, jvalue v);
void fkv_spec_put_string(jinja *j, jbuffer *b, const struct fkv_spec *s, jvalue text);
void fkv_spec_put_number(jinja *j, jbuffer *b, const struct fkv_spec *s, jvalue v);
void fkv_spec_put_character(jinja *j, jbuffer *b, const struct fkv_spec *s, int64_t code);
/* Digits at text[*at], which moves behind them; -1: none. */
int64_t fkv_spec_number(jinja *j, jvalue text, size_t *at, const char *why);
static inline char fkv_spec_peek(jvalue text, size_t at) { return at < text.n ? text.text[at] : 0; }

#endif
