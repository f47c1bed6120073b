/* The manual page, made from the tables of options and commands. */
#include <string.h>

#include "cli/options.h"
#include "cli/retention.h"

/* Text as roff takes it: what begins a line or is a hyphen by itself has no other meaning. */
static void put(FILE *out, const char *text)
{
    for (const char *s = text; *s; s++) {
        if ((s == text || s[-1] == '\n') && (*s == '.' || *s == '\'')) fputs("\\&", out);
        if (*s == '\\')
            fputs("\\e", out);
        else if (*s == '-')
            fputs("\\-", out);
        else
            fputc(*s, out);
    }
}

/* The head of a paragraph that explains an option. */
static void put_names(FILE *out, const char *names, const char *value)
{
    fputs(".TP\n\\fB", out);
    put(out, names);
    fputs("\\fR", out);
    if (!value) return;
    fputs(" \\fI", out);
    put(out, value);
    fputs("\\fR", out);
}

static void put_option(FILE *out, const struct option *o)
{
    put_names(out, o->names, o->value);
    fputc('\n', out);
    put(out, o->help);
    if (o->initial) {
        fputs(" (default ", out);
        put(out, o->initial);
        fputc(')', out);
    }
    fputs(".\nOf", out);
    const char *comma = "";
    for (const struct command *c = cli_commands; c->name; c++) {
        if (!(o->commands & c->bit)) continue;
        fprintf(out, "%s \\fB%s\\fR", comma, c->name);
        comma = ",";
    }
    fputs(".\n", out);
}

/* The options that a policy has of its own; NULL: those that policies share. */
static void put_retention(FILE *out, const char *policy)
{
    char name[RETENTION_NAME], initial[RETENTION_NAME];
    struct fkv_kv_option option;
    for (int i = 0; retention_name(i, name, &option); i++) {
        if (policy ? !option.policy || strcmp(option.policy, policy) : option.policy != NULL) continue;
        put_names(out, name, option.words ? option.words : "X");
        fputc('\n', out);
        put(out, option.about);
        fputs(" (default ", out);
        put(out, retention_text(&option, option.initial, initial));
        fputs(").\n", out);
    }
}

static void put_options(FILE *out)
{
    for (int group = 0; help_group(group); group++) {
        fprintf(out, ".SS %s\n", help_group(group));
        for (const struct option *o = cli_options; o->names; o++) {
            if ((int)o->group != group) continue;
            put_option(out, o);
            if (o->kind == OPTION_POLICY) put_retention(out, NULL);
        }
    }
}

static void put_list(FILE *out, bool (*list)(int, const char **, const char **), bool own)
{
    const char *name, *about;
    for (int i = 0; list(i, &name, &about); i++) {
        put_names(out, name, NULL);
        fputc('\n', out);
        put(out, about);
        fputs(".\n.RS\n", out);
        if (own) put_retention(out, name);
        fputs(".RE\n", out);
    }
}

void print_manual(FILE *out)
{
    fprintf(
        out,
        ".TH FASTKV 1 \"\" \"fastkv %s\" \"User Commands\"\n.SH NAME\nfastkv \\- runs language models on CPUs, made "
        "for long prompts\n.SH SYNOPSIS\n",
        fkv_version());
    for (const struct command *c = cli_commands; c->name; c++) {
        fprintf(out, ".B fastkv %s\n", c->name);
        put(out, c->usage);
        fputs("\n.br\n", out);
    }
    fputs(".SH COMMANDS\n", out);
    for (const struct command *c = cli_commands; c->name; c++) {
        put_names(out, c->name, NULL);
        fputc('\n', out);
        put(out, c->about);
        fputc('\n', out);
    }
    fputs(".SH OPTIONS\n", out);
    put_options(out);
    fputs(".SH KV PRESETS\n", out);
    put_list(out, fkv_kv_preset_list, false);
    fputs(".SH KV POLICIES\n", out);
    put_list(out, fkv_policy_list, true);
    fputs(
        ".SH EXIT STATUS\n0, 1 after an error, 130 after Ctrl\\-C.\n.SH ENVIRONMENT\n.TP\n.B FASTKV_ISA\nforces a "
        "lower "
        "instruction set level (see\n.BR \"fastkv devices\" ).\n.TP\n.B FASTKV_API_KEY\nkeys of\n.BR \"fastkv serve\" "
        ",\nseparated by commas.\n.SH EXAMPLES\n",
        out);
    for (const struct command *c = cli_commands; c->name; c++) {
        if (!*c->examples) continue;
        fputs(".PP\n.nf\n", out);
        put(out, c->examples);
        fputs(".fi\n", out);
    }
}
