/* Operations on rows: heads normalised and rotated, rows normalised and added, rows gathered. */
#include <string.h>

#include "backend/cpu/cpu_backend.h"

void cpu_head_norm(struct fkv_run *r, struct fkv_tensor x, size_t ld, int n, int heads, int d, struct fkv_tensor norm,
                   float eps)
{
    const double t0 = fkv_clock_s();
    int lo, hi;
    fkv_team_share(r->b->team, r->thread, n, 1, &lo, &hi);
    for (int i = lo; i < hi; i++)
        for (int h = 0; h < heads; h++) {
            float *head = cpu_floats(x) + (size_t)i * ld + (size_t)h * (size_t)d;
            cpu_of(r)->k->rms_norm(head, cpu_floats(norm), d, eps, head);
        }
    cpu_stage(r, FKV_STAGE_ROWS, t0);
}

void cpu_add_normed(struct fkv_run *r, struct fkv_tensor y, int n, int d, struct fkv_tensor norm, float eps,
                    struct fkv_tensor x)
{
    const double t0 = fkv_clock_s();
    float *normed = cpu_scratch_of(r)->rows;
    int lo, hi;
    fkv_team_share(r->b->team, r->thread, n, 1, &lo, &hi);
    for (int i = lo; i < hi; i++) {
        cpu_of(r)->k->rms_norm(cpu_floats(y) + (size_t)i * (size_t)d, cpu_floats(norm), d, eps, normed);
        cpu_of(r)->k->add(normed, d, cpu_floats(x) + (size_t)i * (size_t)d);
    }
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_ROWS, t0);
}

void cpu_rope(struct fkv_run *r, const struct fkv_rope *rope, struct fkv_tensor x, size_t ld, int n, int heads,
              const int32_t *pos)
{
    const double t0 = fkv_clock_s();
    const struct fkv_kernels *k = cpu_of(r)->k;
    int lo, hi;
    fkv_team_share(r->b->team, r->thread, n, 1, &lo, &hi);
    for (int i = lo; i < hi; i++)
        (rope->pairs ? k->rope_pair : k->rope_half)(cpu_floats(x) + (size_t)i * ld, heads, rope->d, rope->n_rot,
                                                    cpu_floats(rope->cos_sin) + (size_t)pos[i] * (size_t)rope->n_rot);
    cpu_stage(r, FKV_STAGE_ROWS, t0);
}

/* By columns, so that threads need not wait for each other: within a column rows only move towards the front. */
void cpu_gather(struct fkv_run *r, struct fkv_tensor x, size_t d, const struct fkv_choice *c)
{
    const int32_t *rows = c->rows;
    float *at = cpu_floats(x);
    int lo, hi;
    fkv_team_share(r->b->team, r->thread, (int)d, 16, &lo, &hi);
    for (int i = 0; i < c->count[0]; i++)
        if (rows[i] != i)
            memcpy(at + (size_t)i * d + lo, at + (size_t)rows[i] * d + lo, (size_t)(hi - lo) * sizeof *at);
    fkv_team_barrier(r->b->team);
}
