/* cases.h: the tests of the operations, by file. */
#ifndef FKV_TESTS_VULKAN_CASES_H
#define FKV_TESTS_VULKAN_CASES_H

void test_products(void **state);
void test_gated(void **state);
void test_embed(void **state);
void test_rows(void **state);
void test_gather(void **state);

void test_attend(void **state);
void test_cache_moves(void **state);
void test_retain_what_was_selected(void **state);

void test_score(void **state);
void test_select(void **state);
void test_golden_selections(void **state);

#endif
