#define _GNU_SOURCE
#include "base/replacement.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static fkv_status failed(struct fkv_error *e, const char *path, const char *what)
{
    return fkv_fail(e, FKV_ERROR_IO, "%.300s: cannot %s: %s", path, what, strerror(errno));
}

/* Opens the folder, and keeps the names. */
static fkv_status open_folder(struct fkv_replacement *r, const char *path, struct fkv_error *e)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const size_t n = strlen(name), n_folder = slash ? (size_t)(slash - path) : 0;
    char folder[4096];
    if (!n || !strcmp(name, ".") || !strcmp(name, "..") || n + sizeof ".tmp" >= FKV_NAME_BYTES ||
        n_folder >= sizeof folder)
        return fkv_fail(e, FKV_ERROR_IO, "%.300s: expected a file's name of 1 to %zu bytes", path,
                        FKV_NAME_BYTES - sizeof ".tmp" - 1);
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)n_folder : 1, slash ? path : ".");
    memcpy(r->name, name, n + 1);
    snprintf(r->temporary, sizeof r->temporary, ".%.*s.tmp", (int)n, name);
    r->folder = open(*folder ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return r->folder < 0 ? failed(e, path, "open its folder") : FKV_OK;
}

/* Makes the temporary file, locked; false with errno. What nobody has locked was left by a process that is gone. */
static bool create_locked(struct fkv_replacement *r)
{
    struct stat mine, named;
    for (int attempt = 0; attempt < 3; attempt++) {
        r->fd = openat(r->folder, r->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        const bool created = r->fd >= 0;
        if (!created && errno != EEXIST) return false;
        if (!created) r->fd = openat(r->folder, r->temporary, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (r->fd < 0 && errno == ENOENT) continue;
        if (r->fd < 0) return false;
        const bool locked = flock(r->fd, LOCK_EX | LOCK_NB) == 0;
        const bool still = locked && fstat(r->fd, &mine) == 0 &&
                           fstatat(r->folder, r->temporary, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
                           mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
        if (created && still) return true;
        if (still) unlinkat(r->folder, r->temporary, 0);
        close(r->fd);
        r->fd = -1;
        errno = EBUSY;
        if (!locked) return false;
    }
    return false;
}

fkv_status fkv_replacement_begin(struct fkv_replacement *r, const char *path, struct fkv_error *e)
{
    struct stat st;
    *r = (struct fkv_replacement){.fd = -1, .folder = -1, .path = path};
    fkv_status status = open_folder(r, path, e);
    if (status == FKV_OK && fstatat(r->folder, r->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode))
        status = fkv_fail(e, FKV_ERROR_IO, "%.300s: expected a regular file to replace, found another kind", path);
    if (status == FKV_OK && !create_locked(r)) status = failed(e, path, "make its temporary file");
    if (status != FKV_OK) fkv_replacement_abandon(r);
    return status;
}

fkv_status fkv_replacement_commit(struct fkv_replacement *r, struct fkv_error *e)
{
    fkv_status status = fdatasync(r->fd) == 0 ? FKV_OK : failed(e, r->path, "write");
    if (status == FKV_OK) {
        if (renameat(r->folder, r->temporary, r->folder, r->name) == 0)
            *r->temporary = '\0';
        else
            status = failed(e, r->path, "name it");
    }
    if (status == FKV_OK && fsync(r->folder) != 0) status = failed(e, r->path, "write its folder");
    fkv_replacement_abandon(r);
    return status;
}

void fkv_replacement_abandon(struct fkv_replacement *r)
{
    if (r->fd >= 0 && *r->temporary) unlinkat(r->folder, r->temporary, 0);
    if (r->fd >= 0) close(r->fd);
    if (r->folder >= 0) close(r->folder);
    r->fd = r->folder = -1;
}
