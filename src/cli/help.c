/* --help, made from the tables of options and commands. */
#include <string.h>

#include "cli/options.h"
#include "cli/retention.h"

enum { LEFT = 33, WIDTH = 110 }; /* columns: where explanations start, where lines end */

static const char *const group_titles[] = {
    [GROUP_MODEL] = "Model and machine", [GROUP_PROMPT] = "Prompt",     [GROUP_ANSWER] = "Answer",
    [GROUP_RETENTION] = "Retention",     [GROUP_SAMPLING] = "Sampling", [GROUP_BENCH] = "Measurement",
    [GROUP_SERVER] = "Server",           [GROUP_OUTPUT] = "Output",
};

const char *help_group(int group)
{
    return group < (int)(sizeof group_titles / sizeof *group_titles) ? group_titles[group] : NULL;
}

/* Prints words of `text` from column `column` on, broken so that lines begin at LEFT. */
static void print_wrapped(FILE *out, const char *text, int column)
{
    if (column >= LEFT) column = fprintf(out, "\n") - 1;
    fprintf(out, "%*s", LEFT - column, "");
    column = LEFT;
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (column > LEFT && column + 1 + n > WIDTH) {
            fprintf(out, "\n%*s", LEFT, "");
            column = LEFT;
        }
        column += fprintf(out, "%s%.*s", column > LEFT ? " " : "", n, text);
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const struct option *o)
{
    char text[400];
    int n = snprintf(text, sizeof text, "%s", o->help);
    if (o->initial) snprintf(text + n, sizeof text - (size_t)n, " (default %s)", o->initial);
    int column = fprintf(out, "  %s%s%s", o->names, o->value ? " " : "", o->value ? o->value : "");
    print_wrapped(out, text, column);
}

/* The options that a policy has of its own; NULL: those that policies share. */
static void print_retention(FILE *out, const char *policy)
{
    static const char *const values[] = {[FKV_OPTION_SHARE] = "R", [FKV_OPTION_NUMBER] = "X", [FKV_OPTION_COUNT] = "N"};
    char name[RETENTION_NAME], initial[RETENTION_NAME], text[400];
    struct fkv_kv_option option;
    for (int i = 0; retention_name(i, name, &option); i++) {
        if (policy ? !option.policy || strcmp(option.policy, policy) != 0 : option.policy != NULL) continue;
        snprintf(text, sizeof text, "%s (default %s)", option.about, retention_text(&option, option.initial, initial));
        print_wrapped(out, text,
                      fprintf(out, "%s%s %s", policy ? "    " : "  ", name,
                              option.words ? option.words : values[option.kind]));
    }
}

static void print_policies(FILE *out)
{
    const char *name, *about;
    fputs("\nKV presets:\n", out);
    for (int i = 0; fkv_kv_preset_list(i, &name, &about); i++) print_wrapped(out, about, fprintf(out, "  %s", name));
    fputs("\nKV policies:\n", out);
    for (int i = 0; fkv_policy_list(i, &name, &about); i++) {
        print_wrapped(out, about, fprintf(out, "  %s", name));
        print_retention(out, name);
    }
}

void help_command(const struct command *command, FILE *out)
{
    int group = -1;
    bool policies = false;
    fprintf(out, "Usage: fastkv %s %s\n\n%s\n", command->name, command->usage, command->about);
    for (const struct option *o = cli_options; o->names; o++) {
        if (!(o->commands & command->bit)) continue;
        if ((int)o->group != group) fprintf(out, "\n%s:\n", group_titles[o->group]);
        group = (int)o->group;
        policies |= o->kind == OPTION_POLICY;
        print_option(out, o);
        if (o->kind == OPTION_POLICY) print_retention(out, NULL);
    }
    if (policies) print_policies(out);
    if (*command->examples) fprintf(out, "\nExamples:\n%s", command->examples);
}

void help_program(FILE *out)
{
    fprintf(out,
            "fastkv %s: runs language models on CPUs, made for long prompts (FastKV, arXiv 2502.01068).\n\n"
            "Usage: fastkv COMMAND [options]\n\nCommands:\n",
            fkv_version());
    for (const struct command *c = cli_commands; c->name; c++) fprintf(out, "  %-10s %s\n", c->name, c->about);
    fputs("\nOptions:\n"
          "  COMMAND --help      what a command does and its options\n"
          "  --version           the version\n"
          "  --completion-bash   a script that completes commands and options: source <(fastkv --completion-bash);\n"
          "                      --completion-zsh and --completion-fish likewise\n"
          "  --manual            the manual page, as man -l takes it\n"
          "\nAnswers and data go to standard output, all else to standard error. Exit status: 0, 1 after an error, 130 "
          "after Ctrl-C.\n"
          "The environment variable FASTKV_ISA forces a lower instruction set level (see fastkv devices).\n"
          "\nExamples:\n"
          "  fastkv run -m model.gguf -f report.txt -p \"What does the report recommend?\"\n"
          "  fastkv chat -m model.gguf\n",
          out);
}
