/* options.h: the one table of options. Parsing, defaults, error messages, --help, the manual page and completion come
   from its rows. */
#ifndef FKV_CLI_OPTIONS_H
#define FKV_CLI_OPTIONS_H

#include <stdio.h>

#include "cli/settings.h"

/* Commands as bits, so that an option can name those it belongs to. */
enum {
    COMMAND_RUN = 1,
    COMMAND_CHAT = 2,
    COMMAND_TOKENIZE = 4,
    COMMAND_INFO = 8,
    COMMAND_BENCH = 16,
    COMMAND_DEVICES = 32,
    COMMAND_EVAL = 64,
    COMMAND_COMPARE = 128,
    COMMAND_SERVE = 256
};

struct command {
    unsigned bit;
    const char *name, *about;
    const char *usage;                      /* what follows "fastkv NAME" */
    const char *examples;                   /* lines, each ending with a newline; "" when there are none */
    int (*main)(struct settings *settings); /* returns the exit status, its error already printed */
};
/* Ends with a row without a name. */
extern const struct command cli_commands[];

enum option_group {
    GROUP_MODEL,
    GROUP_PROMPT,
    GROUP_ANSWER,
    GROUP_RETENTION,
    GROUP_SAMPLING,
    GROUP_BENCH,
    GROUP_SERVER,
    GROUP_OUTPUT
};

enum option_kind {
    OPTION_FLAG,     /* bool, set to true */
    OPTION_TEXT,     /* const char * */
    OPTION_TEXTS,    /* struct option_texts, one more each time */
    OPTION_CHOICE,   /* int, the place of the word in `what` ("a|b|c") */
    OPTION_INT,      /* int */
    OPTION_INT64,    /* int64_t */
    OPTION_SIZE,     /* int64_t, bytes; with K, M or G of 1024, as in 8G */
    OPTION_INTS,     /* struct option_ints, separated by commas */
    OPTION_FLOAT,    /* float */
    OPTION_DOUBLE,   /* double */
    OPTION_DOUBLES,  /* struct option_doubles, separated by commas */
    OPTION_POLICY,   /* const char *, of fkv_policy_list() */
    OPTION_POLICIES, /* struct option_texts, of fkv_policy_list(), separated by commas */
};

struct option {
    unsigned commands;
    enum option_group group;
    const char *names;   /* "-m, --model" */
    const char *value;   /* placeholder; NULL for a flag */
    const char *initial; /* the default as one would type it; NULL: none, or the zero that settings start with */
    enum option_kind kind;
    size_t at; /* offset in struct settings */
    const char *help;
    const char *what; /* numbers: "a share"; choices: "a|b" */
    double low, high; /* numbers: the range; high may be INFINITY */
    bool above_low;   /* low itself is outside the range */
};
/* Ends with a row without names. */
extern const struct option cli_options[];

/* An option of another program, and what serves here. */
struct other_option {
    const char *names; /* "-b, --batch-size, --dry-*" */
    const char *instead;
};
/* Ends with a row without names. */
extern const struct other_option cli_other_options[];

/* Sets the defaults of this command and then what argv says, argv[0] being its first option. On failure `err`
   (FKV_ERROR_BYTES) has the message and the settings are half set. */
bool options_parse(struct settings *settings, const struct command *command, int argc, char **argv, char *err);
/* Does the command have an option that chooses a policy? */
bool options_choose_policy(const struct command *command);
/* Is `name` (n bytes) one of the option's names? */
bool option_has_name(const struct option *option, const char *name, size_t n);
/* "a share in (0, 1]", "one of md, csv, json": what the option takes. */
const char *option_expects(const struct option *option, char *text, size_t size);
/* Replaces \n, \t, \r, \", \', \\ and \x41 by what they mean in C; others stay. */
void unescape(char *text);
/* The word of `words` (ends with NULL) nearest to `word` by typing errors, or NULL when none is near. */
const char *nearest_word(const char *word, const char *const *words);

/* help.c */
void help_program(FILE *out);
void help_command(const struct command *command, FILE *out);
/* The title of a group of options; NULL past the last. */
const char *help_group(int group);

/* completion.c, manual.c */
/* A script for bash, zsh or fish; false for another shell. */
bool print_completion(const char *shell, FILE *out);
void print_manual(FILE *out);

#endif
