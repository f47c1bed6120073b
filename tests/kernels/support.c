#define _GNU_SOURCE
#include "support.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_BUFFERS = 256, FILL = 0xcd };

/* The first n_buffers are in use; the others' pages, where they have any, are kept for later ones. */
static struct buffer {
    unsigned char *map; /* unreadable page, pages, unreadable page; or NULL */
    size_t pages_bytes, page;
    unsigned char *data;
    size_t bytes;
} buffers[MOST_BUFFERS];
static int n_buffers;

static void map(struct buffer *b, size_t pages_bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (b->map) munmap(b->map, b->pages_bytes + 2 * b->page);
    b->page = page;
    b->pages_bytes = pages_bytes;
    b->map = mmap(NULL, pages_bytes + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(b->map != MAP_FAILED);
    assert_int_equal(mprotect(b->map, page, PROT_NONE), 0);
    assert_int_equal(mprotect(b->map + page + pages_bytes, page, PROT_NONE), 0);
}

void *guarded(size_t bytes, enum guard_side side)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), pages_bytes = (bytes + page - 1) / page * page;
    assert_true(n_buffers < MOST_BUFFERS);
    struct buffer *b = &buffers[n_buffers];
    for (int i = n_buffers; i < MOST_BUFFERS; i++) {
        if (!buffers[i].map || buffers[i].pages_bytes != pages_bytes) continue;
        const struct buffer other = *b;
        *b = buffers[i];
        buffers[i] = other;
        break;
    }
    if (!b->map || b->pages_bytes != pages_bytes) map(b, pages_bytes);
    n_buffers++;
    unsigned char *first = b->map + page;
    memset(first, FILL, pages_bytes);
    b->bytes = bytes;
    b->data = side == GUARD_AFTER ? first + pages_bytes - bytes : first;
    return b->data;
}

static bool is_filled(const unsigned char *p, const unsigned char *end)
{
    for (; p < end; p++)
        if (*p != FILL) return false;
    return true;
}

void guarded_release(void)
{
    for (; n_buffers > 0; n_buffers--) {
        const struct buffer *b = &buffers[n_buffers - 1];
        assert_true(is_filled(b->map + b->page, b->data));
        assert_true(is_filled(b->data + b->bytes, b->map + b->page + b->pages_bytes));
    }
}

void guarded_forget(void) { n_buffers = 0; }

void assert_same_floats(const float *a, const float *b, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (fkv_bits_from_f32(a[i]) != fkv_bits_from_f32(b[i]))
            fail_msg("%s: value %zu is %.9g in one and %.9g in the other", what, i, a[i], b[i]);
}

/* xorshift64 */
static uint64_t random_state = 88172645463325252u;

void random_restart(uint64_t seed)
{
    random_state = 88172645463325252u + seed * 0x9e3779b97f4a7c15u;
    for (int i = 0; i < 8; i++) random_u32();
}

uint32_t random_u32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

int random_int(int n) { return (int)(random_u32() % (uint32_t)n); }
float random_uniform(void) { return ((float)(random_u32() >> 8) + 0.5f) * 0x1p-24f; }
float random_normal(void) { return sqrtf(-2 * logf(random_uniform())) * cosf(6.2831853f * random_uniform()); }
