/* random_id.h: names that nobody guesses. */
#ifndef FKV_SERVER_RANDOM_ID_H
#define FKV_SERVER_RANDOM_ID_H

/* prefix (15 characters at most) and 24 random letters and digits. */
void random_id(char id[48], const char *prefix);

#endif
