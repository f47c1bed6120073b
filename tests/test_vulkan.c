/* Every operation of the Vulkan back end against the CPU's, on small shapes, and selections index for index. Skips (77)
   without a device, or without the validation layer when FASTKV_VULKAN_VALIDATE asks for it. test_vulkan [PATTERN]:
   only the tests whose names it matches. */
#include <stdio.h>

#include "vulkan/cases.h"
#include "vulkan/support.h"

static void count_check(void *user, const struct fkv_vulkan_check *check)
{
    assert_true(check->error <= check->allowed);
    ++*(int *)user;
}

static void test_self_test(void **state)
{
    (void)state;
    char err[FKV_ERROR_BYTES];
    int n = 0;
    if (fkv_vulkan_self_test("vulkan", count_check, &n, err) != FKV_OK) fail_msg("%s", err);
    assert_true(n > 30);
    assert_int_equal(fkv_vulkan_self_test("vulkan:99", count_check, &n, err), FKV_ERROR_UNSUPPORTED);
    assert_int_equal(fkv_vulkan_self_test("vulkan:x", count_check, &n, err), FKV_ERROR_ARGUMENT);
}

int main(int argc, char **argv)
{
    char why[FKV_ERROR_BYTES];
    if (!sides_open(why)) {
        fprintf(stderr, "%s\n", why);
        return 77;
    }
    fprintf(stderr, "device: %s\n", side(SIDE_FAST)->device);
    const struct CMUnitTest tests[] = {
#define OP(result, name, args) cmocka_unit_test(check_##name),
#include "backend/ops.def"
        cmocka_unit_test(test_golden_selections),
        cmocka_unit_test(test_self_test),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sides_close();
    return failed;
}
