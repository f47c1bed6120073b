#define _GNU_SOURCE
#include "backend/cpu/blas.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Memory that the library may reserve for each CPU of the machine when it is loaded: OpenBLAS 0.3.21 takes 128 MiB. */
static const size_t bytes_for_a_cpu = (size_t)192 << 20;

/* Could the library have the memory it will ask for? */
static bool has_room(void)
{
    const long cpus = sysconf(_SC_NPROCESSORS_CONF);
    const size_t bytes = (size_t)(cpus > 0 ? cpus + 2 : 3) * bytes_for_a_cpu;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return false;
    munmap(p, bytes);
    return true;
}

/* The function of this name: POSIX lets an object's address be one. */
static void find_threads_function(void *library, const char *name, void (**function)(int))
{
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof found);
}

bool fkv_blas_open(struct fkv_blas *blas)
{
    void (*process_threads)(int) = NULL;
    *blas = (struct fkv_blas){0};
    if (!*fkv_blas_file || !has_room()) return false;
    void *library = dlopen(fkv_blas_file, RTLD_NOW | RTLD_LOCAL);
    void *product = library ? dlsym(library, fkv_blas_name) : NULL;
    if (!product) {
        if (library) dlclose(library);
        return false;
    }
    blas->library = library;
    blas->product = product;
    find_threads_function(library, "omp_set_num_threads", &blas->one_thread);
    if (*fkv_blas_threads_name) find_threads_function(library, fkv_blas_threads_name, &process_threads);
    if (process_threads) process_threads(1); /* no threads of its own beside our team */
    return true;
}

bool fkv_blas_product(const struct fkv_blas *blas, int m, int n, int k, const float *x, size_t ldx, const float *w,
                      float *y, size_t ldy)
{
    if (!blas->product) return false;
    if (blas->one_thread) blas->one_thread(1);
    return fkv_blas_call(blas->product, m, n, k, x, ldx, w, y, ldy);
}

/* The library stays loaded: libgomp's threads, if another user of it made any, do not survive its end. */
void fkv_blas_close(struct fkv_blas *blas) { *blas = (struct fkv_blas){0}; }
