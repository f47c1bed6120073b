#include <stdlib.h>
#include <string.h>

#include "cli/compare.h"
#include "cli/markup.h"
#include "cli/utf8.h"

enum { FAINT = 2 }; /* least level of attention that is drawn: every token gets some */

/* The background is what was kept of a token, a line under it where full attention looked. */
static void print_style(FILE *out)
{
    fputs("<style>\nbody { font: 15px sans-serif; color: #222; background: #fff; max-width: 60em; margin: 2em auto; "
          "padding: 0 1em }\npre { white-space: pre-wrap }\ndiv { font: 13px/1.7 monospace; white-space: pre-wrap; "
          "overflow-wrap: anywhere }\ni { font-style: normal }\n",
          out);
    for (int level = 1; level <= MARKUP_LEVELS; level++)
        fprintf(out, ".k%d { background: %s%s }\n.l%d { border-bottom: 3px solid %s }\n", level,
                markup_colour((char[8]){""}, MARKUP_BLUE, level), level > MARKUP_LEVELS / 2 ? "; color: #fff" : "",
                level, markup_colour((char[8]){""}, MARKUP_ORANGE, level));
    fputs("</style>\n", out);
}

static void print_head(FILE *out, const struct comparison *c)
{
    const struct compared *x = &c->all[1];
    fprintf(out,
            "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n"
            "<meta charset=\"utf-8\"/>\n<title>fastkv compare: %s</title>\n",
            x->kv.policy);
    print_style(out);
    fputs("</head>\n<body>\n<h1>What was kept of a prompt</h1>\n<p>The darker the background, the more layers and "
          "heads kept a token:",
          out);
    for (int level = 1; level <= MARKUP_LEVELS; level++)
        fprintf(out, " <i class=\"k%d\">&#160;%.0f %%&#160;</i>", level,
                100.0 * level * level / (MARKUP_LEVELS * MARKUP_LEVELS));
    fputs(". The line under it: where full attention looked while it wrote its answer, <i class=\"l2\">little</i> to "
          "<i class=\"l8\">most</i>.</p>\n",
          out);
}

static void print_paragraph(FILE *out, const char *name, const char *text)
{
    struct eval_text clean = {0};
    utf8_add_clean(&clean, text, strlen(text));
    fprintf(out, "<h2>%s</h2>\n<pre>", name);
    if (!clean.failed) markup_text(out, clean.s, clean.n);
    fputs("</pre>\n", out);
    free(clean.s);
}

/* Text of tokens that look the same. */
struct run {
    struct eval_text text;
    int kept, looked; /* levels */
};

static void print_run(FILE *out, struct run *r)
{
    const bool plain = !r->kept && !r->looked;
    if (!r->text.n || r->text.failed) return;
    if (!plain) {
        fputs("<i class=\"", out);
        if (r->kept) fprintf(out, "k%d", r->kept);
        if (r->looked) fprintf(out, "%sl%d", r->kept ? " " : "", r->looked);
        fputs("\">", out);
    }
    markup_text(out, r->text.s, r->text.n);
    if (!plain) fputs("</i>", out);
    r->text.n = 0;
}

/* A character belongs to the token that its first byte is of. */
static void print_prompt(FILE *out, const struct comparison *c)
{
    const size_t n = c->request.n;
    struct run run = {.kept = 0};
    float most = 0;
    for (size_t i = 0; i < n; i++) most = c->shares.looked[i] > most ? c->shares.looked[i] : most;
    for (size_t i = 0, b = 0; i < n; i++) {
        const int kept = markup_level((double)c->shares.kept[i]),
                  level = most > 0 ? markup_level((double)(c->shares.looked[i] / most)) : 0,
                  looked = level < FAINT ? 0 : level;
        if (kept != run.kept || looked != run.looked) print_run(out, &run);
        run.kept = kept;
        run.looked = looked;
        while (b < c->at[i + 1]) {
            const size_t length = (size_t)utf8_length((unsigned char)c->text.s[b]);
            const bool good = length && length <= c->text.n - b && utf8_find_bad(c->text.s + b, length) == length;
            utf8_add_clean(&run.text, c->text.s + b, good ? length : 1);
            b += good ? length : 1;
        }
    }
    print_run(out, &run);
    free(run.text.s);
}

void compare_page(FILE *out, const struct comparison *c)
{
    print_head(out, c);
    print_paragraph(out, "full attention", c->all[0].m.text);
    print_paragraph(out, c->all[1].kv.policy, c->all[1].m.text);
    fputs("<h2>the prompt</h2>\n<div>", out);
    print_prompt(out, c);
    fputs("</div>\n</body>\n</html>\n", out);
}
