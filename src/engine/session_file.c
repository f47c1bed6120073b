/* The public calls that make files and memory of sessions, and sessions of those. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/replacement.h"
#include "engine/session_form.h"

/* The file's form is described and looked at in a turn, which has the model's fingerprint made; what the session holds
   in the host's memory is its own, and others need not wait for a disk. */
static void leave_for_bytes(const fkv_session *s)
{
    if (fkv_engine_on_host(s->e)) fkv_turns_leave(&s->e->ws.turn);
}

static void leave_after_bytes(const fkv_session *s)
{
    if (!fkv_engine_on_host(s->e)) fkv_turns_leave(&s->e->ws.turn);
}

/* ---- out --------------------------------------------------------------------------------------------- */

fkv_status fkv_session_export(fkv_session *s, void **data, size_t *bytes)
{
    struct fkv_form form;
    uint8_t *made = NULL;
    fkv_turns_take(&s->e->ws.turn);
    fkv_status status = fkv_form_describe(&form, s, "", 0);
    if (status == FKV_OK && !(made = malloc((size_t)form.head.bytes)))
        status = fkv_fail(&s->error, FKV_ERROR_MEMORY, "no memory for a session's %llu bytes",
                          (unsigned long long)form.head.bytes);
    if (status == FKV_OK) status = fkv_form_write(&form, s, &(struct fkv_blob){made, -1, form.head.bytes});
    fkv_turns_leave(&s->e->ws.turn);
    if (status == FKV_OK) {
        *data = made;
        *bytes = (size_t)form.head.bytes;
    } else {
        free(made);
    }
    fkv_form_free(&form);
    return status;
}

fkv_status fkv_session_save(fkv_session *s, const char *path, const char *label)
{
    struct fkv_form form;
    struct fkv_replacement r = {.fd = -1, .folder = -1};
    fkv_turns_take(&s->e->ws.turn);
    fkv_status status = fkv_form_describe(&form, s, label ? label : "", (uint64_t)time(NULL));
    leave_for_bytes(s);
    if (status == FKV_OK) status = fkv_replacement_begin(&r, path, &s->error);
    if (status == FKV_OK) status = fkv_form_write(&form, s, &(struct fkv_blob){NULL, r.fd, form.head.bytes});
    leave_after_bytes(s);
    if (status == FKV_OK) status = fkv_replacement_commit(&r, &s->error);
    fkv_replacement_abandon(&r);
    fkv_form_free(&form);
    return status;
}

/* ---- in ---------------------------------------------------------------------------------------------- */

/* Would the session have pruned its turns so? */
static fkv_status check_policies(const struct fkv_form *form, fkv_session *s)
{
    char policy[FKV_KV_TEXT_BYTES];
    fkv_kv_text(&s->shape.params.kv, policy, sizeof policy);
    for (size_t i = 0; i < form->n_turns; i++) {
        const char *found = form->turn[i].policy;
        size_t at = 0; /* where the word begins that differs */
        for (size_t j = 0; policy[j] && policy[j] == found[j]; j++)
            if (policy[j] == ' ') at = j + 1;
        if (strcmp(policy, found) != 0)
            return fkv_fail(&s->error, FKV_ERROR_UNSUPPORTED,
                            "a saved session: tokens %zu to %zu were pruned otherwise: expected %.*s, found %.*s",
                            form->turn[i].first, form->turn[i].end - 1, (int)strcspn(policy + at, " "), policy + at,
                            (int)strcspn(found + at, " "), found + at);
    }
    return FKV_OK;
}

static fkv_status read_session(fkv_session *s, const struct fkv_blob *from, const char *label)
{
    struct fkv_form form;
    fkv_session_forget(s, 0);
    fkv_turns_take(&s->e->ws.turn);
    fkv_status status = fkv_form_open(&form, s, from);
    if (status == FKV_OK && strcmp(form.label, label) != 0)
        status = fkv_fail(&s->error, FKV_ERROR_UNSUPPORTED, "a saved session: its label is another one");
    if (status == FKV_OK) status = check_policies(&form, s);
    leave_for_bytes(s);
    if (status == FKV_OK) {
        status = fkv_form_read(&form, s, from);
        if (status != FKV_OK) fkv_session_forget(s, 0);
    }
    leave_after_bytes(s);
    fkv_form_free(&form);
    return status;
}

fkv_status fkv_session_import(fkv_session *s, const void *data, size_t bytes)
{
    return read_session(s, &(struct fkv_blob){(uint8_t *)(uintptr_t)data, -1, bytes}, "");
}

/* Opens a regular file. */
static fkv_status open_file(struct fkv_blob *blob, const char *path, struct fkv_error *e)
{
    struct stat st;
    *blob = (struct fkv_blob){NULL, open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), 0};
    if (blob->fd < 0) return fkv_fail(e, FKV_ERROR_IO, "%.300s: %s", path, strerror(errno));
    if (fstat(blob->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(blob->fd);
        return fkv_fail(e, FKV_ERROR_IO, "%.300s: expected a regular file", path);
    }
    blob->bytes = (uint64_t)st.st_size;
    return FKV_OK;
}

/* The file's name before what is wrong with it. */
static void name_file(fkv_session *s, const char *path)
{
    struct fkv_error named;
    snprintf(named.text, sizeof named.text, "%.200s: %.300s", path, s->error.text);
    s->error = named;
}

fkv_status fkv_session_load(fkv_session *s, const char *path, const char *label)
{
    struct fkv_blob blob;
    fkv_session_forget(s, 0);
    fkv_status status = open_file(&blob, path, &s->error);
    if (status != FKV_OK) return status;
    status = read_session(s, &blob, label ? label : "");
    close(blob.fd);
    if (status != FKV_OK) name_file(s, path);
    return status;
}

static fkv_status look(fkv_session *s, const struct fkv_blob *from, struct fkv_session_file *file)
{
    struct fkv_form form;
    int32_t *ids = NULL;
    fkv_turns_take(&s->e->ws.turn);
    fkv_status status = fkv_form_open(&form, s, from);
    fkv_turns_leave(&s->e->ws.turn);
    if (status == FKV_OK && !(ids = malloc((form.head.end + 1) * sizeof *ids)))
        status = fkv_fail(&s->error, FKV_ERROR_MEMORY, "no memory for %u ids", form.head.end);
    if (status == FKV_OK) status = fkv_form_ids(&form, s, from, ids);
    if (status == FKV_OK) {
        const struct fkv_sequence_turn *last = form.n_turns ? &form.turn[form.n_turns - 1] : NULL;
        *file = (struct fkv_session_file){.ids = ids, .n_ids = form.head.end, .bytes = from->bytes};
        memcpy(file->label, form.label, sizeof file->label);
        if (last) {
            file->pruned_until = last->end;
            memcpy(file->policy, last->policy, sizeof file->policy);
        }
    } else {
        free(ids);
    }
    fkv_form_free(&form);
    return status;
}

fkv_status fkv_session_look(fkv_session *s, const char *path, struct fkv_session_file *file)
{
    struct fkv_blob blob;
    fkv_status status = open_file(&blob, path, &s->error);
    if (status != FKV_OK) return status;
    status = look(s, &blob, file);
    close(blob.fd);
    if (status != FKV_OK) name_file(s, path);
    return status;
}
