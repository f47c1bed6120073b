#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "gguf/gguf_internal.h"

/* A split file: x-00001-of-00003.gguf and so on. The first holds the metadata; each has split.no (from 0), split.count,
   split.tensors.count (of all parts) and its own tensors. */

static const char suffix_format[] = "-%05" PRIu32 "-of-%05" PRIu32 ".gguf";
enum { SUFFIX_BYTES = 40 };

/* A split key must be there and have this value. */
static fkv_status expect_u32(const struct fkv_gguf *g, const char *key, uint32_t wanted, struct fkv_error *e)
{
    uint32_t found = 0;
    if (!fkv_gguf_has(g, key)) {
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: key %s: expected %" PRIu32 ", found no such key", g->file, key,
                        wanted);
    }
    const fkv_status status = fkv_gguf_u32(g, key, &found, e);
    if (status == FKV_OK && found != wanted) {
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: key %s: expected %" PRIu32 ", found %" PRIu32, g->file, key, wanted,
                        found);
    }
    return status;
}

/* *n: bytes of the path before the suffix of part 1. */
static fkv_status find_stem(const struct fkv_gguf *g, const char *path, uint32_t count, size_t *n, struct fkv_error *e)
{
    char suffix[SUFFIX_BYTES];
    const size_t bytes = strlen(path),
                 suffix_bytes = (size_t)snprintf(suffix, sizeof suffix, suffix_format, UINT32_C(1), count);
    uint32_t no = 0;
    const fkv_status status = fkv_gguf_u32(g, "split.no", &no, e);
    if (status != FKV_OK) return status;
    if (no != 0) {
        return fkv_fail(e, FKV_ERROR_ARGUMENT,
                        "%s: expected the first part of a split file, found part %" PRIu64 " of %" PRIu32, g->file,
                        (uint64_t)no + 1, count);
    }
    if (bytes <= suffix_bytes || strcmp(path + bytes - suffix_bytes, suffix) != 0) {
        return fkv_fail(e, FKV_ERROR_ARGUMENT,
                        "%s: expected a name that ends in %s, as it is the first of %" PRIu32 " parts", g->file, suffix,
                        count);
    }
    *n = bytes - suffix_bytes;
    return FKV_OK;
}

/* Takes part over, failure or not. */
static fkv_status append_part(struct fkv_gguf *g, struct fkv_gguf *part, struct fkv_error *e)
{
    struct fkv_gguf **parts = realloc(g->parts, (g->n_parts + 1) * sizeof *parts);
    if (!parts) {
        fkv_gguf_close(part);
        return fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory for its parts", g->file);
    }
    g->parts = parts;
    g->parts[g->n_parts++] = part;
    if (part->n_tensors == 0) return FKV_OK;
    struct fkv_gguf_tensor_entry *tensors = realloc(g->tensors, (g->n_tensors + part->n_tensors) * sizeof *tensors);
    if (!tensors) return fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory for its tensors", part->file);
    memcpy(tensors + g->n_tensors, part->tensors, part->n_tensors * sizeof *tensors);
    g->tensors = tensors;
    g->n_tensors += part->n_tensors;
    return FKV_OK;
}

static fkv_status open_part(struct fkv_gguf *g, const char *path, uint32_t no, uint32_t count, struct fkv_error *e)
{
    struct fkv_gguf *part;
    fkv_status status = fkv_gguf_open_one(&part, path, e);
    if (status != FKV_OK) return status;
    status = expect_u32(part, "split.no", no, e);
    if (status == FKV_OK) status = expect_u32(part, "split.count", count, e);
    if (status == FKV_OK) return append_part(g, part, e);
    fkv_gguf_close(part);
    return status;
}

fkv_status fkv_gguf_open_parts(struct fkv_gguf *g, const char *path, struct fkv_error *e)
{
    uint32_t count = 1;
    size_t stem = 0;
    fkv_status status = fkv_gguf_u32(g, "split.count", &count, e);
    if (status != FKV_OK || count <= 1) return status;
    status = find_stem(g, path, count, &stem, e);
    if (status != FKV_OK) return status;
    char *part_path = malloc(stem + SUFFIX_BYTES);
    if (!part_path) return fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory for the names of its parts", g->file);
    memcpy(part_path, path, stem);
    for (uint32_t no = 1; no < count && status == FKV_OK; no++) {
        snprintf(part_path + stem, SUFFIX_BYTES, suffix_format, no + 1, count);
        status = open_part(g, part_path, no, count, e);
    }
    free(part_path);
    if (status == FKV_OK) status = fkv_gguf_index_tensors(g, e);
    if (status == FKV_OK) status = expect_u32(g, "split.tensors.count", (uint32_t)g->n_tensors, e);
    return status;
}
