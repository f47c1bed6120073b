#include "template/jinja.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 16 };

struct jchunk {
    struct jchunk *next;
    size_t used, bytes;
    alignas(max_align_t) char data[];
};

void fkv_jinja_fail(jinja *j, fkv_status status, const char *format, ...)
{
    char what[FKV_ERROR_BYTES];
    va_list ap;
    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    j->status = fkv_fail(j->error, status, "chat template, line %d: %s", j->line, what);
    longjmp(j->failed, 1);
}

static struct jchunk *new_chunk(jinja *j, size_t bytes)
{
    if (bytes < CHUNK_BYTES) bytes = CHUNK_BYTES;
    if (bytes > j->memory_left)
        fkv_jinja_fail(j, FKV_ERROR_MEMORY, "the template needs more memory than it is allowed");
    struct jchunk *c = malloc(sizeof *c + bytes);
    if (!c) fkv_jinja_fail(j, FKV_ERROR_MEMORY, "out of memory");
    j->memory_left -= bytes;
    *c = (struct jchunk){.next = j->chunks, .bytes = bytes};
    j->chunks = c;
    return c;
}

void *fkv_jinja_alloc(jinja *j, size_t n, size_t size)
{
    const size_t align = alignof(max_align_t);
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2)
        fkv_jinja_fail(j, FKV_ERROR_MEMORY, "the template needs more memory than it is allowed");
    fkv_jinja_work_text(j, bytes);
    bytes = (bytes + align - 1) & ~(align - 1);
    struct jchunk *c = j->chunks;
    if (!c || c->bytes - c->used < bytes) c = new_chunk(j, bytes);
    void *p = c->data + c->used;
    c->used += bytes;
    return p;
}

void fkv_jinja_free_all(jinja *j)
{
    for (struct jchunk *c = j->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    j->chunks = NULL;
}

void fkv_jinja_work(jinja *j, size_t steps)
{
    if (steps > j->work_left) fkv_jinja_bad(j, "the template takes too many steps");
    j->work_left -= steps;
}

void fkv_jinja_enter(jinja *j)
{
    if (++j->depth > J_MAX_DEPTH) fkv_jinja_bad(j, "nested too deeply");
}

void fkv_jinja_put(jinja *j, jbuffer *b, const char *text, size_t n)
{
    fkv_jinja_work_text(j, n);
    if (n > b->capacity - b->n) {
        size_t capacity = 2 * b->capacity + n + 64;
        char *grown = fkv_jinja_alloc(j, capacity, 1);
        if (b->n) memcpy(grown, b->text, b->n);
        b->text = grown;
        b->capacity = capacity;
    }
    if (n) memcpy(b->text + b->n, text, n);
    b->n += n;
}
