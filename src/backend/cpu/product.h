/* product.h: the parts of a product, for operations that are made of several: an input in the forms that weights want,
   and weight rows times it. */
#ifndef FKV_BACKEND_CPU_PRODUCT_H
#define FKV_BACKEND_CPU_PRODUCT_H

#include "backend/cpu/cpu_backend.h"

enum cpu_form { PREPARED_FLOATS, PREPARED_X8, PREPARED_X16, N_PREPARED };

/* Rows ready to be multiplied: those forms that the weights want (cpu_wanted). */
struct cpu_input {
    const void *form[N_PREPARED];
    size_t ldf;   /* of the floats */
    int n, k;     /* k: of the floats, padded */
    bool vectors; /* every row goes by the stored weights' own kernels: X8 is v8, X16 the floats */
};

/* The kernels want rows that divide by 32. Others, which only unquantised types have, are multiplied as floats with
   zeros behind them. */
static inline int cpu_padded(int k) { return (k + 31) & ~31; }

/* Do n rows go by the stored weights' own kernels? */
bool cpu_as_vectors(const struct cpu_backend *b, int n, bool alone);
/* The form that a weight wants, as 1 << form. */
unsigned cpu_wanted(const struct cpu_backend *b, bool vectors, const struct fkv_weight *w, bool precise);
/* y[cpu_padded(k)]: a row of the input, normalised or not, and zeros. */
void cpu_copy_row(const struct fkv_kernels *kernels, const struct fkv_input *in, int row, int k, float *y);
/* Weight rows of one piece of work, where `copies` weights like w are multiplied at once: as many as a panel call
   takes, if that leaves every thread a few pieces. */
int cpu_piece_rows(struct fkv_run *r, bool vectors, int n, const struct fkv_weight *w, int copies);
/* y[p->n][ld] of weight rows [row, row + n), a piece's at most. */
void cpu_multiply(struct fkv_run *r, const struct cpu_input *p, const struct fkv_weight *w, bool precise, int row,
                  int n, float *y, size_t ld);

/* y[n] = the activation of gate[n] and up[n], which it may overwrite; y may be one of them. */
void cpu_activate(const struct fkv_kernels *k, enum fkv_activation activation, float *gate, float *up, int n, float *y);

#endif
