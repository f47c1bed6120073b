/* listen.h: the socket that clients connect to. */
#ifndef FKV_SERVER_LISTEN_H
#define FKV_SERVER_LISTEN_H

#include <stdbool.h>

struct listener {
    int fd;
    bool is_unix, is_loopback;
    int port;          /* 0 of a Unix socket */
    char address[256]; /* "http://127.0.0.1:8080", or the socket's path */
    const char *host;  /* as it was given */
};

/* host: a name, an address, or a path that ends in .sock. port 0: any that is free. Prints why not. */
bool listener_open(struct listener *l, const char *host, int port);
/* Removes a Unix socket, too. */
void listener_close(struct listener *l);

#endif
