/* seen.h: which entries the rows of an attend call see (simd.h, struct fkv_attend), of all and of a block of them; and
   those of a window_sums call, and its rows. */
#ifndef FKV_SIMD_SEEN_H
#define FKV_SIMD_SEEN_H

#include "simd/simd.h"

/* Entries from .. to - 1; none when to <= from. */
struct fkv_span {
    int from, to;
};

static inline struct fkv_span fkv_seen(const struct fkv_attend *a, int row)
{
    const int from = a->first_keys ? a->first_keys[row] : 0, to = a->n_keys[row];
    return (struct fkv_span){from > a->first ? from : a->first, to < a->last ? to : a->last};
}

/* What lies within [start, start + n), counted from start; {0, 0} if nothing does. */
static inline struct fkv_span fkv_span_within(struct fkv_span s, int start, int n)
{
    const int from = s.from > start ? s.from - start : 0, to = s.to - start < n ? s.to - start : n;
    return from < to ? (struct fkv_span){from, to} : (struct fkv_span){0, 0};
}

/* From the first entry of either to the last. */
static inline struct fkv_span fkv_span_of_both(struct fkv_span a, struct fkv_span b)
{
    if (a.to <= a.from) return b;
    if (b.to <= b.from) return a;
    return (struct fkv_span){a.from < b.from ? a.from : b.from, a.to > b.to ? a.to : b.to};
}

/* From the first entry that any of rows row .. row + n - 1 sees to the last; {0, 0} if they see none. */
static inline struct fkv_span fkv_seen_by(const struct fkv_attend *a, int row, int n)
{
    struct fkv_span all = {0, 0};
    for (int r = row; r < row + n; r++) all = fkv_span_of_both(all, fkv_seen(a, r));
    return all.from < all.to ? all : (struct fkv_span){0, 0};
}

/* The same of [start, start + size), counted from start. */
static inline struct fkv_span fkv_seen_within(const struct fkv_attend *a, int row, int n, int start, int size)
{
    struct fkv_span all = {0, 0};
    for (int r = row; r < row + n; r++) all = fkv_span_of_both(all, fkv_span_within(fkv_seen(a, r), start, size));
    return all;
}

/* The tiles that hold these entries. */
static inline struct fkv_span fkv_tiles_of(struct fkv_span s)
{
    return (struct fkv_span){s.from / FKV_TILE, (s.to + FKV_TILE - 1) / FKV_TILE};
}

/* Of each group of n rows, the last may be smaller, the tiles of [start, start + size) that any row sees; returns those
   that any group sees. */
static inline struct fkv_span fkv_tiles_of_groups(const struct fkv_attend *a, int n, int start, int size,
                                                  struct fkv_span *groups)
{
    struct fkv_span all = {0, 0};
    for (int row = 0; row < a->n_rows; row += n, groups++) {
        const int rows = a->n_rows - row < n ? a->n_rows - row : n;
        *groups = fkv_tiles_of(fkv_seen_within(a, row, rows, start, size));
        all = fkv_span_of_both(all, *groups);
    }
    return all;
}

/* The keys that row i of a window of w sees (window_sums). */
static inline struct fkv_span fkv_seen_in_window(const int32_t *first, int i, int w, int n)
{
    const int from = first ? first[i] : 0, to = n - w + i + 1;
    return (struct fkv_span){from < to ? from : to, to};
}

/* The rows of a window that take part in a window_sums call, and the weight of each; returns their number. */
static inline int fkv_rows_that_count(const float *weight, int w, int rows[FKV_MAX_WINDOW], float by[FKV_MAX_WINDOW])
{
    int n = 0;
    for (int i = 0; i < w; i++) {
        if (weight && !(weight[i] > 0)) continue;
        rows[n] = i;
        by[n++] = weight ? weight[i] : 1;
    }
    return n;
}

#endif
