#define _GNU_SOURCE
#include "eval/sources.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "eval/sha256.h"
#include "eval/text.h"
#include "eval/words.h"

static const struct {
    const char *name, *text;
} shipped[] = {
#include "texts.inc"
};
enum { N_SHIPPED = sizeof shipped / sizeof *shipped };

static bool out_of_memory(char *err)
{
    snprintf(err, EVAL_ERROR_BYTES, "out of memory for the texts");
    return false;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static bool add(void *list, const char *item, size_t n)
{
    struct eval_list *l = list;
    if (l->n == l->capacity) {
        const int capacity = l->capacity ? 2 * l->capacity : 256;
        char **more = realloc(l->items, (size_t)capacity * sizeof *more);
        if (!more) return false;
        l->items = more;
        l->capacity = capacity;
    }
    l->items[l->n] = strndup(item, n);
    return l->items[l->n] && ++l->n;
}

static void release(struct eval_list *list)
{
    for (int i = 0; i < list->n; i++) free(list->items[i]);
    free(list->items);
}

static void hash_list(struct eval_sha256 *sha, const struct eval_list *list)
{
    for (int i = 0; i < list->n; i++) {
        eval_sha256_add(sha, list->items[i], strlen(list->items[i]));
        eval_sha256_add(sha, "\n", 1);
    }
}

/* ---- sentences ------------------------------------------------------------------------------- */

/* Texts of licences repeat each other. */
static bool is_new(const struct eval_list *list, const char *sentence)
{
    for (int i = 0; i < list->n; i++)
        if (!strcmp(list->items[i], sentence)) return false;
    return true;
}

static bool take_sentence(struct eval_list *list, char *s, size_t n, int words)
{
    while (n && s[n - 1] == ' ') n--;
    s[n] = '\0';
    if (words < EVAL_SENTENCE_LEAST || words > EVAL_SENTENCE_MOST) return true;
    for (const char *c = s; *c; c++)
        if (*c < ' ' || *c > '~') return true;
    return !is_new(list, s) || add(list, s, n);
}

/* Splits behind . ! ? that space follows, and at empty lines; takes each run of space for one. */
static bool add_sentences(struct eval_list *list, const char *text)
{
    char *sentence = malloc(strlen(text) + 1);
    size_t n = 0;
    int words = 0;
    bool ok = sentence != NULL;
    while (ok && *text) {
        const size_t word = strcspn(text, " \t\n\v\f\r"), space = strspn(text + word, " \t\n\v\f\r");
        memcpy(sentence + n, text, word);
        n += word;
        words += word > 0;
        text += word;
        const char *line = memchr(text, '\n', space), *rest = line ? line + 1 : text;
        const bool empty_line = line && memchr(rest, '\n', (size_t)(text + space - rest));
        if (empty_line || (n && space && strchr(".!?", sentence[n - 1]))) {
            ok = take_sentence(list, sentence, n, words);
            n = 0;
            words = 0;
        } else if (n && space) {
            sentence[n++] = ' ';
        }
        text += space;
    }
    free(sentence);
    return ok;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Regular files with a name that shows; links would make a text count twice. */
static bool read_file(const char *folder, const char *name, struct eval_text *text)
{
    char path[4096], buffer[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (*name == '.' || lstat(path, &st) || !S_ISREG(st.st_mode)) return false;
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0;) eval_text_add(text, buffer, n);
    fclose(f);
    eval_text_add(text, "\n", 1); /* ends the last sentence */
    return true;
}

static int by_bytes(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static bool read_folder(struct eval_sources *sources, const char *folder, char *err)
{
    struct dirent **entries;
    const int n = scandir(folder, &entries, NULL, by_bytes);
    if (n < 0) {
        snprintf(err, EVAL_ERROR_BYTES, "%.300s: cannot be read: %s", folder, strerror(errno));
        return false;
    }
    bool ok = true;
    for (int i = 0; i < n; i++) {
        struct eval_text text = {0};
        if (ok && read_file(folder, entries[i]->d_name, &text)) {
            ok = !text.failed && add_sentences(&sources->sentences, text.s);
            sources->n_files++;
        }
        free(text.s);
        free(entries[i]);
    }
    free(entries);
    return ok || out_of_memory(err);
}

static bool read_shipped(struct eval_sources *sources, char *err)
{
    bool ok = true;
    for (int i = 0; i < N_SHIPPED && ok; i++) ok = add_sentences(&sources->sentences, shipped[i].text);
    sources->n_files = N_SHIPPED;
    return ok || out_of_memory(err);
}

/* ---- all ------------------------------------------------------------------------------------- */

bool eval_sources_open(struct eval_sources *sources, const char *folder, char *err)
{
    enum { FEWEST = 50 }; /* a haystack of fewer sentences is one text over and over */
    struct eval_sha256 sha;
    *sources = (struct eval_sources){0};
    bool ok = (eval_text_split(eval_adjectives, ' ', add, &sources->adjectives) &&
               eval_text_split(eval_nouns, ' ', add, &sources->nouns)) ||
              out_of_memory(err);
    if (ok) ok = folder ? read_folder(sources, folder, err) : read_shipped(sources, err);
    if (ok && sources->sentences.n < FEWEST) {
        snprintf(err, EVAL_ERROR_BYTES,
                 "%.300s: expected texts with %d different sentences of %d to %d words, found %d",
                 folder ? folder : "shipped", FEWEST, EVAL_SENTENCE_LEAST, EVAL_SENTENCE_MOST, sources->sentences.n);
        ok = false;
    }
    eval_sha256_start(&sha);
    hash_list(&sha, &sources->adjectives);
    hash_list(&sha, &sources->nouns);
    hash_list(&sha, &sources->sentences);
    eval_sha256_end(&sha, sources->digest);
    if (!ok) eval_sources_close(sources);
    return ok;
}

const char *eval_sources_licence(int i, const char **name)
{
    if (i < 0 || i >= N_SHIPPED) return NULL;
    *name = shipped[i].name;
    return shipped[i].text;
}

void eval_sources_close(struct eval_sources *sources)
{
    release(&sources->adjectives);
    release(&sources->nouns);
    release(&sources->sentences);
    *sources = (struct eval_sources){0};
}
