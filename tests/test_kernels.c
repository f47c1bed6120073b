/* Every slot of every level this machine has, through the table.
   `test_kernels PATTERN [SEED]` runs those whose name matches, `avx2/panel_*`, on other random numbers. */
#include <stdlib.h>

#include "kernels/support.h"

static const struct slot {
    const char *name;
    check_fn *check;
} slots[] = {
#define KERNEL(result, name, args) {#name, check_##name},
#include "simd/kernels.def"
#undef KERNEL
};
enum { N_SLOTS = sizeof slots / sizeof *slots, MOST_LEVELS = 16 };

struct run {
    char name[64];
    const struct slot *slot;
    int level;
    uint64_t seed;
};

static void check_slot(void **state)
{
    const struct run *r = *state;
    guarded_forget();
    random_restart(r->seed);
    r->slot->check(fkv_simd_kernels(r->level), fkv_simd_kernels(fkv_simd_find_level("reference")));
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
        assert_true(k->kv_elem == FKV_ELEM_F16 || k->kv_elem == FKV_ELEM_BF16);
#define KERNEL(result, slot, args) assert_non_null(k->slot);
#include "simd/kernels.def"
#undef KERNEL
        best = level;
    }
    assert_int_equal(fkv_simd_find_level(NULL), best);
    assert_int_equal(fkv_simd_find_level("no such level"), -1);
}

int main(int argc, char **argv)
{
    static struct run runs[MOST_LEVELS * N_SLOTS];
    static struct CMUnitTest tests[MOST_LEVELS * N_SLOTS + 1]; /* cmocka passes over those without a function */
    int n = 0;
    for (int level = 0; level < fkv_simd_n_levels() && level < MOST_LEVELS; level++) {
        if (!fkv_simd_level_available(level)) {
            printf("%s: this machine does not have it\n", fkv_simd_level_name(level));
            continue;
        }
        for (int s = 0; s < N_SLOTS; s++, n++) {
            struct run *r = &runs[n];
            snprintf(r->name, sizeof r->name, "%s/%s", fkv_simd_level_name(level), slots[s].name);
            r->slot = &slots[s];
            r->level = level;
            r->seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
            tests[n] = (struct CMUnitTest){.name = r->name, .test_func = check_slot, .initial_state = r};
        }
    }
    tests[n] = (struct CMUnitTest)cmocka_unit_test(check_tables);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
