/* Text and tokens: tokenize, detokenize, apply-template. */
#include <stdlib.h>
#include <string.h>

#include "cli/utf8.h"
#include "server/json_in.h"
#include "server/json_out.h"
#include "server/messages.h"
#include "server/prompts.h"
#include "server/routes.h"

/* The answer is the text, or the error. */
static void answer(struct exchange *x, bool ok, struct eval_text *text, const struct api_error *error)
{
    if (ok) {
        exchange_answer_json(x, text);
        return;
    }
    free(text->s);
    exchange_fail(x, error);
}

static void put_piece(struct json_out *j, const fkv_engine *engine, int32_t id)
{
    const char *bytes;
    const size_t n = fkv_token_bytes(engine, id, true, &bytes);
    out_open(j, '{');
    put_int(j, "id", id);
    out_key(j, "piece");
    if (utf8_find_bad(bytes, n) == n)
        out_bytes(j, bytes, n);
    else
        out_byte_array(j, bytes, n);
    out_close(j, '}');
}

static bool tokenize(struct server *server, const json_t *body, struct eval_text *text, struct api_error *error)
{
    bool add_special = false, parse_special = true, with_pieces = false;
    struct json_out j = {text, false};
    int32_t *ids;
    size_t n;
    const json_t *content = json_field(body, "content");
    json_get_bool(body, "add_special", &add_special, error);
    json_get_bool(body, "parse_special", &parse_special, error);
    json_get_bool(body, "with_pieces", &with_pieces, error);
    if (!json_is_string(content)) json_unwanted("content", "a string", content, error);
    if (error->status || !prompts_tokenize(server, json_string_value(content), json_string_length(content), add_special,
                                           parse_special, &ids, &n, error))
        return false;
    out_open(&j, '{');
    out_key(&j, "tokens");
    out_open(&j, '[');
    for (size_t i = 0; i < n; i++) {
        if (with_pieces)
            put_piece(&j, server->engine, ids[i]);
        else
            out_int(&j, ids[i]);
    }
    out_close(&j, ']');
    out_close(&j, '}');
    fkv_free(ids);
    return true;
}

static bool detokenize(struct server *server, const json_t *body, struct eval_text *text, struct api_error *error)
{
    struct json_out j = {text, false};
    struct eval_text content = {0};
    int32_t *ids;
    size_t n;
    const json_t *tokens = json_field(body, "tokens");
    if (!json_is_array(tokens)) return json_unwanted("tokens", "an array of token ids", tokens, error);
    if (!json_read_ids(tokens, "tokens", fkv_engine_info(server->engine)->n_vocab, &ids, &n, error)) return false;
    for (size_t i = 0; i < n; i++) {
        const char *bytes;
        const size_t length = fkv_token_bytes(server->engine, ids[i], true, &bytes);
        eval_text_add(&content, bytes, length);
    }
    free(ids);
    out_open(&j, '{');
    out_key(&j, "content");
    out_bytes(&j, content.n ? content.s : "", content.n);
    out_close(&j, '}');
    text->failed |= content.failed;
    free(content.s);
    return true;
}

/* The marks that keep what messages say from being control tokens are this program's own. Returns the bytes left. */
static size_t without_marks(char *text, size_t n)
{
    const size_t length = strlen(FKV_MARK);
    size_t left = 0;
    for (size_t i = 0; i < n;) {
        if (n - i >= length && !memcmp(text + i, FKV_MARK, length))
            i += length;
        else
            text[left++] = text[i++];
    }
    return left;
}

static bool apply_template(struct server *server, const json_t *body, struct eval_text *text, struct api_error *error)
{
    struct json_out j = {text, false};
    struct messages messages = {0};
    bool generation_prompt = true;
    char *prompt;
    size_t n;
    json_get_bool(body, "add_generation_prompt", &generation_prompt, error);
    const bool ok = !error->status && messages_read(&messages, body, error);
    if (ok && messages_render(&messages, server, body, generation_prompt, &prompt, &n, error)) {
        out_open(&j, '{');
        out_key(&j, "prompt");
        out_bytes(&j, prompt, without_marks(prompt, n));
        out_close(&j, '}');
        free(prompt);
    }
    messages_free(&messages);
    return !error->status;
}

static void serve(struct server *server, struct exchange *x,
                  bool (*make)(struct server *, const json_t *, struct eval_text *, struct api_error *))
{
    struct api_error error = {0};
    struct eval_text text = {0};
    json_t *body = json_read_object(x->body.s, x->body.n, &error);
    answer(x, body && make(server, body, &text, &error), &text, &error);
    json_decref(body);
}

void api_tokenize(struct server *server, struct exchange *x) { serve(server, x, tokenize); }

void api_detokenize(struct server *server, struct exchange *x) { serve(server, x, detokenize); }

void api_apply_template(struct server *server, struct exchange *x) { serve(server, x, apply_template); }
