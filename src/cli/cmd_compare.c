/* The user's own prompt with full attention and by his options. */
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/compare.h"
#include "cli/console.h"
#include "cli/prompt.h"
#include "cli/report.h"

typedef void (*picture_fn)(FILE *out, const struct comparison *c);

/* By the file's name; NULL: of a kind that there is none of. */
static picture_fn picture_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    if (dot && !strcmp(dot, ".svg")) return compare_map;
    return dot && !strcmp(dot, ".html") ? compare_page : NULL;
}

static int compare(struct comparison *c, FILE *picture, FILE *json)
{
    const struct settings *s = c->g.settings;
    if (!prompt_ids(s, c->g.engine, &c->request.ids, &c->request.n, &c->request.marks)) return EXIT_FAILURE;
    if (!c->request.n) return console_error("the prompt is empty");
    report_model(stderr, fkv_engine_info(c->g.engine));
    const int status = compare_measure(c);
    if (status == EXIT_INTERRUPTED) fputs("interrupted\n", stderr);
    if (status != EXIT_SUCCESS) return status;
    compare_report(stdout, c);
    if (picture) picture_of(s->picture)(picture, c);
    return json && !compare_json(json, c) ? console_error("out of memory for --json") : EXIT_SUCCESS;
}

int cmd_compare(struct settings *settings)
{
    struct comparison c = {0};
    FILE *picture = NULL, *json = NULL;
    if (!prompt_asked(settings)) return EXIT_FAILURE;
    if (settings->picture && !picture_of(settings->picture))
        return console_error("--picture: expected FILE.svg or FILE.html, found %.200s", settings->picture);
    int status = generator_open(&c.g, settings);
    if (status == EXIT_SUCCESS && !(console_open(&picture, settings->picture) && console_open(&json, settings->json)))
        status = EXIT_FAILURE;
    if (status == EXIT_SUCCESS) status = compare(&c, picture, json);
    if (!console_close(picture, settings->picture) && status == EXIT_SUCCESS) status = EXIT_FAILURE;
    if (!console_close(json, settings->json) && status == EXIT_SUCCESS) status = EXIT_FAILURE;
    compare_release(&c);
    generator_close(&c.g);
    return status;
}
