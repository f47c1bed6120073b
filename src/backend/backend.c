/* What all back ends share: what is refused, and operations by their parts. */
#include "backend/backend.h"

#include <string.h>

fkv_status fkv_attention_check(const struct fkv_attention *how, const char *name, struct fkv_error *e)
{
    const char *what = how->soft_cap != 0 ? "a soft cap of the logits"
                       : how->blocks      ? "sparse attention by blocks of keys"
                       : how->skip        ? "heads that a decode step leaves out"
                       : how->bias        ? "a bias per entry"
                                          : NULL;
    return what ? fkv_fail(e, FKV_ERROR_UNSUPPORTED, "%s: %s: no back end can do that yet", name, what) : FKV_OK;
}

fkv_status fkv_scoring_check(const struct fkv_scoring *how, const struct fkv_backend *b, struct fkv_error *e)
{
    const char *option = how->reduce == FKV_REDUCE_DROP ? "kv-score: drop" : how->value_norm ? "kv-norm: on" : NULL;
    if (!option || b->scores_values) return FKV_OK;
    return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "%s scores by values, which only the device cpu does, found %s", option,
                    b->ops->name);
}

/* Where the parts of a choice by the host lie. */
struct chosen {
    float *scores, *copy;
    uint32_t *keys;
    int32_t *rows, *count;
};

static struct chosen lay_out(void *scratch, size_t values)
{
    struct chosen x;
    x.scores = scratch;
    x.copy = x.scores + values;
    x.keys = (uint32_t *)(x.copy + values);
    x.rows = (int32_t *)(x.keys + values);
    x.count = x.rows + values;
    return x;
}

void fkv_choose_into(struct fkv_backend *b, struct fkv_choice *c, const float *scores, int lists,
                     const struct fkv_selection *how, void *scratch)
{
    const struct chosen x = lay_out(scratch, (size_t)lists * (size_t)how->n);
    fkv_choose(scores, lists, how, x.copy, x.keys, x.count, x.rows);
    b->ops->choice_write(c, lists, x.count, x.rows);
}

/* The sum of the heads' scores, in place of the first one's. */
static void sum_heads(float *sum, const float *scores, int heads, size_t scored)
{
    memmove(sum, scores, scored * sizeof *sum);
    for (size_t i = scored; i < (size_t)heads * scored; i++) sum[i % scored] += scores[i];
}

void fkv_select(struct fkv_run *r, struct fkv_tensor g, int heads, const struct fkv_selection *how,
                struct fkv_choice *c, void *scratch)
{
    const struct fkv_ops *ops = r->b->ops;
    if (ops->select && ops->select(r, g, heads, how, c)) return;
    if (r->thread == 0) {
        const size_t scored = (size_t)(how->n - how->window);
        float *copy = lay_out(scratch, (size_t)heads * (size_t)how->n).scores;
        const float *scores = ops->read(r->b, g, (size_t)heads * scored, copy);
        if (how->spread == FKV_SPREAD_COMMON) {
            sum_heads(copy, scores, heads, scored);
            scores = copy;
        }
        if (ops->wait(r->b) == FKV_OK)
            fkv_choose_into(r->b, c, scores, how->spread == FKV_SPREAD_COMMON ? 1 : heads, how, scratch);
    }
    fkv_team_barrier(r->b->team);
}
