/* A machine without a Vulkan loader: this program's dlopen() finds none. And, as missing_stub, linked with
   vulkan/stub.c, a build without the back end: missing TEXT expects the text in every message. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "support/tiny_session.h"

static const char *expected;

void *dlopen(const char *name, int flags)
{
    (void)name, (void)flags;
    return NULL;
}

static void expect(const char *text)
{
    if (!strstr(text, expected)) fail_msg("expected \"%s\" in \"%s\"", expected, text);
}

static void ignore(void *user, const struct fkv_vulkan_check *check) { (void)user, (void)check; }

static void test_messages(void **state)
{
    (void)state;
    char path[64], err[FKV_ERROR_BYTES] = "";
    const struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    fkv_engine *e = NULL;
    assert_int_equal(fkv_vulkan_list(NULL, 0, err), 0);
    expect(err);
    assert_int_equal(fkv_vulkan_self_test("vulkan", ignore, NULL, err), FKV_ERROR_UNSUPPORTED);
    expect(err);
    tiny_model_write(&m, path);
    p.device = "vulkan";
    assert_int_equal(fkv_engine_open(&e, path, &p, err), FKV_ERROR_UNSUPPORTED);
    expect(err);
    p.device = "auto";
    assert_int_equal(fkv_engine_open(&e, path, &p, err), FKV_OK);
    unlink(path);
    assert_string_equal(fkv_engine_info(e)->device, "cpu");
    expect(fkv_engine_info(e)->note);
    fkv_engine_close(e);
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    expected = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_messages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
