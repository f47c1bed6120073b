#include "simd/level.h"

#include <pthread.h>
#include <string.h>

static const struct {
    const char *name;
    bool (*has)(void);
    void (*fill)(struct fkv_kernels *k);
} levels[] = {
#define LEVEL(name) {#name, fkv_has_##name, fkv_fill_##name},
#include "levels.inc"
#undef LEVEL
};
enum { N_LEVELS = sizeof levels / sizeof *levels };

static struct fkv_kernels tables[N_LEVELS];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int best; /* level of this machine */

/* A level the machine lacks leaves no trace in the tables of those above it. */
static void fill_tables(void)
{
    for (int level = 0; level < N_LEVELS; level++) {
        if (levels[level].has()) best = level;
        for (int i = 0; i <= level; i++)
            if (levels[i].has()) {
                levels[i].fill(&tables[level]);
                tables[level].isa = levels[i].name;
            }
    }
}

int fkv_simd_n_levels(void) { return N_LEVELS; }

const char *fkv_simd_level_name(int level) { return levels[level].name; }

bool fkv_simd_level_available(int level) { return levels[level].has(); }

int fkv_simd_find_level(const char *name)
{
    if (!name) { /* asked for with every choice of rows: cpuid, which a virtual machine's host answers, only once */
        pthread_once(&once, fill_tables);
        return best;
    }
    for (int i = 0; i < N_LEVELS; i++)
        if (strcmp(name, levels[i].name) == 0) return i;
    return -1;
}

const struct fkv_kernels *fkv_simd_kernels(int level)
{
    pthread_once(&once, fill_tables);
    return &tables[level];
}
