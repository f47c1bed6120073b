#define _GNU_SOURCE
#include "support.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_BUFFERS = 256, FILL = 0xcd };

static struct buffer {
    unsigned char *map; /* unreadable page, pages, unreadable page */
    size_t pages_bytes, page;
    unsigned char *data;
    size_t bytes;
} buffers[MOST_BUFFERS];
static int n_buffers;

void *guarded(size_t bytes, enum guard_side side)
{
    assert_true(n_buffers < MOST_BUFFERS);
    struct buffer *b = &buffers[n_buffers++];
    b->page = (size_t)sysconf(_SC_PAGESIZE);
    b->pages_bytes = (bytes + b->page - 1) / b->page * b->page;
    b->bytes = bytes;
    b->map = mmap(NULL, b->pages_bytes + 2 * b->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(b->map != MAP_FAILED);
    unsigned char *first = b->map + b->page;
    memset(first, FILL, b->pages_bytes);
    assert_int_equal(mprotect(b->map, b->page, PROT_NONE), 0);
    assert_int_equal(mprotect(first + b->pages_bytes, b->page, PROT_NONE), 0);
    b->data = side == GUARD_AFTER ? first + b->pages_bytes - bytes : first;
    return b->data;
}

static bool is_slack_untouched(const struct buffer *b)
{
    const unsigned char *first = b->map + b->page;
    for (const unsigned char *p = first; p < first + b->pages_bytes; p++)
        if ((p < b->data || p >= b->data + b->bytes) && *p != FILL) return false;
    return true;
}

static void unmap(const struct buffer *b) { munmap(b->map, b->pages_bytes + 2 * b->page); }

void guarded_release(void)
{
    for (; n_buffers > 0; n_buffers--) {
        assert_true(is_slack_untouched(&buffers[n_buffers - 1]));
        unmap(&buffers[n_buffers - 1]);
    }
}

void guarded_forget(void)
{
    for (; n_buffers > 0; n_buffers--) unmap(&buffers[n_buffers - 1]);
}

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
