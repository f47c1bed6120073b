/* slot_files.h: what a session holds, to a file of the client's name and back. */
#ifndef FKV_SERVER_SLOT_FILES_H
#define FKV_SERVER_SLOT_FILES_H

#include "server/scheduler.h"

enum slot_action { SLOT_SAVE, SLOT_RESTORE, SLOT_ERASE };
enum { SLOT_NAME_BYTES = 128 };

/* One that waits until its session is idle. */
struct slot_task {
    struct slot_task *next;
    struct exchange *x;
    enum slot_action action;
    int slot;
    char salt[16]; /* of what is restored */
    char filename[SLOT_NAME_BYTES + 1];
};

/* The thread that prefills does it, and answers; the task is gone then. The slot is taken, and idle afterwards. */
void slot_task_run(struct scheduler *s, struct slot_task *task);
/* May a file be called so? */
bool slot_file_name(const char *name);
/* Removes what a process that is gone was writing in this folder. */
void slot_files_sweep(const char *folder);

#endif
