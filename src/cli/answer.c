#include <stdlib.h>
#include <string.h>

#include "cli/answer.h"

/* ---- UTF-8 (Unicode 15, table 3-7) ----------------------------------------------------------- */

/* Length of the sequence that a byte starts; 0 when it starts none. */
static int sequence_length(unsigned char first)
{
    if (first < 0x80) return 1;
    if (first < 0xc2 || first > 0xf4) return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* May `next` be byte i >= 1 of the sequence that `first` starts? */
static bool continues(unsigned char first, int i, unsigned char next)
{
    unsigned char low = 0x80, high = 0xbf;
    if (i == 1 && first == 0xe0) low = 0xa0;
    if (i == 1 && first == 0xed) high = 0x9f; /* no surrogates */
    if (i == 1 && first == 0xf0) low = 0x90;
    if (i == 1 && first == 0xf4) high = 0x8f; /* nothing above U+10FFFF */
    return next >= low && next <= high;
}

/* ---- the text -------------------------------------------------------------------------------- */

static void append(struct answer *a, const void *bytes, size_t n)
{
    if (a->n + n + 1 > a->capacity) {
        size_t capacity = 2 * (a->n + n) + 4096;
        char *more = realloc(a->text, capacity);
        if (!more) {
            a->failed = true;
            return;
        }
        a->text = more;
        a->capacity = capacity;
    }
    memcpy(a->text + a->n, bytes, n);
    a->n += n;
    a->text[a->n] = '\0';
}

static void append_replacement(struct answer *a)
{
    append(a, "\xef\xbf\xbd", 3);
    a->n_pending = 0;
}

static void append_byte(struct answer *a, unsigned char byte)
{
    if (a->n_pending && !continues(a->pending[0], a->n_pending, byte)) append_replacement(a);
    a->pending[a->n_pending++] = byte;
    int length = sequence_length(a->pending[0]);
    if (!length)
        append_replacement(a);
    else if (a->n_pending == length) {
        append(a, a->pending, (size_t)length);
        a->n_pending = 0;
    }
}

/* ---- stop strings ---------------------------------------------------------------------------- */

/* Place of the first stop string in the text not yet written, or n. */
static size_t find_stop(const struct answer *a)
{
    for (size_t at = a->n_written; at < a->n; at++) {
        for (int i = 0; i < a->stops->n; i++) {
            size_t length = strlen(a->stops->items[i]);
            if (length <= a->n - at && !memcmp(a->text + at, a->stops->items[i], length)) return at;
        }
    }
    return a->n;
}

/* Place from which the text's end may be the start of a stop string, or n. */
static size_t find_start_of_stop(const struct answer *a)
{
    for (size_t at = a->n_written; at < a->n; at++)
        for (int i = 0; i < a->stops->n; i++)
            if (!strncmp(a->stops->items[i], a->text + at, a->n - at)) return at;
    return a->n;
}

static void write_to(struct answer *a, size_t end)
{
    if (a->out && end > a->n_written) {
        fwrite(a->text + a->n_written, 1, end - a->n_written, a->out);
        fflush(a->out);
    }
    a->n_written = end;
}

bool answer_add(struct answer *a, const char *bytes, size_t n)
{
    bool any = a->stops && a->stops->n;
    for (size_t i = 0; i < n; i++) append_byte(a, (unsigned char)bytes[i]);
    size_t stop = any ? find_stop(a) : a->n;
    if (stop < a->n) {
        a->n = stop;
        a->text[stop] = '\0';
        a->n_pending = 0;
        write_to(a, stop);
        return true;
    }
    write_to(a, any ? find_start_of_stop(a) : a->n);
    return false;
}

void answer_end(struct answer *a)
{
    if (a->n_pending) append_replacement(a);
    write_to(a, a->n);
}

void answer_free(struct answer *a)
{
    free(a->text);
    *a = (struct answer){0};
}
