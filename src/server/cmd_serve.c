/* fastkv serve: models over HTTP. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/console.h"
#include "server/io.h"
#include "server/load.h"
#include "server/preparation.h"
#include "server/scheduler.h"

/* What the model is called: by -a, or as its file without .gguf. */
static bool name_model(struct server *server)
{
    const struct settings *s = server->settings;
    const char *slash = strrchr(s->model, '/'), *file = slash ? slash + 1 : s->model;
    server->alias_text = strdup(s->alias ? s->alias : file);
    if (!server->alias_text) {
        console_error("out of memory");
        return false;
    }
    char *end = strrchr(server->alias_text, '.');
    if (!s->alias && end && !strcmp(end, ".gguf")) *end = '\0';
    for (char *part = server->alias_text, *next; part; part = next) {
        next = strchr(part, ',');
        if (next) *next++ = '\0';
        if (*part && server->aliases.n < OPTION_LIST_MAX) server->aliases.items[server->aliases.n++] = part;
    }
    server->model_id = server->aliases.n ? server->aliases.items[0] : server->alias_text;
    return true;
}

int cmd_serve(struct settings *settings)
{
    struct server server = {.settings = settings, .state = SERVER_LOADING, .started = (int64_t)time(NULL)};
    struct io io = {.epoll = -1, .timer = -1, .signals = -1, .listener = {.fd = -1}};
    int status = EXIT_FAILURE;
    metrics_open(&server.metrics);
    if (!doorbell_open(&server.bell)) {
        console_error("no descriptor is left");
    } else if (name_model(&server) && io_open(&io, &server) && preparation_open(&server)) {
        io_run(&io);
        status = server.state == SERVER_FAILED ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    io_close(&io); /* whose clients were there are gone: what still runs for them ends */
    preparation_close(server.preparation);
    if (server.scheduler) scheduler_give_up(server.scheduler);
    scheduler_close(server.scheduler);
    doorbell_close(&server.bell);
    unload(&server);
    metrics_close(&server.metrics);
    free(server.alias_text);
    return status;
}
