/* The page: one file of HTML, CSS and script (web/index.html), embedded. Its policy lets it run its own script and
   style, known by their hashes, talk to this server and do nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/sha256.h"
#include "server/routes.h"

static const struct {
    const char *name, *text;
} page[] = {
#include "page.inc"
};

static int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* The hash of what stands between <name> and </name>, as a policy has it: base64. */
static bool hash_part(const char *name, char base64[45])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char tag[16], hex[65];
    snprintf(tag, sizeof tag, "<%s>", name);
    const char *begin = strstr(page->text, tag);
    snprintf(tag, sizeof tag, "</%s>", name);
    const char *end = begin ? strstr(begin, tag) : NULL;
    if (!end) return false;
    begin += strlen(name) + 2;
    struct eval_sha256 sha;
    eval_sha256_start(&sha);
    eval_sha256_add(&sha, begin, (size_t)(end - begin));
    eval_sha256_end(&sha, hex);
    int bits = 0, n_bits = 0, n = 0;
    for (int i = 0; i < 64; i++) { /* four bits in, six out */
        bits = bits << 4 | digit(hex[i]);
        for (n_bits += 4; n_bits >= 6; n_bits -= 6) base64[n++] = letters[bits >> (n_bits - 6) & 63];
        bits &= 63;
    }
    base64[n++] = letters[bits << (6 - n_bits) & 63];
    base64[n++] = '=';
    base64[n] = '\0';
    return true;
}

void api_page(struct server *server, struct exchange *x)
{
    struct api_error error = {0};
    struct eval_text text = {0};
    char script[45], style[45];
    if (server->settings->no_webui) {
        api_fail(&error, 404, ERROR_NOT_FOUND, "the page is off: --no-webui was given");
        exchange_fail(x, &error);
        return;
    }
    struct eval_text policy = {0};
    if (hash_part("script", script) && hash_part("style", style))
        eval_text_print(&policy,
                        "default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; connect-src 'self'; "
                        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                        script, style);
    x->page_policy = policy.s;
    eval_text_add(&text, page->text, strlen(page->text));
    exchange_answer(x, 200, "text/html; charset=utf-8", &text);
}
