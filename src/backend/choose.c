#include "backend/choose.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "backend/backend.h"

int fkv_select_rows(const struct fkv_kernels *k, const float *scores, int n, int w, int cap, int sinks, uint32_t *keys,
                    float *copy, int32_t *rows)
{
    if (cap >= n) {
        for (int i = 0; i < n; i++) rows[i] = i;
        return n;
    }
    assert(w <= cap && sinks <= cap - w);
    const float *ranked = scores;
    if (sinks > 0) {
        memcpy(copy, scores, (size_t)(n - w) * sizeof *copy);
        for (int i = 0; i < sinks; i++) copy[i] = INFINITY;
        ranked = copy;
    }
    k->top_k(ranked, n - w, cap - w, keys, rows);
    for (int i = 0; i < w; i++) rows[cap - w + i] = n - w + i;
    return cap;
}

/* AdaKV (arXiv 2407.11550): what a head's own order decides ranks before everything; of the rest the best of all heads,
   ties by head, then position. */
static void choose_pooled(const struct fkv_kernels *k, const float *scores, int lists, const struct fkv_selection *how,
                          float *copy, uint32_t *keys, int32_t *count, int32_t *rows)
{
    const int scored = how->n - how->window, kept = how->keep - how->window, own = how->sinks + how->least;
    memcpy(copy, scores, (size_t)lists * (size_t)scored * sizeof *copy);
    for (int l = 0; l < lists; l++) {
        float *list = copy + (size_t)l * (size_t)scored;
        for (int i = 0; i < how->sinks; i++) list[i] = INFINITY;
        k->top_k(list, scored, own, keys, rows);
        for (int i = 0; i < own; i++) list[rows[i]] = INFINITY;
    }
    k->top_k(copy, lists * scored, lists * kept, keys, rows);
    /* From the back, where room for the windows is made between the lists. */
    for (int l = lists - 1, end = lists * kept; l >= 0; l--) {
        int begin = end;
        while (begin > 0 && rows[begin - 1] >= l * scored) begin--;
        count[l] = end - begin + how->window;
        int32_t *to = rows + begin + l * how->window;
        memmove(to, rows + begin, (size_t)(end - begin) * sizeof *rows);
        for (int i = 0; i < end - begin; i++) to[i] -= l * scored;
        for (int i = 0; i < how->window; i++) to[end - begin + i] = scored + i;
        end = begin;
    }
}

size_t fkv_choose_bytes(int lists, int n)
{
    return (size_t)lists * (size_t)n * (2 * sizeof(float) + sizeof(uint32_t) + sizeof(int32_t)) +
           (size_t)lists * sizeof(int32_t);
}

void fkv_choose(const float *scores, int lists, const struct fkv_selection *how, float *copy, uint32_t *keys,
                int32_t *count, int32_t *rows)
{
    const struct fkv_kernels *k = fkv_simd_kernels(fkv_simd_find_level(NULL));
    if (how->spread == FKV_SPREAD_POOLED && how->keep < how->n) {
        choose_pooled(k, scores, lists, how, copy, keys, count, rows);
        return;
    }
    for (int l = 0; l < lists; l++) {
        count[l] = fkv_select_rows(k, scores, how->n, how->window, how->keep, how->sinks, keys, copy, rows);
        rows += count[l];
        if (how->spread != FKV_SPREAD_COMMON) scores += how->n - how->window;
    }
}
