#include <stddef.h>

#include "base/threads.h"

struct fkv_openmp *fkv_openmp_start(int n, fkv_thread_fn fn, void *arg, int *n_given)
{
    (void)n, (void)fn, (void)arg, (void)n_given;
    return NULL;
}

void fkv_openmp_end(struct fkv_openmp *openmp) { (void)openmp; }

void fkv_openmp_places(bool *may_run, int n) { (void)may_run, (void)n; }

void fkv_openmp_unbind(void) {}
