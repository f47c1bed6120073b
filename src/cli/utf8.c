#include "cli/utf8.h"

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
