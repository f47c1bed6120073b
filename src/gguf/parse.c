#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "gguf/gguf_internal.h"
#include "quant/quant.h"

enum {
    MAX_KEY_BYTES = 65535,   /* of a key's name: the format's limit */
    LEAST_KEY_BYTES = 13,    /* a key in the file: length of the name, kind, a value of one byte */
    LEAST_TENSOR_BYTES = 32, /* a tensor in the file: length of the name, n_dims, one dimension, type, offset */
    DEFAULT_ALIGNMENT = 32,
    LEAST_ALIGNMENT = 8,      /* the format asks for a multiple of 8 */
    MOST_ALIGNMENT = 1 << 20, /* far beyond any page or disk block in use */
};

/* A reader with a memory: after the first failure every read gives zeros, and `status` tells. Loops must look at it. */
struct parser {
    struct fkv_gguf *g;
    size_t at;                            /* the next byte; at <= g->bytes */
    char where[FKV_GGUF_NAME_BYTES + 16]; /* what is being read: "key general.name" */
    fkv_status status;
    struct fkv_error *e;
};

static void fail(struct parser *p, fkv_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void fail(struct parser *p, fkv_status status, const char *format, ...)
{
    char why[FKV_ERROR_BYTES];
    va_list args;
    if (p->status != FKV_OK) return;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    p->status = fkv_fail(p->e, status, "%s: %s: %s", p->g->file, p->where, why);
}

static void set_where(struct parser *p, const char *what, struct fkv_str name)
{
    char printable[FKV_GGUF_NAME_BYTES];
    snprintf(p->where, sizeof p->where, "%s %s", what, fkv_gguf_printable(name, printable));
}

static size_t bytes_left(const struct parser *p) { return p->g->bytes - p->at; }

/* The next n bytes; NULL when the file is shorter or something failed before. */
static const uint8_t *take(struct parser *p, uint64_t n, const char *what)
{
    if (p->status != FKV_OK) return NULL;
    if (n > bytes_left(p)) {
        fail(p, FKV_ERROR_FORMAT, "the file ends inside its %s: expected %" PRIu64 " bytes at byte %zu, found %zu",
             what, n, p->at, bytes_left(p));
        return NULL;
    }
    const uint8_t *bytes = p->g->data + p->at;
    p->at += (size_t)n;
    return bytes;
}

static uint32_t take_u32(struct parser *p, const char *what)
{
    uint32_t value = 0;
    const uint8_t *bytes = take(p, sizeof value, what);
    if (bytes) memcpy(&value, bytes, sizeof value);
    return value;
}

static uint64_t take_u64(struct parser *p, const char *what)
{
    uint64_t value = 0;
    const uint8_t *bytes = take(p, sizeof value, what);
    if (bytes) memcpy(&value, bytes, sizeof value);
    return value;
}

static struct fkv_str take_string(struct parser *p, const char *what)
{
    const uint64_t n = take_u64(p, what);
    const uint8_t *bytes = take(p, n, what);
    return bytes ? (struct fkv_str){(const char *)bytes, (size_t)n} : (struct fkv_str){"", 0};
}

/* Room for one more element of an array of n, doubled as it fills: memory follows what was read, not what a header
   claims. */
static void *grow(struct parser *p, void *array, size_t n, size_t element_bytes)
{
    if (n != 0 && (n & (n - 1)) != 0) return array;
    void *grown = n > SIZE_MAX / 2 / element_bytes ? NULL : realloc(array, (n ? 2 * n : 1) * element_bytes);
    if (!grown) fail(p, FKV_ERROR_MEMORY, "no memory after %zu of them", n);
    return grown ? grown : array;
}

/* ---- metadata -------------------------------------------------------------------------------- */

static enum fkv_gguf_kind take_kind(struct parser *p, const char *what)
{
    const uint32_t kind = take_u32(p, what);
    if (kind > FKV_GGUF_F64) {
        fail(p, FKV_ERROR_FORMAT, "expected a %s from 0 to %d, found %" PRIu32, what, FKV_GGUF_F64, kind);
        return FKV_GGUF_U8;
    }
    return (enum fkv_gguf_kind)kind;
}

size_t fkv_gguf_kind_bytes(enum fkv_gguf_kind kind)
{
    switch (kind) {
    case FKV_GGUF_U8:
    case FKV_GGUF_I8:
    case FKV_GGUF_BOOL: return 1;
    case FKV_GGUF_U16:
    case FKV_GGUF_I16: return 2;
    case FKV_GGUF_U32:
    case FKV_GGUF_I32:
    case FKV_GGUF_F32: return 4;
    case FKV_GGUF_U64:
    case FKV_GGUF_I64:
    case FKV_GGUF_F64: return 8;
    case FKV_GGUF_STRING: return 8;
    case FKV_GGUF_ARRAY: break;
    }
    return 0;
}

/* Walks the strings once to see that they are there, and only then makes the table of where they begin. */
static void take_strings(struct parser *p, struct fkv_gguf_key *key)
{
    const size_t start = p->at;
    for (uint64_t i = 0; i < key->count && p->status == FKV_OK; i++) take_string(p, "strings");
    if (p->status != FKV_OK || key->count == 0) return;
    key->strings = malloc((size_t)key->count * sizeof *key->strings);
    if (!key->strings) {
        fail(p, FKV_ERROR_MEMORY, "no memory for %" PRIu64 " strings", key->count);
        return;
    }
    p->at = start;
    for (uint64_t i = 0; i < key->count; i++) {
        key->strings[i] = p->at - start;
        take_string(p, "strings");
    }
}

static void take_array(struct parser *p, struct fkv_gguf_key *key)
{
    key->elem = take_kind(p, "kind of element");
    key->count = take_u64(p, "count");
    if (p->status != FKV_OK) return;
    key->data = p->g->data + p->at;
    if (key->elem == FKV_GGUF_ARRAY) {
        fail(p, FKV_ERROR_UNSUPPORTED, "arrays of arrays are not supported");
        return;
    }
    const size_t element_bytes = fkv_gguf_kind_bytes(key->elem), most = bytes_left(p) / element_bytes;
    if (key->count > most) {
        fail(p, FKV_ERROR_FORMAT,
             "expected at most %zu elements in the %zu bytes that follow, found a count of %" PRIu64, most,
             bytes_left(p), key->count);
    } else if (key->elem == FKV_GGUF_STRING) {
        take_strings(p, key);
    } else {
        take(p, key->count * element_bytes, "elements");
    }
}

static void take_value(struct parser *p, struct fkv_gguf_key *key)
{
    key->kind = key->elem = take_kind(p, "kind");
    key->count = 1;
    key->data = p->g->data + p->at;
    if (key->kind == FKV_GGUF_ARRAY) {
        take_array(p, key);
    } else if (key->kind == FKV_GGUF_STRING) {
        take_string(p, "value");
    } else if (take(p, fkv_gguf_kind_bytes(key->kind), "value") && key->kind == FKV_GGUF_BOOL && *key->data > 1) {
        fail(p, FKV_ERROR_FORMAT, "expected a bool of 0 or 1, found %d", *key->data);
    }
}

static void take_keys(struct parser *p, uint64_t n)
{
    struct fkv_gguf *g = p->g;
    for (uint64_t i = 0; i < n && p->status == FKV_OK; i++) {
        snprintf(p->where, sizeof p->where, "key %" PRIu64 " of %" PRIu64, i + 1, n);
        const struct fkv_str name = take_string(p, "name");
        if (p->status != FKV_OK) return;
        set_where(p, "key", name);
        if (name.n == 0 || name.n > MAX_KEY_BYTES) {
            fail(p, FKV_ERROR_FORMAT, "expected a name of 1 to %d bytes, found %zu", MAX_KEY_BYTES, name.n);
            return;
        }
        g->keys = grow(p, g->keys, g->n_keys, sizeof *g->keys);
        if (p->status != FKV_OK) return;
        struct fkv_gguf_key *key = &g->keys[g->n_keys++];
        *key = (struct fkv_gguf_key){.name = name};
        take_value(p, key);
    }
    if (p->status == FKV_OK) p->status = fkv_gguf_index_keys(g, p->e);
}

static uint32_t alignment_of(struct parser *p)
{
    uint32_t alignment = DEFAULT_ALIGNMENT;
    if (p->status != FKV_OK) return alignment;
    p->status = fkv_gguf_u32(p->g, "general.alignment", &alignment, p->e);
    set_where(p, "key", (struct fkv_str){"general.alignment", strlen("general.alignment")});
    if (alignment < LEAST_ALIGNMENT || alignment > MOST_ALIGNMENT || (alignment & (alignment - 1)) != 0) {
        fail(p, FKV_ERROR_FORMAT, "expected a power of two from %d to %d, found %" PRIu32, LEAST_ALIGNMENT,
             MOST_ALIGNMENT, alignment);
        return DEFAULT_ALIGNMENT;
    }
    return alignment;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static void fail_type(struct parser *p, uint32_t type)
{
    char unknown[16], list[256] = "";
    const char *name = fkv_quant_name(type, unknown);
    const struct fkv_quant_type *q;
    for (int i = 0; (q = fkv_quant_row(i)); i++) {
        const size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", q->name);
    }
    fail(p, FKV_ERROR_UNSUPPORTED, "%s%s is not supported (supported: %s)", name == unknown ? "" : "type ", name, list);
}

static void take_tensor_name(struct parser *p, struct fkv_gguf_tensor *t)
{
    const struct fkv_str name = take_string(p, "name");
    if (p->status != FKV_OK) return;
    set_where(p, "tensor", name);
    if (name.n == 0 || name.n >= sizeof t->name) {
        fail(p, FKV_ERROR_FORMAT, "expected a name of 1 to %zu bytes, found %zu", sizeof t->name - 1, name.n);
    } else if (memchr(name.data, 0, name.n)) {
        fail(p, FKV_ERROR_FORMAT, "expected a name without NUL bytes");
    } else {
        memcpy(t->name, name.data, name.n);
    }
}

/* Returns the number of values, 0 after a failure. */
static uint64_t take_dims(struct parser *p, struct fkv_gguf_tensor *t)
{
    const uint32_t n_dims = take_u32(p, "number of dimensions");
    if (p->status == FKV_OK && (n_dims < 1 || n_dims > 4))
        fail(p, FKV_ERROR_FORMAT, "expected 1 to 4 dimensions, found %" PRIu32, n_dims);
    uint64_t n = 1;
    for (uint32_t i = 0; i < 4; i++) {
        t->dims[i] = 1;
        if (p->status != FKV_OK || i >= n_dims) continue;
        t->dims[i] = take_u64(p, "dimensions");
        if (p->status == FKV_OK && (t->dims[i] == 0 || __builtin_mul_overflow(n, t->dims[i], &n) || n > INT64_MAX)) {
            fail(p, FKV_ERROR_FORMAT,
                 "expected dimensions with a product from 1 to 2^63 - 1, found %" PRIu64 " as dimension %" PRIu32,
                 t->dims[i], i);
        }
    }
    t->n_dims = (int)n_dims;
    return p->status == FKV_OK ? n : 0;
}

static void take_tensor(struct parser *p, struct fkv_gguf_tensor_entry *entry)
{
    struct fkv_gguf_tensor *t = &entry->tensor;
    take_tensor_name(p, t);
    const uint64_t n = take_dims(p, t);
    t->type = take_u32(p, "type");
    entry->offset = take_u64(p, "offset");
    if (p->status != FKV_OK) return;
    const struct fkv_quant_type *q = fkv_quant_find(t->type);
    if (!q) {
        fail_type(p, t->type);
    } else if (t->dims[0] % q->block_elements != 0) {
        fail(p, FKV_ERROR_FORMAT, "expected rows of a multiple of %" PRIu32 " values (%s), found %" PRIu64,
             q->block_elements, q->name, t->dims[0]);
    } else if (__builtin_mul_overflow(n / q->block_elements, q->block_bytes, &t->bytes)) {
        fail(p, FKV_ERROR_FORMAT, "expected a size below 2^64 bytes, found %" PRIu64 " values of %s", n, q->name);
    }
}

static void take_tensors(struct parser *p, uint64_t n)
{
    struct fkv_gguf *g = p->g;
    for (uint64_t i = 0; i < n && p->status == FKV_OK; i++) {
        snprintf(p->where, sizeof p->where, "tensor %" PRIu64 " of %" PRIu64, i + 1, n);
        g->tensors = grow(p, g->tensors, g->n_tensors, sizeof *g->tensors);
        if (p->status != FKV_OK) return;
        g->tensors[g->n_tensors] = (struct fkv_gguf_tensor_entry){0};
        take_tensor(p, &g->tensors[g->n_tensors++]);
    }
    if (p->status == FKV_OK) p->status = fkv_gguf_index_tensors(g, p->e);
}

/* The data begin at the next multiple of the alignment; offsets count from there. */
static void place_tensors(struct parser *p, uint32_t alignment)
{
    const struct fkv_gguf *g = p->g;
    const size_t pad = (alignment - p->at % alignment) % alignment;
    const size_t available = bytes_left(p) > pad ? bytes_left(p) - pad : 0;
    for (size_t i = 0; i < g->n_tensors && p->status == FKV_OK; i++) {
        struct fkv_gguf_tensor *t = &g->tensors[i].tensor;
        const uint64_t offset = g->tensors[i].offset;
        set_where(p, "tensor", (struct fkv_str){t->name, strlen(t->name)});
        if (offset % alignment != 0) {
            fail(p, FKV_ERROR_FORMAT, "expected an offset that is a multiple of %" PRIu32 ", found %" PRIu64, alignment,
                 offset);
        } else if (t->bytes > available || offset > available - t->bytes) {
            fail(p, FKV_ERROR_FORMAT,
                 "expected %" PRIu64 " bytes at offset %" PRIu64 " of the tensor data, found %zu bytes of data in all",
                 t->bytes, offset, available);
        } else {
            t->data = g->data + p->at + pad + offset;
        }
    }
}

/* ---- the file -------------------------------------------------------------------------------- */

static void take_header(struct parser *p, uint64_t *n_tensors, uint64_t *n_keys)
{
    const uint8_t *magic = take(p, 4, "magic number");
    const char *what = magic ? fkv_gguf_stranger(p->g->data, p->g->bytes) : NULL;
    if (what) {
        fail(p, FKV_ERROR_FORMAT, "expected a GGUF file, found %s", what);
    } else if (magic && memcmp(magic, "GGUF", 4) != 0) {
        fail(p, FKV_ERROR_FORMAT, "expected a GGUF file, found one that begins with the bytes %02x %02x %02x %02x",
             magic[0], magic[1], magic[2], magic[3]);
    }
    const uint32_t version = take_u32(p, "version");
    if (p->status == FKV_OK && version != 2 && version != 3) {
        if (__builtin_bswap32(version) <= 3)
            fail(p, FKV_ERROR_UNSUPPORTED, "expected a little-endian file, found a big-endian one");
        fail(p, FKV_ERROR_UNSUPPORTED, "expected version 2 or 3, found %" PRIu32, version);
    }
    *n_tensors = take_u64(p, "number of tensors");
    *n_keys = take_u64(p, "number of keys");
    if (*n_keys > bytes_left(p) / LEAST_KEY_BYTES) {
        fail(p, FKV_ERROR_FORMAT, "expected at most %zu keys in a file of %zu bytes, found a count of %" PRIu64,
             bytes_left(p) / LEAST_KEY_BYTES, p->g->bytes, *n_keys);
    }
    if (*n_tensors > bytes_left(p) / LEAST_TENSOR_BYTES) {
        fail(p, FKV_ERROR_FORMAT, "expected at most %zu tensors in a file of %zu bytes, found a count of %" PRIu64,
             bytes_left(p) / LEAST_TENSOR_BYTES, p->g->bytes, *n_tensors);
    }
}

fkv_status fkv_gguf_parse(struct fkv_gguf *g, struct fkv_error *e)
{
    struct parser p = {.g = g, .where = "header", .e = e};
    uint64_t n_tensors, n_keys;
    take_header(&p, &n_tensors, &n_keys);
    take_keys(&p, n_keys);
    const uint32_t alignment = alignment_of(&p);
    take_tensors(&p, n_tensors);
    place_tensors(&p, alignment);
    return p.status ? p.status : fkv_gguf_take_aliases(g, e);
}
