/* Every operation of the Vulkan back end against the CPU's, on small shapes, and selections index for index. Skips (77) without a device, or
   without the validation layer when FASTKV_VULKAN_VALIDATE asks for it. test_vulkan [PATTERN]: only the tests whose names it matches. */
#include <stdio.h>

#include "vulkan/cases.h"
#include "vulkan/support.h"

int main(int argc, char **argv)
{
    char why[FKV_ERROR_BYTES];
    if (!sides_open(why)) {
        fprintf(stderr, "%s\n", why);
        return 77;
    }
    fprintf(stderr, "device: %s\n", side(SIDE_FAST)->device);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products), cmocka_unit_test(test_gated), cmocka_unit_test(test_embed),       cmocka_unit_test(test_rows),   cmocka_unit_test(test_gather),
        cmocka_unit_test(test_attend),   cmocka_unit_test(test_cache_moves), cmocka_unit_test(test_score), cmocka_unit_test(test_select), cmocka_unit_test(test_golden_selections),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sides_close();
    return failed;
}
