/* words.h: the word lists that keys of needles and lists of words are made of. They come with the program, so that the
   same seed makes the same prompts everywhere. */
#ifndef FKV_EVAL_WORDS_H
#define FKV_EVAL_WORDS_H

/* Words separated by single spaces. */
extern const char eval_adjectives[], eval_nouns[];

#endif
