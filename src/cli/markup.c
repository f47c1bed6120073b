#include "cli/markup.h"

#include <math.h>
#include <string.h>

#include "cli/utf8.h"

/* Is the character one that XML 1.0 cannot hold, not even escaped? (section 2.2) */
static bool is_barred(const char *s, size_t length)
{
    const unsigned char byte = (unsigned char)*s;
    return (byte < ' ' && byte != '\t' && byte != '\n' && byte != '\r') ||
           (length == 3 && (!memcmp(s, "\xef\xbf\xbe", 3) || !memcmp(s, "\xef\xbf\xbf", 3)));
}

void markup_text(FILE *out, const char *text, size_t n)
{
    for (size_t i = 0, length; i < n; i += length) {
        length = (size_t)utf8_length((unsigned char)text[i]);
        switch (text[i]) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        case '"': fputs("&quot;", out); break;
        default:
            if (is_barred(text + i, length))
                fputs("\xef\xbf\xbd", out);
            else
                fwrite(text + i, 1, length, out);
        }
    }
}

int markup_level(double share)
{
    const int level = (int)ceil(MARKUP_LEVELS * sqrt(share));
    return level < 0 ? 0 : level > MARKUP_LEVELS ? MARKUP_LEVELS : level;
}

const char *markup_colour(char text[8], enum markup_hue hue, int level)
{
    static const int ends[][2][3] =
        {[MARKUP_BLUE] = {{222, 235, 247}, {8, 48, 107}}, [MARKUP_ORANGE] = {{254, 230, 206}, {166, 54, 3}}};
    int c[3];
    for (int i = 0; i < 3; i++)
        c[i] = ends[hue][0][i] + (ends[hue][1][i] - ends[hue][0][i]) * (level - 1) / (MARKUP_LEVELS - 1);
    snprintf(text, 8, "#%02x%02x%02x", c[0] & 255, c[1] & 255, c[2] & 255);
    return text;
}
