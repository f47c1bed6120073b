#define _GNU_SOURCE
#include "base/memory.h"

#include <sys/mman.h>
#include <unistd.h>

void *fkv_reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void fkv_prefer_huge_pages(void *memory, size_t bytes) { madvise(memory, bytes, MADV_HUGEPAGE); }

void fkv_unreserve(void *memory, size_t bytes)
{
    if (memory) munmap(memory, bytes ? bytes : 1);
}

void fkv_release_pages(void *begin, void *end)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t b = ((uintptr_t)begin + page - 1) & ~(page - 1), e = (uintptr_t)end & ~(page - 1);
    if (b < e) madvise((void *)b, e - b, MADV_DONTNEED);
}

void *fkv_carve(struct fkv_carver *c, size_t bytes)
{
    void *p = c->base ? c->base + c->offset : NULL;
    c->offset += (bytes + 63) & ~(size_t)63;
    return p;
}
