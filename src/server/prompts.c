#include "server/prompts.h"

#include <stdlib.h>
#include <string.h>

#include "server/json_in.h"
#include "server/server.h"

enum { MOST_PROMPTS = 64 };

bool prompts_tokenize(const struct server *server, const char *text, size_t n_text, bool begins, bool special,
                      int32_t **ids, size_t *n, struct api_error *error)
{
    char why[FKV_ERROR_BYTES];
    const unsigned flags = (begins ? FKV_TOKENIZE_ADD_SPECIAL : 0) | (special ? FKV_TOKENIZE_PARSE_SPECIAL : 0);
    if (fkv_tokenize(server->engine, text, n_text, flags, ids, n, why) == FKV_OK) return true;
    return api_fail(error, 400, ERROR_INVALID, "%s", why);
}

static bool add_ids(int32_t **ids, size_t *n, const int32_t *more, size_t n_more, struct api_error *error)
{
    int32_t *longer = realloc(*ids, (*n + n_more + 1) * sizeof *longer);
    if (!longer) return api_fail(error, 500, ERROR_SERVER, "out of memory for the prompt");
    memcpy(longer + *n, more, n_more * sizeof *more);
    *ids = longer;
    *n += n_more;
    return true;
}

/* One element of a mixed prompt: a text, or an id. */
static bool add_piece(const struct server *server, const json_t *piece, int32_t **ids, size_t *n,
                      struct api_error *error)
{
    int32_t *more;
    size_t n_more;
    const json_int_t id = json_integer_value(piece);
    if (json_is_integer(piece) && id >= 0 && id < fkv_engine_info(server->engine)->n_vocab)
        return add_ids(ids, n, &(int32_t){(int32_t)id}, 1, error);
    if (!json_is_string(piece)) return json_unwanted("prompt", "strings and token ids of the model", piece, error);
    if (!prompts_tokenize(server, json_string_value(piece), json_string_length(piece), *n == 0, true, &more, &n_more,
                          error))
        return false;
    const bool ok = add_ids(ids, n, more, n_more, error);
    fkv_free(more);
    return ok;
}

/* A string, or an array of strings and ids. */
static bool add_prompt(struct request *r, const json_t *prompt, struct api_error *error)
{
    int32_t *ids = NULL;
    size_t n = 0, i;
    json_t *piece;
    bool ok = true;
    if (json_is_array(prompt))
        json_array_foreach(prompt, i, piece) ok = ok && add_piece(r->server, piece, &ids, &n, error);
    else
        ok = add_piece(r->server, prompt, &ids, &n, error);
    if (ok) return request_add_prompt(r, NULL, 0, ids, n, error);
    free(ids);
    return false;
}

/* Is this array one prompt, with an id in it, rather than several? */
static bool is_mixed(const json_t *list)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item) if (json_is_integer(item)) return true;
    return false;
}

bool prompts_read(struct request *r, struct api_error *error)
{
    size_t i;
    json_t *prompt = json_field(r->body, "prompt"), *item;
    bool nested = false;
    if (!json_is_string(prompt) && !json_array_size(prompt))
        return json_unwanted("prompt", "a string, token ids, or an array of those", prompt, error);
    json_array_foreach(prompt, i, item) nested = nested || json_is_array(item);
    if (json_is_string(prompt) || (!nested && is_mixed(prompt))) return add_prompt(r, prompt, error);
    if (json_array_size(prompt) > MOST_PROMPTS) return json_unwanted("prompt", "at most 64 prompts", prompt, error);
    r->many = true;
    json_array_foreach(prompt, i, item)
    {
        if (json_is_integer(item)) return json_unwanted("prompt", "prompts, which are strings or arrays", item, error);
        if (!add_prompt(r, item, error)) return false;
    }
    return true;
}
