/* Scripts that complete commands and options in shells, made from the tables of options and commands. */
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "cli/retention.h"

enum { WORDS = 256 };

/* An option as it is typed: a row of the table, or one of retention. */
struct typed {
    const char *names; /* "-m, --model" */
    const char *value; /* "FILE"; NULL for a flag */
    const char *help;
    char words[WORDS]; /* what the value may be, "md csv"; "": anything */
};

static void set_words(struct typed *t, const char *words)
{
    snprintf(t->words, sizeof t->words, "%s", words ? words : "");
    for (char *c = t->words; *c; c++)
        if (*c == '|') *c = ' ';
}

static void set_policies(struct typed *t)
{
    const char *name, *about;
    size_t n = 0;
    for (int i = 0; n < sizeof t->words && fkv_policy_list(i, &name, &about); i++)
        n += (size_t)snprintf(t->words + n, sizeof t->words - n, "%s%s", i ? " " : "", name);
}

static void each_of_retention(const struct command *c,
                              void (*put)(const struct command *, const struct typed *, FILE *), FILE *out)
{
    char name[RETENTION_NAME];
    struct fkv_kv_option option;
    for (int i = 0; options_choose_policy(c) && retention_name(i, name, &option); i++) {
        struct typed t = {.names = name, .value = "VALUE", .help = option.about};
        set_words(&t, option.words);
        put(c, &t, out);
    }
}

static void each_option(const struct command *c, void (*put)(const struct command *, const struct typed *, FILE *),
                        FILE *out)
{
    for (const struct option *o = cli_options; o->names; o++) {
        if (!(o->commands & c->bit)) continue;
        struct typed t = {.names = o->names, .value = o->value, .help = o->help};
        if (o->kind == OPTION_CHOICE) set_words(&t, o->what);
        if (o->kind == OPTION_POLICY) set_policies(&t);
        put(c, &t, out);
    }
    each_of_retention(c, put, out);
}

/* The next of "-m, --model"; its length, 0 past the last. */
static int next_name(const char **names)
{
    *names += strspn(*names, ", ");
    return (int)strcspn(*names, ",");
}

static bool is_path(const struct typed *t)
{
    return t->value && (strstr(t->value, "FILE") || strstr(t->value, "FOLDER"));
}

/* ---- bash -------------------------------------------------------------------------------------- */

static void bash_names(const struct command *c, const struct typed *t, FILE *out)
{
    (void)c;
    for (const char *s = t->names; *s; s++)
        if (*s != ',') fputc(*s, out);
    fputc(' ', out);
}

/* The values after an option that has few. */
static void bash_values(const struct command *c, const struct typed *t, FILE *out)
{
    int n;
    if (!*t->words) return;
    fputs("    ", out);
    for (const char *s = t->names, *bar = ""; (n = next_name(&s)); s += n, bar = "|")
        fprintf(out, "%s%s,%.*s", bar, c->name, n, s);
    fprintf(out, ") words=\"%s\" ;;\n", t->words);
}

static void complete_bash(FILE *out)
{
    fputs("_fastkv() {\n    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\" words=\n"
          "    case \"${COMP_WORDS[1]},$before\" in\n",
          out);
    for (const struct command *c = cli_commands; c->name; c++) each_option(c, bash_values, out);
    fputs("    esac\n    if [[ $words ]]; then COMPREPLY=($(compgen -W \"$words\" -- \"$word\")); return; fi\n"
          "    case \"$COMP_CWORD,${COMP_WORDS[1]}\" in\n    1,*) words=\"",
          out);
    for (const struct command *c = cli_commands; c->name; c++) fprintf(out, "%s ", c->name);
    fputs("--help --version\" ;;\n", out);
    for (const struct command *c = cli_commands; c->name; c++) {
        fprintf(out, "    *,%s) words=\"", c->name);
        each_option(c, bash_names, out);
        fputs("--help\" ;;\n", out);
    }
    fputs("    esac\n"
          "    [[ $word == -* || $COMP_CWORD == 1 ]] && COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n"
          "complete -o default -F _fastkv fastkv\n",
          out);
}

/* ---- zsh --------------------------------------------------------------------------------------- */

/* Between single quotes, as part of what _arguments or _describe takes apart at colons and brackets. */
static void zsh_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("[]:\\", *text)) fputc('\\', out);
        if (*text == '\'')
            fputs("'\\''", out);
        else
            fputc(*text, out);
    }
}

static void zsh_option(const struct command *c, const struct typed *t, FILE *out)
{
    int n;
    (void)c;
    for (const char *s = t->names; (n = next_name(&s)); s += n) {
        fprintf(out, "            '%s%.*s[", strstr(t->help, "several times") ? "*" : "", n, s);
        zsh_text(out, t->help);
        fputc(']', out);
        if (t->value) {
            fputc(':', out);
            zsh_text(out, t->value);
            fputs(is_path(t) ? ":_files" : ":", out);
            if (*t->words) fprintf(out, "(%s)", t->words);
        }
        fputs("' \\\n", out);
    }
}

static void complete_zsh(FILE *out)
{
    fputs("#compdef fastkv\n\n_fastkv() {\n    if (( CURRENT == 2 )); then\n        local -a commands=(\n", out);
    for (const struct command *c = cli_commands; c->name; c++) {
        fprintf(out, "            '%s:", c->name);
        zsh_text(out, c->about);
        fputs("'\n", out);
    }
    fputs("        )\n        _describe command commands\n        return\n    fi\n    local command=$words[2]\n"
          "    shift words\n    (( CURRENT-- ))\n    case $command in\n",
          out);
    for (const struct command *c = cli_commands; c->name; c++) {
        fprintf(out, "    %s)\n        _arguments \\\n", c->name);
        each_option(c, zsh_option, out);
        fputs("            '--help[what the command does and its options]'\n        ;;\n", out);
    }
    fputs("    esac\n}\n\nif [[ $zsh_eval_context[-1] == loadautofunc ]]; then _fastkv \"$@\"; else compdef _fastkv "
          "fastkv; fi\n",
          out);
}

/* ---- fish -------------------------------------------------------------------------------------- */

static void fish_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("'\\", *text)) fputc('\\', out);
        fputc(*text, out);
    }
}

static void fish_option(const struct command *c, const struct typed *t, FILE *out)
{
    int n;
    fprintf(out, "complete -c fastkv -n '__fish_seen_subcommand_from %s'", c->name);
    for (const char *s = t->names; (n = next_name(&s)); s += n) {
        const bool is_long = s[1] == '-';
        fprintf(out, " -%c %.*s", is_long ? 'l' : n == 2 ? 's' : 'o', n - 1 - is_long, s + 1 + is_long);
    }
    if (*t->words) fprintf(out, " -a '%s'", t->words);
    if (t->value) fputs(is_path(t) ? " -rF" : " -x", out);
    fputs(" -d '", out);
    fish_text(out, t->help);
    fputs("'\n", out);
}

static void complete_fish(FILE *out)
{
    fputs("complete -c fastkv -f\n", out);
    for (const struct command *c = cli_commands; c->name; c++) {
        fprintf(out, "complete -c fastkv -n __fish_use_subcommand -a %s -d '", c->name);
        fish_text(out, c->about);
        fputs("'\n", out);
    }
    for (const struct command *c = cli_commands; c->name; c++) each_option(c, fish_option, out);
}

bool print_completion(const char *shell, FILE *out)
{
    if (!strcmp(shell, "bash"))
        complete_bash(out);
    else if (!strcmp(shell, "zsh"))
        complete_zsh(out);
    else if (!strcmp(shell, "fish"))
        complete_fish(out);
    else
        return false;
    return true;
}
