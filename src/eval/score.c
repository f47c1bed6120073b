#include "eval/score.h"

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

static double score(const struct eval_task *task, const struct eval_sample *sample, const char *answer,
                    bool (*has)(const char *answer, const char *reference))
{
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
    return score(task, sample, answer, contains_word);
}
