/* UTF-8 text as Python's str sees it. Letter case follows the one-to-one mappings of Unicode, but for the common ß and
   the sigma that ends a word. */
#define _GNU_SOURCE
#include <string.h>
#include <utf8proc.h>

#include "template/jinja.h"

int32_t fkv_jinja_character(const char *text, size_t n, size_t at, size_t *size)
{
    utf8proc_int32_t c;
    size_t left = n - at < 4 ? n - at : 4;
    utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)left, &c);
    *size = used > 0 ? (size_t)used : 1;
    return used > 0 ? c : 0xfffd;
}

bool fkv_jinja_is_utf8(const char *text, size_t n)
{
    utf8proc_int32_t c;
    for (size_t at = 0; at < n;) {
        utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(n - at), &c);
        if (used <= 0) return false;
        at += (size_t)used;
    }
    return true;
}

void fkv_jinja_put_character(jinja *j, jbuffer *b, int32_t character)
{
    utf8proc_uint8_t bytes[4];
    fkv_jinja_put(j, b, (const char *)bytes, (size_t)utf8proc_encode_char(character, bytes));
}

bool fkv_jinja_is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool starts_character(char c) { return ((unsigned char)c & 0xc0) != 0x80; }

size_t fkv_jinja_skip_space(const char *text, size_t n, size_t at)
{
    for (size_t size; at < n && fkv_jinja_is_space(fkv_jinja_character(text, n, at, &size));) at += size;
    return at;
}

size_t fkv_jinja_n_characters(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += starts_character(text[i]);
    return count;
}

size_t fkv_jinja_offset(const char *text, size_t n, size_t characters)
{
    for (size_t i = 0; i < n; i++)
        if (starts_character(text[i]) && characters-- == 0) return i;
    return n;
}

static bool is_stripped(jinja *j, int32_t c, jvalue chars)
{
    if (chars.kind != J_STRING) return fkv_jinja_is_space(c);
    fkv_jinja_work_text(j, chars.n);
    for (size_t at = 0, size; at < chars.n; at += size)
        if (fkv_jinja_character(chars.text, chars.n, at, &size) == c) return true;
    return false;
}

jvalue fkv_jinja_strip(jinja *j, jvalue s, jvalue chars, bool left, bool right)
{
    size_t from = 0, to = s.n, size;
    while (left && from < to && is_stripped(j, fkv_jinja_character(s.text, to, from, &size), chars)) from += size;
    while (right && to > from) {
        size_t last = to - 1;
        while (last > from && !starts_character(s.text[last])) last--;
        if (!is_stripped(j, fkv_jinja_character(s.text, to, last, &size), chars)) break;
        to = last;
    }
    fkv_jinja_work_characters(j, s.n - (to - from));
    return fkv_jinja_string(s.text + from, to - from);
}

int64_t fkv_jinja_search(jvalue s, size_t from, jvalue what)
{
    if (from > s.n) return J_NOT_FOUND;
    if (what.n == 0) return (int64_t)from;
    /* one byte by memchr: it looks no further than the hit, in an instrumented build too */
    const char *hit = what.n == 1 ? memchr(s.text + from, what.text[0], s.n - from)
                                  : memmem(s.text + from, s.n - from, what.text, what.n);
    return hit ? hit - s.text : J_NOT_FOUND;
}

int64_t fkv_jinja_search_last(jinja *j, jvalue s, jvalue what)
{
    int64_t last = J_NOT_FOUND;
    if (what.n == 0) return (int64_t)s.n;
    fkv_jinja_work_text(j, s.n);
    for (int64_t hit; (hit = fkv_jinja_search(s, (size_t)(last + 1), what)) != J_NOT_FOUND; last = hit)
        fkv_jinja_work_text(j, what.n); /* each search prepares anew */
    return last;
}

jvalue fkv_jinja_replace(jinja *j, jvalue s, jvalue old, jvalue new, int64_t at_most)
{
    jbuffer b = {0};
    size_t copied = 0, from = 0;
    for (int64_t hit; at_most-- != 0 && (hit = fkv_jinja_search(s, from, old)) != J_NOT_FOUND;) {
        fkv_jinja_put(j, &b, s.text + copied, (size_t)hit - copied);
        fkv_jinja_put_string(j, &b, new);
        copied = (size_t)hit + old.n;
        from = copied;
        if (old.n == 0) { /* nothing is found before every character and at the end */
            size_t size = 1;
            if (from < s.n) fkv_jinja_character(s.text, s.n, from, &size);
            from += size;
        }
    }
    fkv_jinja_put(j, &b, s.text + copied, s.n - copied);
    return fkv_jinja_taken(&b);
}

static bool ends_line(int32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

jvalue fkv_jinja_split_lines(jinja *j, jvalue s, bool keep_ends)
{
    jitems lines = {0};
    size_t start = 0;
    fkv_jinja_work_text(j, s.n);
    for (size_t at = 0, size; at < s.n; at += size) {
        int32_t c = fkv_jinja_character(s.text, s.n, at, &size);
        if (!ends_line(c)) continue;
        if (c == '\r' && at + 1 < s.n && s.text[at + 1] == '\n') size = 2;
        fkv_jinja_push(j, &lines, fkv_jinja_string(s.text + start, (keep_ends ? at + size : at) - start));
        start = at + size;
    }
    if (start < s.n) fkv_jinja_push(j, &lines, fkv_jinja_string(s.text + start, s.n - start));
    return fkv_jinja_sequence(J_LIST, lines.items, lines.n);
}

static bool is_letter(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT;
}

/* Whether the character after c begins a word. */
static bool word_follows(int32_t c, enum jcase to)
{
    if (to == J_TITLE_METHOD) return !is_letter(c);
    return fkv_jinja_is_space(c) || (c < 128 && c && strchr("-({[<", c));
}

/* Unicode's Case_Ignorable: may stand within a word. */
static bool is_ignorable(int32_t c)
{
    static const int32_t between[] = {'\'',   '.',    ':',    0xb7,   0x387,  0x55f,  0x5f4,  0x2018, 0x2019,
                                      0x2024, 0x2027, 0xfe13, 0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a};
    for (size_t i = 0; i < sizeof between / sizeof *between; i++)
        if (c == between[i]) return true;
    const utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME || category == UTF8PROC_CATEGORY_CF ||
           category == UTF8PROC_CATEGORY_LM || category == UTF8PROC_CATEGORY_SK;
}

enum { CAPITAL_SIGMA = 0x3a3, SMALL_SIGMA = 0x3c3, FINAL_SIGMA = 0x3c2 };

/* A small sigma in place of the capital one at text[at]: the final one behind a letter, from `start` on, and before
   none. */
static int32_t small_sigma(jvalue s, size_t start, size_t at)
{
    int32_t before = -1, after = -1;
    size_t size;
    for (size_t i = at; i > start && (before < 0 || is_ignorable(before));) {
        do i--;
        while (i > start && !starts_character(s.text[i]));
        before = fkv_jinja_character(s.text, at, i, &size);
    }
    fkv_jinja_character(s.text, s.n, at, &size);
    for (size_t i = at + size; i < s.n && (after < 0 || is_ignorable(after)); i += size)
        after = fkv_jinja_character(s.text, s.n, i, &size);
    return is_letter(before) && !is_letter(after) ? FINAL_SIGMA : SMALL_SIGMA;
}

jvalue fkv_jinja_recase(jinja *j, jvalue s, enum jcase to)
{
    jbuffer b = {0};
    bool first = true;
    size_t word = 0; /* the filter title lowers what follows a word's first character by itself */
    fkv_jinja_work_characters(j, s.n);
    for (size_t at = 0, size; at < s.n; at += size) {
        int32_t c = fkv_jinja_character(s.text, s.n, at, &size);
        const bool titled = to >= J_CAPITALIZED && first;
        const bool upper = to == J_UPPER || (to == J_SWAPPED && utf8proc_category(c) != UTF8PROC_CATEGORY_LU) ||
                           (titled && to == J_TITLE_FILTER);
        if (titled && to == J_TITLE_FILTER) word = at + size;
        if (c == 0xdf && (upper || titled))
            fkv_jinja_put(j, &b, upper ? "SS" : "Ss", 2);
        else if (upper)
            fkv_jinja_put_character(j, &b, utf8proc_toupper(c));
        else if (c == CAPITAL_SIGMA && !titled)
            fkv_jinja_put_character(j, &b, small_sigma(s, word, at));
        else
            fkv_jinja_put_character(j, &b, titled ? utf8proc_totitle(c) : utf8proc_tolower(c));
        first = (to == J_TITLE_METHOD || to == J_TITLE_FILTER) && word_follows(c, to);
    }
    return fkv_jinja_taken(&b);
}
