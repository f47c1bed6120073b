/* cases.h: a check for every operation of a back end, by ops.def, and tests of more than one. */
#ifndef FKV_TESTS_VULKAN_CASES_H
#define FKV_TESTS_VULKAN_CASES_H

#define OP(result, name, args) void check_##name(void **state);
#include "backend/ops.def"

void test_golden_selections(void **state);

#endif
