#include "server/log.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/request.h"
#include "server/server.h"

/* Bytes as a line of the log has them: no control character, nothing that a terminal obeys. */
static void add_escaped(struct eval_text *line, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)bytes[i];
        if (c < ' ' || c == 0x7f || c == '\\' || c == '"')
            eval_text_print(line, "\\x%02x", c);
        else
            eval_text_add(line, bytes + i, 1);
    }
}

/* In one piece: other threads write lines, too. */
static void end_line(struct eval_text *line)
{
    eval_text_print(line, "\"\n");
    if (!line->failed) fputs(line->s, stderr);
    free(line->s);
}

void log_prompts(const struct request *r)
{
    for (int i = 0; r->server->settings->log_prompts && i < r->n_prompts; i++) {
        const struct prompt *p = &r->prompts[i];
        struct eval_text line = {0};
        eval_text_print(&line, "prompt  %s: %zu tokens: \"", r->id, p->n);
        for (size_t k = 0; k < p->n; k++) {
            const char *bytes;
            const size_t n = fkv_token_bytes(r->server->engine, p->ids[k], true, &bytes);
            add_escaped(&line, bytes, n);
        }
        end_line(&line);
    }
}

void log_answer(const struct branch *b)
{
    struct eval_text line = {0};
    if (!b->request->server->settings->log_prompts || !b->n_ids) return;
    eval_text_print(&line, "answer  %s: %zu tokens: \"", b->request->id, b->n_ids);
    add_escaped(&line, b->answer.text ? b->answer.text : "", b->answer.n);
    end_line(&line);
}
