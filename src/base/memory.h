/* memory.h: large memory straight from the system. */
#ifndef FKV_BASE_MEMORY_H
#define FKV_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed, page-aligned address space whose pages cost nothing until they are first written, by the thread that writes
   them. NULL when there is none. bytes 0 is allowed. */
void *fkv_reserve(size_t bytes);
void fkv_unreserve(void *memory, size_t bytes);
/* For memory that will be used from end to end: fewer address translations, but whole huge pages are taken at a
   touch. */
void fkv_prefer_huge_pages(void *memory, size_t bytes);
/* Gives the whole pages within [begin, end) of a reservation back: they read as zero again. */
void fkv_release_pages(void *begin, void *end);

/* Lays arrays out over one reservation, each at a multiple of 64 bytes; base NULL: it only measures. */
struct fkv_carver {
    char *base;
    size_t offset;
};
void *fkv_carve(struct fkv_carver *c, size_t bytes);

#endif
