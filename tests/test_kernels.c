/* Every slot of every level this machine has, and of the twins of those it lacks (twins.h), through the table.
   `test_kernels PATTERN [SEED]` runs those whose name matches, `avx2/panel_*`, on other random numbers.
   FKV_TEST_HALF=0 or 1: every other one, so that two processes share them. */
#include <stdlib.h>

#include "kernels/support.h"
#include "kernels/twins.h"

static const struct slot {
    const char *name;
    check_fn *check;
} slots[] = {
#define KERNEL(result, name, args) {#name, check_##name},
#include "simd/kernels.def"
#undef KERNEL
};
enum { N_SLOTS = sizeof slots / sizeof *slots, MOST_TABLES = 16 };

struct run {
    char name[64];
    const struct slot *slot;
    const struct fkv_kernels *table;
    uint64_t seed;
};

static void check_slot(void **state)
{
    const struct run *r = *state;
    guarded_forget();
    random_restart(r->seed);
    r->slot->check(r->table, fkv_simd_kernels(fkv_simd_find_level("reference")));
    guarded_release();
}

static void check_tables(void **state)
{
    (void)state;
    int best = -1;
    for (int level = 0; level < fkv_simd_n_levels(); level++) {
        const char *name = fkv_simd_level_name(level);
        assert_int_equal(fkv_simd_find_level(name), level);
        if (!fkv_simd_level_available(level)) continue;
        const struct fkv_kernels *k = fkv_simd_kernels(level);
        assert_string_equal(k->isa, name);
        assert_true(k->batch_invariant);
        assert_true(k->panel_rows >= FKV_PANEL_ROWS && k->panel_rows <= FKV_MOST_PANEL_ROWS &&
                    k->panel_rows % FKV_PANEL_ROWS == 0);
        assert_true(k->attend_rows >= 1 && k->attend_rows <= FKV_ATTEND_ROWS);
        assert_true(k->kv_elem == FKV_ELEM_F16 || k->kv_elem == FKV_ELEM_BF16);
#define KERNEL(result, slot, args) assert_non_null(k->slot);
#include "simd/kernels.def"
#undef KERNEL
        best = level;
    }
    assert_int_equal(fkv_simd_find_level(NULL), best);
    assert_int_equal(fkv_simd_find_level("no such level"), -1);
}

/* The tables to check; those a twin fills lie in `twins`. */
static int find_tables(const struct fkv_kernels *tables[MOST_TABLES], struct fkv_kernels twins[MOST_TABLES])
{
    int n = 0;
    for (int level = 0; level < fkv_simd_n_levels(); level++) {
        if (fkv_simd_level_available(level))
            tables[n++] = fkv_simd_kernels(level);
        else
            printf("%s: this machine does not have it\n", fkv_simd_level_name(level));
    }
    for (int i = 0; i < fkv_n_twins; i++) {
        const struct twin *t = &fkv_twins[i];
        if (t->has()) {
            twins[i] = *fkv_simd_kernels(fkv_simd_find_level(t->base));
            t->fill(&twins[i]);
            twins[i].isa = t->name;
            tables[n++] = &twins[i];
        } else
            printf("%s: this machine lacks what it needs, or has the level itself\n", t->name);
    }
    return n;
}

int main(int argc, char **argv)
{
    static struct fkv_kernels twins[MOST_TABLES];
    static struct run runs[MOST_TABLES * N_SLOTS];
    static struct CMUnitTest tests[MOST_TABLES * N_SLOTS + 1]; /* cmocka passes over those without a function */
    const struct fkv_kernels *tables[MOST_TABLES];
    const int n = find_tables(tables, twins) * N_SLOTS;
    const char *half = getenv("FKV_TEST_HALF");
    for (int i = 0; i < n; i++) {
        struct run *r = &runs[i];
        *r = (struct run){.slot = &slots[i % N_SLOTS],
                          .table = tables[i / N_SLOTS],
                          .seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 0};
        snprintf(r->name, sizeof r->name, "%s/%s", r->table->isa, r->slot->name);
        if (half && (i + i / N_SLOTS) % 2 != atoi(half)) continue;
        tests[i] = (struct CMUnitTest){.name = r->name, .test_func = check_slot, .initial_state = r};
    }
    tests[n] = (struct CMUnitTest)cmocka_unit_test(check_tables);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
