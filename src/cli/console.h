/* console.h: what the commands say, and how numbers look in it. */
#ifndef FKV_CLI_CONSOLE_H
#define FKV_CLI_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { EXIT_INTERRUPTED = 130 };

/* Prints "fastkv: error: ..." as one line and returns EXIT_FAILURE. */
int console_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints "warning ..." as one line. */
void console_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Texts for printf, alive until the end of the block that uses them: 41,210 and 1.2 GiB. */
#define COUNT(n) console_count((char[32]){""}, n)
#define SIZE(bytes) console_size((char[32]){""}, bytes)
const char *console_count(char text[32], uint64_t n);
const char *console_size(char text[32], uint64_t bytes);

/* Reads a whole file ("-": standard input) into *text: malloc'ed, *n bytes and a NUL after them. Prints why not and
   returns false. */
bool console_read_file(const char *path, char **text, size_t *n);

/* Opens a file to be written; NULL path: *file is NULL. Prints why not and returns false. */
bool console_open(FILE **file, const char *path);
/* Closes it, if there is one. Prints why not and returns false when something could not be written. */
bool console_close(FILE *file, const char *path);

#endif
