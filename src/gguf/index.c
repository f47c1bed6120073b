#include <stdlib.h>

#include "gguf/gguf_internal.h"

static int compare_names(struct fkv_str a, struct fkv_str b)
{
    const int order = memcmp(a.data, b.data, a.n < b.n ? a.n : b.n);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_entries(const void *a, const void *b)
{
    return compare_names(((const struct fkv_name_entry *)a)->name, ((const struct fkv_name_entry *)b)->name);
}

/* Sorts the n names that `name_of` gives; *duplicate (of n > 0 bytes) is set when two are equal. */
static fkv_status build(struct fkv_name_index *index, size_t n,
                        struct fkv_str (*name_of)(const struct fkv_gguf *, size_t), const struct fkv_gguf *g,
                        struct fkv_str *duplicate)
{
    free(index->entries);
    *index = (struct fkv_name_index){0};
    if (n == 0) return FKV_OK;
    index->entries = calloc(n, sizeof *index->entries);
    if (!index->entries) return FKV_ERROR_MEMORY;
    index->n = n;
    for (size_t i = 0; i < n; i++) index->entries[i] = (struct fkv_name_entry){name_of(g, i), i};
    qsort(index->entries, n, sizeof *index->entries, compare_entries);
    for (size_t i = 1; i < n; i++) {
        if (compare_entries(&index->entries[i - 1], &index->entries[i]) == 0) {
            *duplicate = index->entries[i].name;
            return FKV_ERROR_FORMAT;
        }
    }
    return FKV_OK;
}

static struct fkv_str key_name(const struct fkv_gguf *g, size_t i) { return g->keys[i].name; }

static struct fkv_str tensor_name(const struct fkv_gguf *g, size_t i)
{
    const char *name = g->tensors[i].tensor.name;
    return (struct fkv_str){name, strlen(name)};
}

static fkv_status report(const struct fkv_gguf *g, fkv_status status, const char *what, struct fkv_str duplicate,
                         struct fkv_error *e)
{
    char name[FKV_GGUF_NAME_BYTES];
    if (status == FKV_OK) return FKV_OK;
    if (status == FKV_ERROR_MEMORY) return fkv_fail(e, status, "%s: no memory for the index of %ss", g->file, what);
    return fkv_fail(e, status, "%s: %s %s: found twice", g->file, what, fkv_gguf_printable(duplicate, name));
}

fkv_status fkv_gguf_index_keys(struct fkv_gguf *g, struct fkv_error *e)
{
    struct fkv_str duplicate = {0};
    const fkv_status status = build(&g->key_index, g->n_keys, key_name, g, &duplicate);
    return report(g, status, "key", duplicate, e);
}

fkv_status fkv_gguf_index_tensors(struct fkv_gguf *g, struct fkv_error *e)
{
    struct fkv_str duplicate = {0};
    const fkv_status status = build(&g->tensor_index, g->n_tensors, tensor_name, g, &duplicate);
    return report(g, status, "tensor", duplicate, e);
}

const struct fkv_name_entry *fkv_name_index_find(const struct fkv_name_index *index, struct fkv_str name)
{
    const struct fkv_name_entry wanted = {name, 0};
    if (index->n == 0) return NULL;
    return bsearch(&wanted, index->entries, index->n, sizeof wanted, compare_entries);
}

const char *fkv_gguf_printable(struct fkv_str name, char buf[FKV_GGUF_NAME_BYTES])
{
    const size_t room = FKV_GGUF_NAME_BYTES - sizeof "...";
    const size_t n = name.n < room ? name.n : room;
    for (size_t i = 0; i < n; i++) buf[i] = name.data[i] >= ' ' && name.data[i] <= '~' ? name.data[i] : '?';
    strcpy(buf + n, n < name.n ? "..." : "");
    return buf;
}
