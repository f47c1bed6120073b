/* What the output projection makes of a KV head's values, for scores by their norms: |W' v|^2 = v' W W' v, in the mean
   over the query heads that share it. */
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "quant/quant.h"

struct making {
    struct fkv_model *model;
    float *row; /* [threads][q_width] */
    struct fkv_team *team;
};

/* m[d][d] += by w w', of which the lower triangle. */
static void add_square(float *m, const float *w, int d, float by)
{
    for (int a = 0; a < d; a++) {
        const float x = w[a] * by;
        for (int b = 0; b <= a; b++) m[a * d + b] += x * w[b];
    }
}

static void mirror(float *m, int d)
{
    for (int a = 0; a < d; a++)
        for (int b = a + 1; b < d; b++) m[a * d + b] = m[b * d + a];
}

/* The projection's rows are outputs: each has a part of every query head's W. */
static void make_layer(const struct fkv_layer_hparams *l, const struct fkv_weight *w, float *row, float *grams)
{
    const struct fkv_quant_type *type = fkv_quant_find(w->type);
    const int d = l->d_head, query_heads = l->n_head / l->n_kv_head;
    const size_t square = (size_t)d * (size_t)d;
    for (int i = 0; i < w->rows; i++) {
        type->dequantize((const char *)w->data + (size_t)i * w->stride, row, (size_t)w->cols);
        for (int h = 0; h < l->n_head; h++)
            add_square(grams + (size_t)(h / query_heads) * square, row + h * d, d, 1 / (float)query_heads);
    }
    for (int g = 0; g < l->n_kv_head; g++) mirror(grams + (size_t)g * square, d);
}

static void make_region(void *arg, int thread)
{
    const struct making *m = arg;
    const struct fkv_hparams *h = &m->model->h;
    float *row = m->row + (size_t)thread * (size_t)h->q_width;
    for (int l; (l = fkv_team_take(m->team, thread, h->n_layer)) >= 0;)
        make_layer(&h->layer[l], &m->model->layer[l].attn_output, row,
                   m->model->grams + m->model->layer[l].value_gram.at);
}

fkv_status fkv_model_make_grams(struct fkv_model *model, struct fkv_team *team)
{
    const struct fkv_hparams *h = &model->h;
    size_t n = 0;
    if (model->grams) return FKV_OK;
    for (int l = 0; l < h->n_layer; l++) {
        const size_t d = (size_t)h->layer[l].d_head;
        model->layer[l].value_gram.at = n;
        n += (size_t)h->layer[l].n_kv_head * d * d;
    }
    struct making m = {model, malloc((size_t)fkv_team_size(team) * (size_t)h->q_width * sizeof *m.row), team};
    model->grams = calloc(n, sizeof *model->grams);
    const fkv_status status = m.row && model->grams ? FKV_OK : FKV_ERROR_MEMORY;
    if (status == FKV_OK) {
        fkv_team_run(team, make_region, &m);
        for (int l = 0; l < h->n_layer; l++)
            model->layer[l].value_gram.buffer = (struct fkv_buffer *)(void *)model->grams;
    } else {
        free(model->grams);
        model->grams = NULL;
    }
    free(m.row);
    return status;
}
