/* utf8.h: what is UTF-8 (Unicode 15, table 3-7). */
#ifndef FKV_CLI_UTF8_H
#define FKV_CLI_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "eval/text.h"

/* Length of the sequence that a byte starts; 0 when it starts none. */
int utf8_length(unsigned char first);
/* May `next` be byte i >= 1 of the sequence that `first` starts? */
bool utf8_continues(unsigned char first, int i, unsigned char next);
/* Where the first byte lies that is not part of a whole sequence; n when there is none. */
size_t utf8_find_bad(const char *text, size_t n);
/* Adds n bytes, of which those that are not part of a whole sequence become U+FFFD. */
void utf8_add_clean(struct eval_text *out, const char *text, size_t n);
/* The same as one line of at most `most` characters: blanks and control characters become single blanks, at its ends
   nothing. */
void utf8_add_line(struct eval_text *out, const char *text, size_t n, size_t most);

#endif
