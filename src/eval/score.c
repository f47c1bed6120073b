#include "eval/score.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static char plain(char c)
{
    if ((unsigned char)c < ' ') return ' ';
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Without spaces at the ends of what is looked for. */
static size_t strip(const char **text)
{
    size_t n = strlen(*text);
    while (n && plain((*text)[n - 1]) == ' ') n--;
    for (; n && plain(**text) == ' '; n--) (*text)++;
    return n;
}

/* ---- what an answer contains ------------------------------------------------------------------ */

static bool contains(const char *answer, const char *reference)
{
    const size_t n = strip(&reference), all = strlen(answer);
    for (size_t at = 0; at + n <= all; at++) {
        size_t i = 0;
        while (i < n && plain(answer[at + i]) == plain(reference[i])) i++;
        if (i == n) return true;
    }
    return false;
}

static bool in_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c > '~';
}

static bool contains_word(const char *answer, const char *reference)
{
    const size_t n = strip(&reference);
    for (const char *at = answer; (at = strstr(at, reference)); at++)
        if ((at == answer || !in_word(at[-1])) && !in_word(at[n])) return true;
    return false;
}

/* ---- lines of code --------------------------------------------------------------------------- */

enum { LONGEST_LINE = 255 }; /* of a reference */

/* Of text, without blanks at its ends; *n: its bytes. */
static const char *first_line(const char *text, size_t *n)
{
    for (;; text += *n) {
        text += strspn(text, " \t\r\n");
        *n = strcspn(text, "\r\n");
        if (!*n) return text;
        if (*text == '#' || !strncmp(text, "```", 3)) continue;
        while (text[*n - 1] == ' ' || text[*n - 1] == '\t') --*n;
        return text;
    }
}

/* Levenshtein's distance, row by row. */
static size_t distance(const char *x, size_t n_x, const char *y, size_t n_y)
{
    size_t row[LONGEST_LINE + 1];
    for (size_t j = 0; j <= n_y; j++) row[j] = j;
    for (size_t i = 1; i <= n_x; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n_y; j++) {
            const size_t change = diagonal + (x[i - 1] != y[j - 1]);
            diagonal = row[j];
            if (row[j - 1] < row[j]) row[j] = row[j - 1];
            row[j] = row[j] + 1 < change ? row[j] + 1 : change;
        }
    }
    return row[n_y];
}

static double similarity(const char *answer, const char *reference)
{
    size_t n, n_reference = 0;
    const char *line = first_line(answer, &n), *wanted = first_line(reference, &n_reference);
    const size_t longer = n > n_reference ? n : n_reference;
    assert(n_reference <= LONGEST_LINE);
    return longer ? 1 - (double)distance(line, n, wanted, n_reference) / (double)longer : 0;
}

/* ---- rules ----------------------------------------------------------------------------------- */

static bool same_word(const char *word, size_t n, const char *wanted)
{
    size_t i = 0;
    while (i < n && wanted[i] && plain(word[i]) == plain(wanted[i])) i++;
    return i == n && !wanted[i];
}

static bool begins(const char *answer, const char *word)
{
    size_t n = 0;
    while (*answer && !in_word(*answer)) answer++;
    while (in_word(answer[n])) n++;
    return same_word(answer, n, word);
}

static bool ends(const char *answer, const char *word)
{
    size_t n = 0;
    const char *end = answer + strlen(answer);
    while (end > answer && !in_word(end[-1])) end--;
    while (end - n > answer && in_word(end[-1 - (ptrdiff_t)n])) n++;
    return same_word(end - n, n, word);
}

static bool has_lines(const char *answer, const char *number)
{
    long lines = 0;
    while (*(answer += strspn(answer, " \t\r\n"))) {
        answer += strcspn(answer, "\r\n");
        lines++;
    }
    return lines == strtol(number, NULL, 10);
}

static bool has_no_capital(const char *answer, const char *nothing)
{
    (void)nothing;
    while (*answer && !(*answer >= 'A' && *answer <= 'Z')) answer++;
    return !*answer;
}

static bool has_no_comma(const char *answer, const char *nothing)
{
    (void)nothing;
    return !strchr(answer, ',');
}

static const struct {
    const char *name;
    bool (*obeys)(const char *answer, const char *value);
} rules[] = {{"begins ", begins},
             {"ends ", ends},
             {"lines ", has_lines},
             {"lower-case", has_no_capital},
             {"no-comma", has_no_comma}};

static bool obeys(const char *answer, const char *rule)
{
    if (!answer[strspn(answer, " \t\r\n")]) return false;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const size_t n = strlen(rules[i].name);
        if (!strncmp(rule, rules[i].name, n)) return rules[i].obeys(answer, rule + n);
    }
    assert(false);
    return false;
}

/* ---- all ------------------------------------------------------------------------------------- */

static double score(const struct eval_task *task, const struct eval_sample *sample, const char *answer,
                    bool (*has)(const char *answer, const char *reference))
{
    if (task->scoring == EVAL_LINE) return similarity(answer, sample->reference[0].s);
    if (task->scoring == EVAL_RULES) has = obeys;
    int found = 0;
    for (int i = 0; i < sample->n_references; i++) found += has(answer, sample->reference[i].s);
    return task->scoring == EVAL_ANY ? found > 0 : (double)found / sample->n_references;
}

double eval_score(const struct eval_task *task, const struct eval_sample *sample, const char *answer)
{
    return score(task, sample, answer, contains);
}

double eval_score_strict(const struct eval_task *task, const struct eval_sample *sample, const char *answer)
{
    const double strict = score(task, sample, answer, contains_word);
    const bool in_part = task->scoring == EVAL_ALL || task->scoring == EVAL_ANY;
    return in_part ? strict : strict == 1;
}
