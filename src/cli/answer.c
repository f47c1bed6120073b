#include <stdlib.h>
#include <string.h>

#include "cli/answer.h"
#include "cli/utf8.h"

/* ---- the text -------------------------------------------------------------------------------- */

/* In its order of meaning for a stop string: where one may begin and end. */
enum answer_how { SHOWN, HIDDEN_START, HIDDEN_REST };

static bool grow(char **buffer, size_t bytes)
{
    char *more = realloc(*buffer, bytes);
    if (more) *buffer = more;
    return more;
}

/* Adds to what has been seen. */
static void see(struct answer *a, const void *bytes, size_t n, bool shown)
{
    if (a->n_seen + n > a->seen_capacity) {
        const size_t capacity = 2 * (a->n_seen + n) + 256;
        if (!grow(&a->seen, capacity) || !grow(&a->how, capacity)) {
            a->failed = true;
            return;
        }
        a->seen_capacity = capacity;
    }
    memcpy(a->seen + a->n_seen, bytes, n);
    memset(a->how + a->n_seen, shown ? SHOWN : HIDDEN_REST, n);
    if (n && !shown) a->how[a->n_seen] = HIDDEN_START;
    a->n_seen += n;
}

static void see_replacement(struct answer *a)
{
    see(a, "\xef\xbf\xbd", 3, true);
    a->n_pending = 0;
}

static void see_byte(struct answer *a, unsigned char byte)
{
    if (a->n_pending && !utf8_continues(a->pending[0], a->n_pending, byte)) see_replacement(a);
    a->pending[a->n_pending++] = byte;
    int length = utf8_length(a->pending[0]);
    if (!length)
        see_replacement(a);
    else if (a->n_pending == length) {
        see(a, a->pending, (size_t)length, true);
        a->n_pending = 0;
    }
}

/* Says what was seen before `end`, and forgets it. */
static void say_to(struct answer *a, size_t end)
{
    const size_t before = a->n;
    if (a->n + end + 1 > a->capacity) {
        const size_t capacity = 2 * (a->n + end) + 4096;
        if (!grow(&a->text, capacity)) {
            a->failed = true;
            return;
        }
        a->capacity = capacity;
    }
    for (size_t i = 0; i < end; i++)
        if (a->how[i] == SHOWN) a->text[a->n++] = a->seen[i];
    a->text[a->n] = '\0';
    if (a->out && a->n > before) {
        fwrite(a->text + before, 1, a->n - before, a->out);
        fflush(a->out);
    }
    a->n_seen -= end;
    if (a->n_seen) {
        memmove(a->seen, a->seen + end, a->n_seen);
        memmove(a->how, a->how + end, a->n_seen);
    }
}

/* ---- stop strings ---------------------------------------------------------------------------- */

static bool is_boundary(const struct answer *a, size_t at) { return at == a->n_seen || a->how[at] != HIDDEN_REST; }

/* Place of the first stop string in what was seen, or n_seen. */
static size_t find_stop(struct answer *a)
{
    for (size_t at = 0; at < a->n_seen; at++) {
        for (int i = 0; i < a->stops->n && is_boundary(a, at); i++) {
            size_t length = strlen(a->stops->items[i]);
            if (length <= a->n_seen - at && !memcmp(a->seen + at, a->stops->items[i], length) &&
                is_boundary(a, at + length)) {
                a->stopped_by = a->stops->items[i];
                return at;
            }
        }
    }
    return a->n_seen;
}

/* Place from which the end of what was seen may be the start of a stop string, or n_seen. */
static size_t find_start_of_stop(const struct answer *a)
{
    for (size_t at = 0; at < a->n_seen; at++)
        for (int i = 0; i < a->stops->n && is_boundary(a, at); i++)
            if (!strncmp(a->stops->items[i], a->seen + at, a->n_seen - at)) return at;
    return a->n_seen;
}

bool answer_add(struct answer *a, const char *bytes, size_t n, bool shown)
{
    bool any = a->stops && a->stops->n;
    if (!shown) see(a, bytes, n, false);
    for (size_t i = 0; shown && i < n; i++) see_byte(a, (unsigned char)bytes[i]);
    size_t stop = any ? find_stop(a) : a->n_seen;
    if (stop < a->n_seen) {
        say_to(a, stop);
        a->n_seen = 0;
        a->n_pending = 0;
        return true;
    }
    say_to(a, any ? find_start_of_stop(a) : a->n_seen);
    return false;
}

void answer_end(struct answer *a)
{
    if (a->n_pending) see_replacement(a);
    say_to(a, a->n_seen);
}

void answer_free(struct answer *a)
{
    free(a->text);
    free(a->seen);
    free(a->how);
    *a = (struct answer){0};
}
