/* The server's parts that need no socket: JSON out and in, log probabilities, routes, who may ask. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/settings.h"
#include "server/guard.h"
#include "server/json_in.h"
#include "server/json_out.h"
#include "server/logprobs.h"
#include "server/routes.h"

/* ---- JSON out ---------------------------------------------------------------------------------- */

static void test_json_out(void **state)
{
    (void)state;
    struct eval_text text = {0};
    struct json_out j = {&text, false};
    out_open(&j, '{');
    put_int(&j, "n", -3);
    put_real(&j, "x", 0.1f);
    put_real(&j, "nan", NAN);
    put_bool(&j, "b", true);
    put_string(&j, "none", NULL);
    out_key(&j, "list");
    out_open(&j, '[');
    out_open(&j, '[');
    out_close(&j, ']');
    out_byte_array(&j, "\xff\x01", 2);
    out_bytes(&j, "a\0b", 3);
    out_close(&j, ']');
    out_close(&j, '}');
    assert_string_equal(text.s, "{\"n\":-3,\"x\":0.1,\"nan\":null,\"b\":true,\"none\":null,\"list\":[[],[255,1],"
                                "\"a\\u0000b\"]}");
    free(text.s);
}

/* Whatever the bytes are, jansson reads the string back as they are, or with U+FFFD for what is no UTF-8. */
static void test_strings(void **state)
{
    static const struct {
        const char *bytes, *read;
    } cases[] = {
        {"", ""},
        {"plain \xc3\xa9 \xf0\x9f\x99\x82", "plain \xc3\xa9 \xf0\x9f\x99\x82"},
        {"\"\\/\b\f\n\r\t\x01\x1f\x7f", "\"\\/\b\f\n\r\t\x01\x1f\x7f"},
        {"cut \xe4\xb8", "cut \xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc0\x80\xff", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80.", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd."},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct eval_text text = {0};
        struct json_out j = {&text, false};
        out_string(&j, cases[i].bytes);
        json_t *read = json_loads(text.s, JSON_DECODE_ANY, NULL);
        assert_string_equal(json_string_value(read), cases[i].read);
        json_decref(read);
        free(text.s);
    }
}

/* ---- JSON in ----------------------------------------------------------------------------------- */

static void expect_body(const char *body, const char *message)
{
    struct api_error error = {0};
    json_t *object = json_read_object(body, strlen(body), &error);
    assert_int_equal(object != NULL, message == NULL);
    if (message && !strstr(error.message, message)) fail_msg("%s: %s", body, error.message);
    json_decref(object);
}

static void test_bodies(void **state)
{
    char deep[200] = "{\"a\":", *end = deep + 5;
    (void)state;
    expect_body("{\"a\": \"[[[\\\"[[\"}", NULL);
    expect_body("", "expected a JSON object");
    expect_body("3", "expected a JSON object, found 3");
    expect_body("[1,2]", "found an array of 2");
    expect_body("{\"a\":1,\"a\":2}", "duplicate");
    for (int n = 63; n <= 64; n++) {
        memset(end, '[', (size_t)n);
        memset(end + n, ']', (size_t)n);
        strcpy(end + 2 * n, "}");
        expect_body(deep, n == 63 ? NULL : "at most 64 deep, found 65");
    }
}

static void test_fields(void **state)
{
    struct api_error error = {0};
    bool b = true;
    int64_t n = 5;
    float x = 0.5f;
    const char *text = "before";
    (void)state;
    json_t *o = json_loads("{\"nothing\": null, \"n\": 7, \"x\": 2, \"b\": false, \"t\": \"t\"}", 0, NULL);
    assert_true(json_get_bool(o, "nothing", &b, &error) && b && json_get_bool(o, "b", &b, &error) && !b);
    assert_true(json_get_int(o, "absent", 0, 9, &n, &error) && n == 5 && json_get_int(o, "n", 0, 7, &n, &error));
    assert_int_equal(n, 7);
    assert_true(json_get_real(o, "x", 0, 2, false, &x, &error) && x == 2);
    assert_true(json_get_text(o, "t", &text, &error) && !strcmp(text, "t"));
    assert_false(json_get_int(o, "n", 0, 6, &n, &error));
    assert_string_equal(error.message, "n: expected a whole number from 0 to 6, found 7");
    assert_string_equal(error.param, "n");
    assert_false(json_get_bool(o, "b", &b, &error)); /* the first error counts */
    assert_false(json_get_text(o, "n", &text, &error));
    assert_string_equal(error.param, "n");
    json_decref(o);
}

/* ---- log probabilities ------------------------------------------------------------------------- */

static void test_logprobs(void **state)
{
    const float logits[] = {logf(0.1f), logf(0.4f), -INFINITY, logf(0.3f), logf(0.2f)};
    static const int32_t best[] = {1, 3, 4, 0, 2};
    struct logprob l;
    (void)state;
    for (int n = 0; n <= 7; n++) {
        assert_true(logprob_compute(&l, logits, 5, 4, n));
        assert_int_equal(l.n_top, n < 5 ? n : 5);
        assert_true(fabsf(expf(l.chosen.logprob) - 0.2f) < 1e-6f);
        for (int i = 0; i < l.n_top; i++) assert_int_equal(l.top[i].id, best[i]);
        if (n > 1) assert_true(fabsf(expf(l.top[1].logprob) - 0.3f) < 1e-6f);
        free(l.top);
    }
}

/* ---- routes and guard -------------------------------------------------------------------------- */

static void expect_route(const char *method, const char *path, const char *found, const char *tail, int status)
{
    struct api_error error = {0};
    const char *rest;
    char allow[48];
    const struct route *r = route_find(method, path, &rest, allow, &error);
    assert_int_equal(error.status, status);
    assert_int_equal(r != NULL, found != NULL);
    if (!r) return;
    assert_string_equal(r->path, found);
    assert_string_equal(rest, tail);
}

static void test_routes(void **state)
{
    (void)state;
    expect_route("POST", "/v1/chat/completions", "/v1/chat/completions", "", 0);
    expect_route("POST", "/chat/completions", "/v1/chat/completions", "", 0);
    expect_route("POST", "/v1/completions", "/v1/completions", "", 0);
    expect_route("POST", "/completions", "/completions", "", 0); /* the native one */
    expect_route("HEAD", "/health", "/health", "", 0);
    expect_route("GET", "/models/a.b", "/v1/models/*", "a.b", 0);
    expect_route("GET", "/v1/models/", NULL, "", 404);
    expect_route("GET", "/v1/models/a/b", NULL, "", 404);
    expect_route("GET", "/v1/chat/completions", NULL, "", 405);
    expect_route("GET", "", NULL, "", 404);
    expect_route("GET", "/v1", NULL, "", 404);
    expect_route("GET", "//health", NULL, "", 404);
}

static int ask(const struct guard *g, struct guard_headers h, bool public)
{
    struct api_error error = {0};
    bool listed;
    int key;
    if (!h.host) h.host = "localhost:8080";
    if (!h.content_type) h.content_type = "application/json";
    guard_check(g, &h, public, true, &key, &listed, &error);
    return error.status;
}
#define ASK(guard, public, ...) ask(guard, (struct guard_headers){__VA_ARGS__}, public)

static void test_guard(void **state)
{
    char keys[] = "one,two";
    const struct listener listener = {.is_loopback = true, .host = "127.0.0.1"}, outside = {.host = "0.0.0.0"},
                          local = {.is_unix = true, .host = "x.sock"};
    struct settings s = {.api_key = keys, .cors_origins = "https://a.test", .allowed_hosts = "b.test"};
    static struct guard g;
    (void)state;
    unsetenv("FASTKV_API_KEY");
    assert_true(guard_open(&g, &s, &listener));
    assert_true(keys[0] == 0 && keys[4] == 0); /* wiped */
    assert_int_equal(ASK(&g, true, .host = "LOCALHOST:1"), 0);
    assert_int_equal(ASK(&g, false, .host = NULL), 401);
    assert_int_equal(ASK(&g, false, .authorization = "Bearer two"), 0);
    assert_int_equal(ASK(&g, false, .authorization = "Basic two"), 401);
    assert_int_equal(ASK(&g, false, .api_key = "tw"), 401);
    assert_int_equal(ASK(&g, true, .host = "evil.test"), 403);
    assert_int_equal(ASK(&g, true, .host = "b.test:99"), 0);
    assert_int_equal(ASK(&g, true, .origin = "https://a.test", .fetch_site = "cross-site"), 0);
    assert_int_equal(ASK(&g, true, .origin = "https://a.test.evil"), 403);
    assert_int_equal(ASK(&g, true, .origin = "http://localhost:8080"), 0);
    assert_int_equal(ASK(&g, true, .origin = "http://localhost:8081"), 403);
    assert_int_equal(ASK(&g, true, .fetch_site = "cross-site"), 403);
    assert_int_equal(ASK(&g, true, .fetch_site = "cross-site", .api_key = "one"), 0);
    assert_int_equal(ASK(&g, true, .content_type = "application/jsonx"), 415);
    assert_int_equal(ASK(&g, true, .n_content_length = 2), 400);
    guard_close(&g);
    s = (struct settings){0};
    assert_true(guard_open(&g, &s, &local));
    assert_int_equal(ASK(&g, false, .host = "evil.test", .origin = "https://evil.test"), 0);
    guard_close(&g);
    assert_false(guard_open(&g, &s, &outside));
    guard_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_out), cmocka_unit_test(test_strings),  cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_fields),   cmocka_unit_test(test_logprobs), cmocka_unit_test(test_routes),
        cmocka_unit_test(test_guard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
