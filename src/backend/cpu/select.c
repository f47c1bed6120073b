/* The choice among the rows of a prefill by their scores. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "backend/choose.h"
#include "backend/cpu/cpu_backend.h"
#include "base/memory.h"

uint64_t cpu_choice_bytes(const struct fkv_backend *b, int lists, int n)
{
    (void)b;
    return (uint64_t)lists * (uint64_t)(n + 1) * sizeof(int32_t);
}

fkv_status cpu_choice_create(struct fkv_backend *b, struct fkv_choice **choice, int lists, int n)
{
    struct fkv_choice *c = calloc(1, sizeof *c);
    if (!c) return FKV_ERROR_MEMORY;
    *c = (struct fkv_choice){.lists = lists, .n = n};
    c->bytes = cpu_choice_bytes(b, lists, n);
    c->memory = fkv_reserve(c->bytes);
    if (!c->memory) {
        free(c);
        return FKV_ERROR_MEMORY;
    }
    c->count = c->memory;
    c->rows = c->count + lists;
    *choice = c;
    return FKV_OK;
}

void cpu_choice_destroy(struct fkv_choice *c)
{
    if (!c) return;
    fkv_unreserve(c->memory, c->bytes);
    free(c);
}

void cpu_choice_write(struct fkv_choice *c, int lists, const int32_t *count, const int32_t *rows)
{
    for (int l = 0; l < lists; l++) {
        c->count[l] = count[l];
        memcpy(cpu_choice_rows(c, l), rows, (size_t)count[l] * sizeof *rows);
        rows += count[l];
    }
}

int cpu_choice_count(const struct fkv_choice *c, int list) { return c->count[list]; }

const int32_t *cpu_choice_read(struct fkv_choice *c, int list) { return cpu_choice_rows(c, list); }

static void select_common(const struct fkv_kernels *k, struct cpu_scratch *s, const float *g, int heads,
                          const struct fkv_selection *how, struct fkv_choice *c)
{
    const size_t scored = (size_t)(how->n - how->window);
    memset(s->sums, 0, scored * sizeof *s->sums);
    for (int head = 0; head < heads; head++) k->add(g + (size_t)head * scored, (int)scored, s->sums);
    c->count[0] = fkv_select_rows(k, s->sums, how->n, how->window, how->keep, how->sinks, s->keys, s->copy, c->rows);
}

static void select_heads(struct fkv_run *r, const float *g, int heads, const struct fkv_selection *how,
                         struct fkv_choice *c)
{
    struct cpu_scratch *s = cpu_scratch_of(r);
    for (int head; (head = fkv_team_take(r->b->team, r->thread, heads)) >= 0;)
        c->count[head] = fkv_select_rows(cpu_of(r)->k, g + (size_t)head * (size_t)(how->n - how->window), how->n,
                                         how->window, how->keep, how->sinks, s->keys, s->copy,
                                         cpu_choice_rows(c, head));
}

bool cpu_select(struct fkv_run *r, struct fkv_tensor g, int heads, const struct fkv_selection *how,
                struct fkv_choice *c)
{
    const double t0 = fkv_clock_s();
    if (how->spread == FKV_SPREAD_POOLED) return false;
    assert(how->n <= c->n && (how->spread == FKV_SPREAD_COMMON || heads <= c->lists));
    if (how->spread == FKV_SPREAD_EQUAL)
        select_heads(r, cpu_floats(g), heads, how, c);
    else if (r->thread == 0)
        select_common(cpu_of(r)->k, cpu_scratch_of(r), cpu_floats(g), heads, how, c);
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_SELECT, t0);
    return true;
}
