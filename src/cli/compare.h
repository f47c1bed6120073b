/* compare.h: a prompt under full attention and under other options: what was measured, and how it is shown. */
#ifndef FKV_CLI_COMPARE_H
#define FKV_CLI_COMPARE_H

#include <stdio.h>

#include "cli/generate.h"
#include "eval/run.h"

/* One way of keeping the prompt. */
struct compared {
    struct fkv_kv_params kv;
    double budget; /* of --budgets; 0: the options as they are */
    struct eval_metrics m;
    struct kept kept;
    double decode_s; /* that a token of full attention's answer takes; 0: not measured */
    /* Of full attention's attention while it says its answer, without the first token's: the share on what is kept,
       mean over layers and KV heads, and the least of any. */
    double seen, seen_least;
    int least_layer, least_head;
};

/* Of every token of the prompt, means over layers and KV heads, the options as they are: [n] each. */
struct token_shares {
    float *kept;   /* share of the lists that have it */
    float *looked; /* what full attention gave it, of all that it gave but the first token; 0 for that and the last */
    float *lost;   /* the part of `looked` in lists that do not have it */
};

struct comparison {
    struct generator g;
    struct eval_runner runner;
    struct eval_request request;
    struct eval_text text; /* the prompt's bytes, special tokens spelled out */
    size_t *at;            /* [request.n + 1] where its tokens begin in it */
    struct compared *all;  /* [n] full attention, the options as they are, the budgets */
    int n;
    struct token_shares shares;
    bool looked; /* where full attention looked is known: the prompt has several tokens */
};

/* Measures the prompt of c->request, and fills the rest; c->g is open. Returns an exit status, its error printed. */
int compare_measure(struct comparison *c);
void compare_release(struct comparison *c);

/* Tokens [from, to) of the prompt as one line of at most `most` characters. */
void compare_quote(const struct comparison *c, size_t from, size_t to, size_t most, struct eval_text *out);

/* A stretch of the prompt that full attention looked at and the options dropped. */
struct passage {
    size_t from, to; /* tokens */
    double lost;     /* sum of theirs */
};
/* The worst ones, at most `most`, each apart from the others; returns their number, or -1 when memory runs out. */
int compare_dropped(const struct comparison *c, struct passage *passages, int most);

/* Where two answers part: the same byte in both, at the beginning of a word; the length of both when they are the
   same. */
size_t compare_parting(const char *a, const char *b);
/* What a mean KL says, in words. */
const char *compare_verdict(double kl);

/* compare_report.c: for people. */
void compare_report(FILE *out, const struct comparison *c);
/* compare_json.c: everything; false when memory runs out. */
bool compare_json(FILE *out, const struct comparison *c);
/* compare_map.c: the prompt as rows of an SVG: what was kept, and where full attention looked. */
void compare_map(FILE *out, const struct comparison *c);
/* compare_page.c: the prompt's text in HTML, coloured by what was kept. */
void compare_page(FILE *out, const struct comparison *c);

#endif
