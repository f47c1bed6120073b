/* progress.h: the bar of a prefill, on a terminal only. */
#ifndef FKV_CLI_PROGRESS_H
#define FKV_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    bool shown;      /* is there a terminal to draw on? */
    size_t n_tokens; /* of the prefill under way */
    double start_s, drawn_s;
};

void progress_open(struct progress *progress, bool wanted);
void progress_start(struct progress *progress, size_t n_tokens);
/* An fkv_progress whose user is the struct progress: draws, and cancels after Ctrl-C. */
bool progress_step(void *progress, uint64_t done, uint64_t all);
/* Takes the bar away. */
void progress_end(struct progress *progress);

#endif
