#define _GNU_SOURCE
#include "gguf/gguf.h"

#include <assert.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gguf/gguf_internal.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are read from the file as they lie there");

/* ---- open and close -------------------------------------------------------------------------- */

/* NULL when there is no memory. */
static struct fkv_gguf *new_gguf(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct fkv_gguf *g = calloc(1, sizeof *g);
    if (g) g->file = strdup(slash ? slash + 1 : path);
    if (g && g->file) return g;
    fkv_gguf_close(g);
    return NULL;
}

fkv_status fkv_gguf_open_one(struct fkv_gguf **gguf, const char *path, struct fkv_error *e)
{
    struct fkv_gguf *g = new_gguf(path);
    if (!g) return fkv_fail(e, FKV_ERROR_MEMORY, "%s: no memory to open it", path);
    fkv_status status = fkv_file_map_open(&g->map, path, e);
    if (status != FKV_OK) goto error;
    g->data = g->map.data;
    g->bytes = g->map.bytes;
    status = fkv_gguf_parse(g, e);
    if (status != FKV_OK) goto error;
    *gguf = g;
    return FKV_OK;
error:
    fkv_gguf_close(g);
    return status;
}

fkv_status fkv_gguf_open(struct fkv_gguf **gguf, const char *path, struct fkv_error *e)
{
    struct fkv_gguf *g;
    fkv_status status = fkv_gguf_open_one(&g, path, e);
    if (status != FKV_OK) return status;
    status = fkv_gguf_open_parts(g, path, e);
    if (status != FKV_OK) {
        fkv_gguf_close(g);
        return status;
    }
    *gguf = g;
    return FKV_OK;
}

fkv_status fkv_gguf_open_memory(struct fkv_gguf **gguf, const void *data, size_t bytes, struct fkv_error *e)
{
    uint32_t n_parts = 1;
    struct fkv_gguf *g = new_gguf("(memory)");
    if (!g) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory to open a GGUF file");
    g->data = data;
    g->bytes = bytes;
    fkv_status status = fkv_gguf_parse(g, e);
    if (status == FKV_OK) status = fkv_gguf_u32(g, "split.count", &n_parts, e);
    if (status == FKV_OK && n_parts > 1) {
        status = fkv_fail(e, FKV_ERROR_UNSUPPORTED, "%s: expected a whole file, found one of %" PRIu32 " parts",
                          g->file, n_parts);
    }
    if (status != FKV_OK) {
        fkv_gguf_close(g);
        return status;
    }
    *gguf = g;
    return FKV_OK;
}

void fkv_gguf_close(struct fkv_gguf *gguf)
{
    if (!gguf) return;
    for (size_t i = 0; i < gguf->n_parts; i++) fkv_gguf_close(gguf->parts[i]);
    for (size_t i = 0; i < gguf->n_keys; i++) free(gguf->keys[i].strings);
    for (struct fkv_gguf_made *made = gguf->made, *next; made; made = next) {
        next = made->next;
        free(made);
    }
    free(gguf->parts);
    free(gguf->keys);
    free(gguf->key_index.entries);
    free(gguf->tensors);
    free(gguf->tensor_index.entries);
    fkv_file_map_close(&gguf->map);
    free(gguf->file);
    free(gguf);
}

/* ---- tensors and keys ------------------------------------------------------------------------ */

size_t fkv_gguf_n_tensors(const struct fkv_gguf *gguf) { return gguf->n_tensors; }

const struct fkv_gguf_tensor *fkv_gguf_tensor(const struct fkv_gguf *gguf, size_t i)
{
    assert(i < gguf->n_tensors);
    return &gguf->tensors[i].tensor;
}

size_t fkv_gguf_find(const struct fkv_gguf *gguf, const char *name)
{
    const struct fkv_name_entry *entry = fkv_name_index_find(&gguf->tensor_index, (struct fkv_str){name, strlen(name)});
    return entry ? entry->i : gguf->n_tensors;
}

const struct fkv_gguf_tensor *fkv_gguf_find_tensor(const struct fkv_gguf *gguf, const char *name)
{
    const size_t i = fkv_gguf_find(gguf, name);
    return i < gguf->n_tensors ? &gguf->tensors[i].tensor : NULL;
}

size_t fkv_gguf_n_keys(const struct fkv_gguf *gguf) { return gguf->n_keys; }

struct fkv_str fkv_gguf_key(const struct fkv_gguf *gguf, size_t i, enum fkv_gguf_kind *kind, enum fkv_gguf_kind *elem,
                            uint64_t *count)
{
    assert(i < gguf->n_keys);
    const struct fkv_gguf_key *key = &gguf->keys[i];
    *kind = key->kind;
    *elem = key->elem;
    *count = key->count;
    return key->name;
}

static const struct fkv_gguf_key *find(const struct fkv_gguf *g, const char *key)
{
    const struct fkv_name_entry *entry = fkv_name_index_find(&g->key_index, (struct fkv_str){key, strlen(key)});
    return entry ? &g->keys[entry->i] : NULL;
}

bool fkv_gguf_has(const struct fkv_gguf *gguf, const char *key) { return find(gguf, key) != NULL; }

/* ---- values ---------------------------------------------------------------------------------- */

static const char *const kind_names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};

static fkv_status wrong_kind(const struct fkv_gguf *g, const struct fkv_gguf_key *key, const char *wanted,
                             struct fkv_error *e)
{
    char name[FKV_GGUF_NAME_BYTES];
    fkv_gguf_printable(key->name, name);
    if (key->kind != FKV_GGUF_ARRAY) {
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: key %s: expected %s, found %s", g->file, name, wanted,
                        kind_names[key->kind]);
    }
    return fkv_fail(e, FKV_ERROR_FORMAT, "%s: key %s: expected %s, found an array of %s", g->file, name, wanted,
                    kind_names[key->elem]);
}

static bool is_integer(enum fkv_gguf_kind kind)
{
    return kind <= FKV_GGUF_I32 || kind == FKV_GGUF_U64 || kind == FKV_GGUF_I64;
}

static bool is_signed(enum fkv_gguf_kind kind)
{
    return kind == FKV_GGUF_I8 || kind == FKV_GGUF_I16 || kind == FKV_GGUF_I32 || kind == FKV_GGUF_I64;
}

static struct fkv_str string_at(const uint8_t *bytes)
{
    uint64_t n;
    memcpy(&n, bytes, sizeof n);
    return (struct fkv_str){(const char *)bytes + sizeof n, (size_t)n};
}

/* The i-th integer of this kind; a u64 above INT64_MAX comes out as that. */
static int64_t integer_at(const uint8_t *bytes, enum fkv_gguf_kind kind, uint64_t i)
{
    const size_t n = fkv_gguf_kind_bytes(kind), spare_bits = 64 - 8 * n;
    uint64_t value = 0;
    memcpy(&value, bytes + i * n, n);
    if (is_signed(kind)) return (int64_t)(value << spare_bits) >> spare_bits;
    return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

static double float_at(const uint8_t *bytes, enum fkv_gguf_kind kind, uint64_t i)
{
    float single;
    double value;
    if (kind == FKV_GGUF_F32) {
        memcpy(&single, bytes + i * sizeof single, sizeof single);
        return (double)single;
    }
    assert(kind == FKV_GGUF_F64);
    memcpy(&value, bytes + i * sizeof value, sizeof value);
    return value;
}

static fkv_status as_u32(const struct fkv_gguf *g, const char *key, int64_t found, uint32_t *value, struct fkv_error *e)
{
    if (found < 0 || found > UINT32_MAX) {
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: key %s: expected an integer from 0 to %" PRIu32 ", found %" PRId64,
                        g->file, key, UINT32_MAX, found);
    }
    *value = (uint32_t)found;
    return FKV_OK;
}

fkv_status fkv_gguf_u32(const struct fkv_gguf *gguf, const char *key, uint32_t *value, struct fkv_error *e)
{
    const struct fkv_gguf_key *k = find(gguf, key);
    if (!k) return FKV_OK;
    if (!is_integer(k->kind)) return wrong_kind(gguf, k, "an integer", e);
    return as_u32(gguf, key, integer_at(k->data, k->kind, 0), value, e);
}

fkv_status fkv_gguf_u32_of(const struct fkv_gguf *gguf, const char *key, uint64_t i, uint64_t n, uint32_t *value,
                           struct fkv_error *e)
{
    const struct fkv_gguf_key *k = find(gguf, key);
    if (!k || k->kind != FKV_GGUF_ARRAY) return fkv_gguf_u32(gguf, key, value, e);
    if (!is_integer(k->elem) && k->elem != FKV_GGUF_BOOL) return wrong_kind(gguf, k, "an integer or some", e);
    if (k->count != n)
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: key %s: expected %" PRIu64 " numbers, found %" PRIu64, gguf->file,
                        key, n, k->count);
    assert(i < n);
    return as_u32(gguf, key, integer_at(k->data, k->elem, i), value, e);
}

fkv_status fkv_gguf_f32(const struct fkv_gguf *gguf, const char *key, float *value, struct fkv_error *e)
{
    const struct fkv_gguf_key *k = find(gguf, key);
    if (!k) return FKV_OK;
    if (k->kind != FKV_GGUF_F32 && k->kind != FKV_GGUF_F64) return wrong_kind(gguf, k, "a float", e);
    const double found = float_at(k->data, k->kind, 0);
    if (!(fabs(found) <= (double)FLT_MAX)) {
        return fkv_fail(e, FKV_ERROR_FORMAT, "%s: key %s: expected a finite float of 32 bits, found %g", gguf->file,
                        key, found);
    }
    *value = (float)found;
    return FKV_OK;
}

fkv_status fkv_gguf_bool(const struct fkv_gguf *gguf, const char *key, bool *value, struct fkv_error *e)
{
    const struct fkv_gguf_key *k = find(gguf, key);
    if (!k) return FKV_OK;
    if (k->kind != FKV_GGUF_BOOL) return wrong_kind(gguf, k, "bool", e);
    *value = *k->data != 0;
    return FKV_OK;
}

fkv_status fkv_gguf_str(const struct fkv_gguf *gguf, const char *key, struct fkv_str *value, struct fkv_error *e)
{
    const struct fkv_gguf_key *k = find(gguf, key);
    if (!k) return FKV_OK;
    if (k->kind != FKV_GGUF_STRING) return wrong_kind(gguf, k, "string", e);
    *value = string_at(k->data);
    return FKV_OK;
}

fkv_status fkv_gguf_array(const struct fkv_gguf *gguf, const char *key, enum fkv_gguf_kind elem, uint64_t *count,
                          struct fkv_error *e)
{
    const struct fkv_gguf_key *k = find(gguf, key);
    if (!k) {
        *count = 0;
        return FKV_OK;
    }
    if (k->kind != FKV_GGUF_ARRAY || (k->elem != elem && !(is_integer(k->elem) && is_integer(elem)))) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "an array of %s", kind_names[elem]);
        return wrong_kind(gguf, k, wanted, e);
    }
    *count = k->count;
    return FKV_OK;
}

struct fkv_str fkv_gguf_array_str(const struct fkv_gguf *gguf, const char *key, uint64_t i)
{
    const struct fkv_gguf_key *k = find(gguf, key);
    assert(k && k->kind == FKV_GGUF_ARRAY && k->elem == FKV_GGUF_STRING && i < k->count);
    return string_at(k->data + k->strings[i]);
}

float fkv_gguf_array_f32(const struct fkv_gguf *gguf, const char *key, uint64_t i)
{
    const struct fkv_gguf_key *k = find(gguf, key);
    assert(k && k->kind == FKV_GGUF_ARRAY && i < k->count);
    return (float)float_at(k->data, k->elem, i);
}

int64_t fkv_gguf_array_int(const struct fkv_gguf *gguf, const char *key, uint64_t i)
{
    const struct fkv_gguf_key *k = find(gguf, key);
    assert(k && k->kind == FKV_GGUF_ARRAY && (is_integer(k->elem) || k->elem == FKV_GGUF_BOOL) && i < k->count);
    return integer_at(k->data, k->elem, i);
}
