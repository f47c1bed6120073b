#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/console.h"
#include "cli/ollama.h"
#include "cli/options.h"

static int fail_command(const char *name)
{
    const char *words[16];
    int n = 0;
    for (const struct command *c = cli_commands; c->name && n < 15; c++) words[n++] = c->name;
    words[n] = NULL;
    const char *near = nearest_word(name, words);
    return console_error("unknown %s %.100s%s%s (fastkv --help)", *name == '-' ? "option" : "command", name,
                         near ? "; did you mean " : "", near ? near : "");
}

static int run_command(const struct command *command, int argc, char **argv)
{
    char err[FKV_ERROR_BYTES];
    struct settings settings;
    if (!options_parse(&settings, command, argc, argv, err)) return console_error("%s", err);
    if (settings.help) {
        help_command(command, stdout);
        return EXIT_SUCCESS;
    }
    char *path;
    if (!ollama_find(&settings, &path, err)) return console_error("%s", err);
    const int status = command->main(&settings);
    free(path);
    return status;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) return console_error("a command is needed (fastkv --help)");
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        help_program(stdout);
    else if (!strcmp(name, "--version"))
        printf("fastkv %s\n", fkv_version());
    else if (!strcmp(name, "--manual"))
        print_manual(stdout);
    else if (strncmp(name, "--completion-", 13) || !print_completion(name + 13, stdout)) {
        for (const struct command *c = cli_commands; c->name; c++)
            if (!strcmp(name, c->name)) return run_command(c, argc - 2, argv + 2);
        return fail_command(name);
    }
    return EXIT_SUCCESS;
}

/* Where a standard stream was closed, the next file that is opened would be taken for it: one that fails takes its
   place. */
static void fill_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
    fill_streams();
    int status = dispatch(argc, argv);
    bool lost = ferror(stdout);
    if ((fflush(stdout) || lost) && status == EXIT_SUCCESS) status = console_error("standard output cannot be written");
    return status;
}
