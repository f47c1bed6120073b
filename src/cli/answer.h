/* answer.h: text that grows token by token: only whole UTF-8 sequences go out, and nothing that may be the start of a
   stop string. */
#ifndef FKV_CLI_ANSWER_H
#define FKV_CLI_ANSWER_H

#include <stdio.h>

#include "cli/settings.h"

struct answer {
    FILE *out;                        /* NULL: the text is only kept */
    const struct option_texts *stops; /* NULL: none */
    /* [n] what has been said and shown, valid UTF-8; bad bytes became U+FFFD. NUL-terminated once there is any */
    char *text;
    size_t n, capacity;
    char *seen; /* [n_seen] what may still become a stop string: special tokens too, which are not shown */
    char *how;  /* [n_seen] enum answer_how of each byte */
    size_t n_seen, seen_capacity;
    unsigned char pending[4]; /* [n_pending] start of a sequence */
    int n_pending;
    const char *stopped_by; /* the stop string that was complete; NULL: none */
    bool failed;            /* memory ran out: the text is incomplete */
};

/* Adds bytes of a token and writes what is certain. A token that is not shown counts for stop strings only, and as a
   whole: what ends or begins within it is none. True when a stop string is complete: the text then ends before it. */
bool answer_add(struct answer *answer, const char *bytes, size_t n, bool shown);
/* Writes what was held back. */
void answer_end(struct answer *answer);
void answer_free(struct answer *answer);

#endif
