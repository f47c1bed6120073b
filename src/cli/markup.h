/* markup.h: text in XML and colours by shares, for pictures. */
#ifndef FKV_CLI_MARKUP_H
#define FKV_CLI_MARKUP_H

#include <stddef.h>
#include <stdio.h>

/* Writes valid UTF-8 so that it is that text in XML, in elements and in attributes. What XML cannot hold becomes
   U+FFFD. */
void markup_text(FILE *out, const char *text, size_t n);

/* Shares in [0, 1] in steps that tell small ones apart: 0 for 0, else 1 .. MARKUP_LEVELS, level l for at most
   (l / MARKUP_LEVELS)^2. */
enum { MARKUP_LEVELS = 8 };
int markup_level(double share);

enum markup_hue { MARKUP_BLUE, MARKUP_ORANGE };
/* "#rrggbb" of a level from 1 on. */
const char *markup_colour(char text[8], enum markup_hue hue, int level);

#endif
