#define _GNU_SOURCE
#include "server/slot_files.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/json_in.h"
#include "server/json_out.h"
#include "server/prefixes.h"
#include "server/routes.h"

/* ---- requests ---------------------------------------------------------------------------------- */

bool slot_file_name(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const size_t n = strlen(name);
    return n >= 1 && n <= SLOT_NAME_BYTES && *name != '.' && strspn(name, allowed) == n;
}

/* Is it ".NAME.tmp", which a save of NAME writes to? */
static bool is_temporary(const char *file)
{
    char name[SLOT_NAME_BYTES + 1];
    const size_t n = strlen(file);
    if (*file != '.' || n < sizeof ".x.tmp" - 1 || n - 5 > SLOT_NAME_BYTES || strcmp(file + n - 4, ".tmp"))
        return false;
    snprintf(name, sizeof name, "%.*s", (int)(n - 5), file + 1);
    return slot_file_name(name);
}

void slot_files_sweep(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!is_temporary(entry->d_name)) continue;
        const int fd = openat(dirfd(dir), entry->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) continue;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) unlinkat(dirfd(dir), entry->d_name, 0); /* else another server's */
        close(fd);
    }
    if (dir) closedir(dir);
}

static bool read_slot(const struct server *server, const char *text, int *slot, struct api_error *error)
{
    char *end;
    const long id = strtol(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || id >= server->settings->n_sessions)
        return api_fail(error, 400, ERROR_INVALID, "slot: expected a number from 0 to %d, found %.40s",
                        server->settings->n_sessions - 1, text);
    *slot = (int)id;
    return true;
}

static bool read_action(const char *text, enum slot_action *action, struct api_error *error)
{
    static const char *const names[] = {[SLOT_SAVE] = "save", [SLOT_RESTORE] = "restore", [SLOT_ERASE] = "erase"};
    for (int i = 0; i <= SLOT_ERASE; i++) {
        if (strcmp(names[i], text)) continue;
        *action = (enum slot_action)i;
        return true;
    }
    return api_fail_field(error, "action", "action: expected save, restore or erase, found %.40s",
                          *text ? text : "nothing");
}

static bool read_task(struct server *server, struct exchange *x, struct slot_task *task, struct api_error *error)
{
    const char *name = NULL;
    json_t *body = NULL;
    if (!server->settings->slot_save_path)
        return api_fail(error, 501, ERROR_NOT_SUPPORTED, "sessions are not saved: start with --slot-save-path FOLDER");
    bool ok = read_slot(server, x->tail, &task->slot, error) && read_action(x->action, &task->action, error);
    if (ok && task->action != SLOT_ERASE) {
        body = json_read_object(x->body.s, x->body.n, error);
        ok = body && json_get_text(body, "filename", &name, error);
        if (ok && (!name || !slot_file_name(name)))
            ok = api_fail_field(error, "filename",
                                "filename: expected 1 to %d of A-Z a-z 0-9 . _ - and no dot at first, found %.40s",
                                SLOT_NAME_BYTES, name ? name : "nothing");
        if (ok) snprintf(task->filename, sizeof task->filename, "%s", name);
    }
    json_decref(body);
    snprintf(task->salt, sizeof task->salt, "%d:", x->many_keys ? x->key : 0);
    return ok;
}

void api_slot_action(struct server *server, struct exchange *x)
{
    struct api_error error = {0};
    struct slot_task *task = calloc(1, sizeof *task);
    if (!task)
        api_fail(&error, 503, ERROR_UNAVAILABLE, "out of memory");
    else if (read_task(server, x, task, &error)) {
        task->x = exchange_hold(x);
        scheduler_add_task(server->scheduler, task);
        return;
    }
    free(task);
    exchange_fail(x, &error);
}

/* ---- on the thread that prefills ------------------------------------------------------------------ */

/* Files are named as the client names them: where they lie is not its business. */
static bool fail(const fkv_session *session, const char *path, fkv_status status, struct api_error *error)
{
    const char *text = fkv_session_error(session);
    const size_t folder = (size_t)(strrchr(path, '/') + 1 - path);
    const bool io = status == FKV_ERROR_IO || status == FKV_ERROR_MEMORY;
    return api_fail(error, io ? 503 : 400, io ? ERROR_UNAVAILABLE : ERROR_INVALID, "%s",
                    text + (strncmp(text, path, folder) ? 0 : folder));
}

/* *n: tokens saved; what the prefix cache has no longer is none. */
static bool save(struct scheduler *s, const struct slot *slot, const char *path, size_t *n, int64_t *bytes,
                 struct api_error *error)
{
    struct stat st;
    if (!lstat(path, &st) && !S_ISREG(st.st_mode))
        return api_fail_field(error, "filename", "filename: there is something of that name that is no file");
    fkv_session *fork = slot->session ? NULL : prefixes_fork(s->server->prefixes, slot->entry),
                *session = fork ? fork : slot->session;
    *bytes = 0;
    *n = session ? fkv_session_n_seen(session) : 0;
    const fkv_status status = *n ? fkv_session_save(session, path, slot->salt) : FKV_OK;
    if (status != FKV_OK)
        fail(session, path, status, error);
    else if (*n && !stat(path, &st))
        *bytes = st.st_size;
    fkv_session_close(fork);
    return status == FKV_OK;
}

/* Into a session that slot_open() has made. */
static bool load(struct slot *slot, const char *path, int64_t *bytes, struct api_error *error)
{
    struct fkv_session_file file;
    struct stat st;
    if (lstat(path, &st) || !S_ISREG(st.st_mode))
        return api_fail(error, 400, ERROR_INVALID, "filename: there is no such file");
    fkv_status status = fkv_session_look(slot->session, path, &file);
    if (status != FKV_OK) return fail(slot->session, path, status, error);
    status = fkv_session_load(slot->session, path, slot->salt);
    if (status == FKV_OK) memcpy(slot->ids, file.ids, file.n_ids * sizeof *file.ids);
    fkv_free(file.ids);
    *bytes = st.st_size;
    return status == FKV_OK || fail(slot->session, path, status, error);
}

static void put_answer(struct json_out *j, const struct slot_task *task, size_t n, int64_t bytes, double ms)
{
    static const char *const names[][3] =
        {[SLOT_SAVE] = {"n_saved", "n_written", "save_ms"}, [SLOT_RESTORE] = {"n_restored", "n_read", "restore_ms"}};
    out_open(j, '{');
    put_int(j, "id_slot", task->slot);
    if (task->action == SLOT_ERASE) {
        put_int(j, "n_erased", (int64_t)n);
    } else {
        put_string(j, "filename", task->filename);
        put_int(j, names[task->action][0], (int64_t)n);
        put_int(j, names[task->action][1], bytes);
        out_key(j, "timings");
        out_open(j, '{');
        put_real(j, names[task->action][2], ms);
        out_close(j, '}');
    }
    out_close(j, '}');
}

/* *n: tokens that were saved, restored or erased. */
static bool act(struct scheduler *s, const struct slot_task *task, struct slot *slot, size_t *n, int64_t *bytes,
                struct api_error *error)
{
    char path[4096];
    snprintf(path, sizeof path, "%.3900s/%s", s->server->settings->slot_save_path, task->filename);
    if (task->action == SLOT_SAVE) return save(s, slot, path, n, bytes, error);
    *n = slot->n_ids;
    prefixes_forget(s->server->prefixes, slot->entry);
    slot_empty(slot);
    if (task->action == SLOT_ERASE) return true;
    const bool ok = slot_open(s, slot, &s->server->settings->session.kv, error) && load(slot, path, bytes, error);
    *n = ok ? fkv_session_n_seen(slot->session) : 0;
    if (ok && *n) {
        slot->entry = prefixes_keep(s->server->prefixes, slot->salt, slot->ids, *n, *n, 0, slot->session, 0);
        slot->session = NULL;
    }
    return ok;
}

void slot_task_run(struct scheduler *s, struct slot_task *task)
{
    struct slot *slot = &s->slots[task->slot];
    struct api_error error = {0};
    struct eval_text text = {0};
    struct json_out j = {&text, false};
    const double start = fkv_clock_s();
    size_t n = 0;
    int64_t bytes = 0;
    const bool ok = act(s, task, slot, &n, &bytes, &error);
    pthread_mutex_lock(&s->lock);
    if (task->action == SLOT_RESTORE) slot->n_ids = slot->n_prompt = n;
    slot_release(s, slot);
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    if (ok) {
        put_answer(&j, task, n, bytes, 1e3 * (fkv_clock_s() - start));
        exchange_answer_json(task->x, &text);
    } else {
        exchange_fail(task->x, &error);
    }
    exchange_let_go(task->x);
    free(task);
}
