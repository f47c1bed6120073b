/* fkv_chat_format(): content as text or as typed parts, further variables, files with odd templates. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fastkv.h"
#include "gguf/gguf.h"
#include "support/gguf_writer.h"

/* An engine for a file with a few tokens and what `put` adds. */
static fkv_engine *open_engine(void (*put)(struct gguf_writer *w))
{
    static const char *const tokens[] = {"a", "<s>", "</s>"};
    struct gguf_writer *w = gguf_writer_new(3, 0);
    gguf_put_str(w, "tokenizer.ggml.model", "gpt2");
    gguf_put_str(w, "tokenizer.ggml.pre", "gpt-2");
    gguf_put_array_str(w, "tokenizer.ggml.tokens", tokens, 3);
    gguf_put_array_str(w, "tokenizer.ggml.merges", tokens, 0);
    gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
    if (put) put(w);
    size_t bytes;
    uint8_t *file = gguf_writer_finish(w, &bytes);
    char path[] = "/tmp/test_chat_XXXXXX", err[FKV_ERROR_BYTES];
    const int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, file, bytes) == (ssize_t)bytes);
    close(fd);
    free(file);
    struct fkv_engine_params params = FKV_ENGINE_PARAMS_INIT;
    params.vocab_only = true;
    fkv_engine *e;
    if (fkv_engine_open(&e, path, &params, err) != FKV_OK) fail_msg("%s", err);
    unlink(path);
    return e;
}

static void check(const char *source, const char *variables, const char *expected)
{
    static const struct fkv_message messages[] = {{"system", "S"}, {"user", "U"}};
    fkv_engine *e = open_engine(NULL);
    char *text, err[FKV_ERROR_BYTES];
    size_t n;
    if (fkv_chat_format(e, source, messages, 2, true, variables, &text, &n, err) != FKV_OK) {
        assert_string_equal(err, expected);
    } else {
        assert_string_equal(text, expected);
        assert_int_equal(n, strlen(expected));
        fkv_free(text);
    }
    fkv_engine_close(e);
}

static void test_content(void **state)
{
    (void)state;
    check("{% for m in messages %}[{{ m.content }}]{% endfor %}", NULL, "[S][U]");
    check(
        "{% for m in messages %}[{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}]"
        "{% endfor %}",
        NULL, "[S][U]");
    /* text where the template takes both */
    check("{% for m in messages %}{% if m.content is string %}s:{{ m.content }}{% else %}p:{{ m.content[0].text }}"
          "{% endif %}{% endfor %}",
          NULL, "s:Ss:U");
    /* neither is printed: text */
    check("{% for m in messages %}{{ m.content is string }}{% endfor %}", NULL, "TrueTrue");
    /* a template that refuses what it is tried with */
    check("{% if messages[0].role != 'system' %}{{ raise_exception('no') }}{% endif %}{{ messages[0].content }}", NULL,
          "S");
    check("{% if messages[0].role != 'system' %}{{ raise_exception('no') }}{% endif %}"
          "{% for m in messages %}[{% for p in m.content %}{{ p.text }}{% endfor %}]{% endfor %}",
          NULL, "[S][U]");
    /* printed in capitals */
    check("{% for m in messages %}{% for p in m.content %}{{ p.text | upper }}{% endfor %}{% endfor %}", NULL, "SU");
}

static void test_variables(void **state)
{
    (void)state;
    static const char source[] =
        "{{ bos_token }}{% if enable_thinking is defined and not enable_thinking %}no {% endif %}"
        "thinking{{ x.y[0] if x }}";
    check(source, NULL, "<s>thinking");
    check("{{ tools is defined }} {{ tools is none }} {{ documents is none }}", NULL, "True True True");
    check(source, "{\"enable_thinking\": false}", "<s>no thinking");
    check(source, "{\"enable_thinking\": true, \"x\": {\"y\": [7]}, \"bos_token\": \"B\"}", "Bthinking7");
    check(source, "[1]", "template variables: expected a JSON object, found [1]");
    check(source,
          "{\"a\":", "template variables: expected a JSON object, found {\"a\":: unexpected token near end of file");
}

static void put_template_list(struct gguf_writer *w)
{
    static const char *const templates[] = {"a", "b"};
    gguf_put_array_str(w, "tokenizer.chat_template", templates, 2);
    gguf_put_u32(w, "general.name", 5);
}

static void put_empty_template(struct gguf_writer *w) { gguf_put_str(w, "tokenizer.chat_template", ""); }

/* What the file says wrongly, but no run needs, is warned of. */
static void test_odd_metadata(void **state)
{
    (void)state;
    fkv_engine *e = open_engine(put_template_list);
    assert_null(fkv_chat_template(e));
    assert_string_equal(fkv_engine_info(e)->name, "");
    assert_non_null(strstr(fkv_engine_warning(e, 0), "general.name: expected string, found u32: ignored"));
    assert_non_null(strstr(fkv_engine_warning(e, 1),
                           "tokenizer.chat_template: expected string, found an array of string: ignored"));
    assert_string_equal(fkv_engine_warning(e, 2), "tokenizer.ggml.merges: empty: text becomes single bytes");
    assert_null(fkv_engine_warning(e, 3));
    fkv_engine_close(e);
    e = open_engine(put_empty_template);
    assert_null(fkv_chat_template(e));
    fkv_engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content),
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_odd_metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
