/* sources.h: what samples are made from: word lists, and sentences of licence texts. Both come with the program; a
   folder of other texts can take the licences' place. The digest says what was read: samples of different digests are
   different samples, and their scores are never mixed. */
#ifndef FKV_EVAL_SOURCES_H
#define FKV_EVAL_SOURCES_H

#include <stdbool.h>
#include <stddef.h>

enum { EVAL_SENTENCE_LEAST = 8, EVAL_SENTENCE_MOST = 60, EVAL_ERROR_BYTES = 512 }; /* words; bytes */

struct eval_list {
    char **items; /* [n] */
    int n, capacity;
};

struct eval_sources {
    struct eval_list adjectives, nouns;
    struct eval_list sentences; /* single spaces, ASCII, none twice, in the order of the sorted files */
    int n_files;
    char digest[65]; /* SHA-256 of words and sentences, each with a newline after it */
};

/* folder: its files are read in the order of their names, links and hidden ones left out; NULL: the texts that come
   with the program. err: EVAL_ERROR_BYTES. On failure nothing is held. */
bool eval_sources_open(struct eval_sources *sources, const char *folder, char *err);
/* The i-th licence text that comes with the program, whatever folder was read; NULL past the last. */
const char *eval_sources_licence(int i, const char **name);
void eval_sources_close(struct eval_sources *sources);

#endif
