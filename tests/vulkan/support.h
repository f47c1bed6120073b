/* support.h: the two back ends side by side, random data, and how close they have to be. */
#ifndef FKV_TESTS_VULKAN_SUPPORT_H
#define FKV_TESTS_VULKAN_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/backend.h"

enum {
    SIDE_CPU,
    SIDE_CHECK,
    SIDE_FAST,
    N_SIDES
}; /* the CPU in plain C and fp32; Vulkan on the check path; Vulkan as people use it */
enum { MAX_COLS = 1024, MAX_ENTRIES = 8192 };

/* Opens them; false when there is no Vulkan device (skip) or no validation layer. */
bool sides_open(char why[FKV_ERROR_BYTES]);
void sides_close(void);
struct fkv_backend *side(int i);
/* Another back end like that of SIDE_FAST, for the test to destroy. */
fkv_status sides_again(struct fkv_backend **b, struct fkv_error *e);

/* fn(run, arg) as a region of a back end; the test fails when its device does. */
void on_side(int i, void (*fn)(struct fkv_run *r, void *arg), void *arg);

/* n floats of a back end, filled from x (or left as they are when x is NULL); released by side_free(). */
struct fkv_tensor side_floats(int i, const float *x, size_t n);
void side_free(int i, struct fkv_tensor x, size_t n);
/* Copies a back end's floats to to[n]. */
void side_read(int i, struct fkv_tensor x, size_t n, float *to);
/* A choice with room for `lists` lists of n rows. */
struct fkv_choice *side_choice(int i, int lists, int n);
/* Room in a store for n more entries in every head, the latest at position `last`. */
void side_reserve(int i, struct fkv_kv_store *s, int n, int32_t last);
/* Fails the test when the back end's device has failed. */
void side_check(int i);

/* What rounding, as a share of the largest result, may cost Vulkan, as people use it, on this device where there are
   many rows: vk_rounding(). */
double rounding_of_product(uint32_t type);
double rounding_of_attend(int k_type, int v_type, int d);

/* FKV_TEST_FEW is set: fewer shapes, where each shader takes seconds to compile (GPU-assisted validation). */
bool few(void);

void seed(uint32_t s);
uint32_t random_bits(void);
float random_float(void);       /* [-1, 1) */
float *random_floats(size_t n); /* malloc'ed */

/* The largest difference is at most `share` of the largest magnitude wanted. */
void assert_close(const char *what, const float *want, const float *got, size_t n, double share);

#endif
