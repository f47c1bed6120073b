#include "cli/utf8.h"

#include <stdlib.h>

int utf8_length(unsigned char first)
{
    if (first < 0x80) return 1;
    if (first < 0xc2 || first > 0xf4) return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

bool utf8_continues(unsigned char first, int i, unsigned char next)
{
    unsigned char low = 0x80, high = 0xbf;
    if (i == 1 && first == 0xe0) low = 0xa0;
    if (i == 1 && first == 0xed) high = 0x9f; /* no surrogates */
    if (i == 1 && first == 0xf0) low = 0x90;
    if (i == 1 && first == 0xf4) high = 0x8f; /* nothing above U+10FFFF */
    return next >= low && next <= high;
}

size_t utf8_find_bad(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t at = 0; at < n;) {
        const size_t length = (size_t)utf8_length(s[at]);
        if (!length || length > n - at) return at;
        for (size_t i = 1; i < length; i++)
            if (!utf8_continues(s[at], (int)i, s[at + i])) return at;
        at += length;
    }
    return n;
}

void utf8_add_clean(struct eval_text *out, const char *text, size_t n)
{
    eval_text_add(out, "", 0);
    while (n) {
        const size_t good = utf8_find_bad(text, n), taken = good < n ? good + 1 : n;
        eval_text_add(out, text, good);
        if (good < n) eval_text_add(out, "\xef\xbf\xbd", 3);
        text += taken;
        n -= taken;
    }
}

void utf8_add_line(struct eval_text *out, const char *text, size_t n, size_t most)
{
    struct eval_text clean = {0};
    bool gap = false;
    size_t shown = 0;
    utf8_add_clean(&clean, text, n);
    eval_text_add(out, "", 0);
    for (size_t i = 0, length; !clean.failed && i < clean.n && shown < most; i += length) {
        const unsigned char byte = (unsigned char)clean.s[i];
        length = (size_t)utf8_length(byte);
        if (byte <= ' ' || byte == 0x7f) {
            gap = shown > 0;
            continue;
        }
        if (gap) eval_text_add(out, " ", 1);
        shown += 1 + (size_t)gap;
        gap = false;
        eval_text_add(out, clean.s + i, length);
    }
    out->failed |= clean.failed;
    free(clean.s);
}
