#define _GNU_SOURCE
#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
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

/* The number in a one-line file such as the control group's; UINT64_MAX for "max" or no file. */
static uint64_t number_in(const char *path)
{
    uint64_t value = UINT64_MAX;
    FILE *f = fopen(path, "re");
    if (!f) return value;
    if (fscanf(f, "%" SCNu64, &value) != 1) value = UINT64_MAX;
    fclose(f);
    return value;
}

static uint64_t meminfo_available(void)
{
    char line[128];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1) break;
    fclose(f);
    return kib << 10;
}

uint64_t fkv_memory_available(void)
{
    const uint64_t free_now = meminfo_available();
    const uint64_t limit = number_in("/sys/fs/cgroup/memory.max"), used = number_in("/sys/fs/cgroup/memory.current");
    if (limit == UINT64_MAX || used == UINT64_MAX) return free_now;
    const uint64_t left = limit > used ? limit - used : 0;
    return left < free_now ? left : free_now;
}
