/* Checks of the operations on rows. */
#include "support.h"

#include <math.h>
#include <string.h>

enum { MOST = 65, LONG = 1537 }; /* two tiles of the widest level and one; a real row's length and one */

static int next_length(int n) { return n < MOST ? n + 1 : n == MOST ? LONG : LONG + 1; }

static enum guard_side side_of(int i) { return i % 2 ? GUARD_BEFORE : GUARD_AFTER; }

static float *normal_row(int n, float scale, enum guard_side side)
{
    float *x = guarded_floats(n, side);
    for (int i = 0; i < n; i++) x[i] = scale * random_normal();
    return x;
}

void check_rms_norm(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    const float scales[] = {1, 0, 1e15f, 1e-40f, 30};
    for (int n = 1; n <= LONG; n = next_length(n))
        for (int s = 0; s < 5; s++) {
            float *x = normal_row(n, scales[s], side_of(s)), *w = normal_row(n, 1, GUARD_AFTER),
                  *y = guarded_floats(n, side_of(n));
            const float eps = s % 2 ? 1e-5f : 1e-6f;
            if (s == 4) x[n / 2] = 1e4f; /* an outlier channel */
            level->rms_norm(x, w, n, eps, y);
            double squares = 0;
            for (int i = 0; i < n; i++) squares += (double)x[i] * (double)x[i];
            for (int i = 0; i < n; i++) {
                const double wanted = (double)x[i] / sqrt(squares / n + (double)eps) * (double)w[i];
                if (fabs((double)y[i] - wanted) > 1e-6 * fabs(wanted) + 1e-40)
                    fail_msg("n %d, scale %g: expected %.9g, got %.9g", n, scales[s], wanted, y[i]);
            }
            level->rms_norm(x, w, n, eps, x);
            assert_same_floats(x, y, n, "in place");
            guarded_release();
        }
}

typedef void rope_fn(float *x, int heads, int d, int n_rot, const float *cos_sin);

static void check_rope_case(rope_fn *rope, bool half, int heads, int d, int n_rot)
{
    float *x = normal_row(heads * d, 3, side_of(n_rot / 2)), *cos_sin = guarded_floats(n_rot, GUARD_AFTER);
    static float before[4 * 300];
    for (int i = 0; i < n_rot / 2; i++) {
        const float angle = 100 * random_uniform();
        cos_sin[2 * i] = cosf(angle);
        cos_sin[2 * i + 1] = sinf(angle);
    }
    memcpy(before, x, (size_t)heads * d * sizeof *x);
    rope(x, heads, d, n_rot, cos_sin);
    for (int h = 0; h < heads; h++) {
        const float *old = before + h * d, *new = x + h *d;
        for (int i = 0; i < n_rot / 2; i++) {
            const int a = half ? i : 2 * i, b = half ? i + n_rot / 2 : 2 * i + 1;
            const double c = (double)cos_sin[2 * i], s = (double)cos_sin[2 * i + 1], xa = (double)old[a],
                         xb = (double)old[b];
            const double bound = 0x1p-22 * (fabs(xa) + fabs(xb));
            if (fabs((double)new[a] - (xa * c - xb * s)) > bound || fabs((double)new[b] - (xa * s + xb * c)) > bound)
                fail_msg("head %d of %d, d %d, n_rot %d, pair %d", h, heads, d, n_rot, i);
        }
        assert_same_floats(old + n_rot, new + n_rot, d - n_rot, "channels that are not rotated");
    }
    guarded_release();
}

static void check_rope(rope_fn *rope, bool half)
{
    for (int n_rot = 0; n_rot <= 66; n_rot += 2)
        for (int more = 0; more <= 5; more += 5) check_rope_case(rope, half, 1 + n_rot / 2 % 3, n_rot + more, n_rot);
    check_rope_case(rope, half, 0, 64, 64);
    check_rope_case(rope, half, 4, 128, 128);
    check_rope_case(rope, half, 3, 256, 64);
}

void check_rope_half(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    check_rope(level->rope_half, true);
}

void check_rope_pair(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    check_rope(level->rope_pair, false);
}

/* What a gate's activation is of, and what its result may be off by: exp loses |x| half-units of the last place, and
   below e^-87 all may become zero. */
struct gating {
    double of, share;
};

static struct gating silu(double g) { return (struct gating){g, 1e-6 + 0x1p-23 * fabs(g)}; }

static struct gating gelu(double g)
{
    const double t2 = 2 * sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g);
    return (struct gating){t2, 1e-6 + 0x1p-21 * fmin(fabs(t2), 100)};
}

static void check_gated(void (*kernel)(const float *, const float *, int, float *), struct gating (*gating)(double))
{
    const float scales[] = {1, 0, 30, 1e4f, 1e-40f};
    for (int n = 0; n <= LONG; n = next_length(n))
        for (int s = 0; s < 5; s++) {
            float *gate = normal_row(n, scales[s], side_of(s)), *up = normal_row(n, 2, side_of(n)),
                  *y = guarded_floats(n, GUARD_AFTER);
            kernel(gate, up, n, y);
            for (int i = 0; i < n; i++) {
                const struct gating x = gating((double)gate[i]);
                const double wanted = (double)gate[i] / (1 + exp(-x.of)) * (double)up[i];
                if (!(fabs((double)y[i] - wanted) <= fabs(wanted) * x.share + 1e-33))
                    fail_msg("gate %g, up %g: expected %.9g, got %.9g", gate[i], up[i], wanted, y[i]);
            }
            if (s % 2) {
                kernel(gate, up, n, gate);
                assert_same_floats(gate, y, n, "y is gate");
            } else {
                kernel(gate, up, n, up);
                assert_same_floats(up, y, n, "y is up");
            }
            guarded_release();
        }
}

void check_swiglu(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    check_gated(level->swiglu, silu);
}

void check_geglu(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    check_gated(level->geglu, gelu);
}

void check_add(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    const float scales[] = {1, 0, 1e38f, 1e-44f};
    for (int n = 0; n <= LONG; n = next_length(n))
        for (int s = 0; s < 4; s++) {
            float *x = normal_row(n, scales[s], side_of(s)), *y = normal_row(n, scales[s], side_of(n)),
                  *wanted = guarded_floats(n, GUARD_AFTER);
            if (n > 3) x[n - 1] = -INFINITY;
            for (int i = 0; i < n; i++) wanted[i] = y[i] + x[i];
            level->add(x, n, y);
            assert_same_floats(y, wanted, n, "sum");
            guarded_release();
        }
}
