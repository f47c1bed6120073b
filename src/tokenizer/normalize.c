#include "tokenizer/normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "tokenizer/utf8.h"

/* Common characters that are their own normal form and combine with none before them, so that a text may be cut before
   each: up to the combining marks, Cyrillic, kana, CJK ideographs, Hangul syllables, full-width forms, emoji. */
static bool is_plain(uint32_t c)
{
    return c < 0x300 || (c >= 0x400 && c <= 0x482) || (c >= 0x3041 && c <= 0x3096) || (c >= 0x30a1 && c <= 0x30fa) ||
           (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x4e00 && c <= 0x9fff) || (c >= 0xac00 && c <= 0xd7a3) ||
           (c >= 0xff01 && c <= 0xffff) || (c >= 0x1f000 && c <= 0x1faff);
}

/* The longest canonical decomposition of a character (Unicode 15). */
enum { LONGEST = 4 };

struct codes {
    utf8proc_int32_t *code, *sorted; /* [cap], n used; sorted: scratch of the same size */
    size_t n, cap;
};

static int combining_class(utf8proc_int32_t code) { return (int)utf8proc_get_property(code)->combining_class; }

/* Sorts code[0 .. n), a run of marks, by combining class; equal ones keep their order. Marks come in a few dozen
   classes of 256, so this is linear, where the library's own sort takes n^2 steps for a hostile run. */
static void sort_marks(utf8proc_int32_t *code, utf8proc_int32_t *sorted, size_t n)
{
    size_t begin[257] = {0};
    for (size_t i = 0; i < n; i++) begin[combining_class(code[i]) + 1]++;
    for (int c = 1; c < 257; c++) begin[c] += begin[c - 1];
    for (size_t i = 0; i < n; i++) sorted[begin[combining_class(code[i])]++] = code[i];
    memcpy(code, sorted, n * sizeof *code);
}

static void order_marks(struct codes *c)
{
    for (size_t i = 0, end; i < c->n; i = end) {
        bool sorted = true;
        int last = combining_class(c->code[i]);
        for (end = i + 1; last > 0 && end < c->n; end++) {
            const int class = combining_class(c->code[end]);
            if (class == 0) break;
            sorted = sorted && class >= last;
            last = class;
        }
        if (!sorted) sort_marks(c->code + i, c->sorted, end - i);
    }
}

/* Surrogates, which have no normal form; and a vowel that combines with nothing and would be lost: utf8proc (2.8) takes
   U+11A7, the last code point before the final consonants, for one that adds nothing to a syllable. */
static bool stands_alone(uint32_t code) { return (code >= 0xd800 && code < 0xe000) || code == 0x11a7; }

/* Decomposes the n bytes of text into c, which has room. */
static void decompose(struct codes *c, const char *text, size_t n)
{
    int boundary = 0;
    c->n = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code = FKV_UTF8_REPLACEMENT;
        const size_t len = fkv_utf8_get(text + i, n - i, &code);
        c->n += (size_t)utf8proc_decompose_char((utf8proc_int32_t)code, c->code + c->n, LONGEST, UTF8PROC_DECOMPOSE,
                                                &boundary);
        i += len ? len : 1;
    }
}

/* Where the stretch that starts at i ends, which is normalised by itself. *plain: it is its own normal form. */
static size_t stretch(const char *text, size_t n, size_t i, bool *plain)
{
    size_t end = i;
    *plain = true;
    for (size_t len; end < n; end += len) {
        uint32_t code = FKV_UTF8_REPLACEMENT;
        len = fkv_utf8_get(text + end, n - end, &code);
        if (len == 0) len = 1;
        if (stands_alone(code)) return end > i ? end : end + len; /* a plain stretch of its own */
        if (!*plain && is_plain(code)) break;
        if (!is_plain(code)) *plain = false;
    }
    return end;
}

static bool reserve(struct codes *c, size_t n)
{
    if (n <= c->cap) return true;
    free(c->code);
    free(c->sorted);
    c->code = malloc(n * sizeof *c->code);
    c->sorted = malloc(n * sizeof *c->sorted);
    c->cap = n;
    return c->code && c->sorted;
}

/* Normalises a stretch to `out`; returns the bytes written. */
static size_t compose(struct codes *c, const char *text, size_t n, char *out)
{
    size_t written = 0;
    decompose(c, text, n);
    order_marks(c);
    const utf8proc_ssize_t left = utf8proc_normalize_utf32(c->code, (utf8proc_ssize_t)c->n,
                                                           UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (utf8proc_ssize_t i = 0; i < left; i++) written += fkv_utf8_put((uint32_t)c->code[i], out + written);
    return written;
}

fkv_status fkv_nfc(const char *text, size_t n, char **out, size_t *n_out, struct fkv_error *e)
{
    struct codes c = {0};
    size_t written = 0;
    bool plain, enough = true;
    char *to = malloc(3 * n + 1); /* no character grows more */
    for (size_t i = 0, end; to && enough && i < n; i = end) {
        end = stretch(text, n, i, &plain);
        if (plain) {
            memcpy(to + written, text + i, end - i);
            written += end - i;
        } else if ((enough = reserve(&c, 2 * (end - i) + LONGEST))) { /* 2 bytes become 3 codes at most */
            written += compose(&c, text + i, end - i, to + written);
        }
    }
    free(c.code);
    free(c.sorted);
    if (!to || !enough) {
        free(to);
        return fkv_fail(e, FKV_ERROR_MEMORY, "no memory to normalise %zu bytes", n);
    }
    *out = to;
    *n_out = written;
    return FKV_OK;
}
