/* guard.h: who may ask what: keys, browsers, and requests that two programs might read differently. */
#ifndef FKV_SERVER_GUARD_H
#define FKV_SERVER_GUARD_H

#include "server/exchange.h"
#include "server/listen.h"

struct settings;

enum { GUARD_MOST_KEYS = 64, GUARD_KEY_BYTES = 256, GUARD_MOST_NAMES = 64 };

struct guard {
    const struct listener *listener;
    unsigned char keys[GUARD_MOST_KEYS][GUARD_KEY_BYTES]; /* padded with zeros */
    int n_keys;
    char *lists; /* where origins and hosts lie */
    const char *origins[GUARD_MOST_NAMES], *hosts[GUARD_MOST_NAMES];
    int n_origins, n_hosts;
};

/* Reads keys and lists; keys are wiped from the command line. Prints why not: an address beyond loopback needs
   a key. */
bool guard_open(struct guard *g, const struct settings *settings, const struct listener *listener);
void guard_close(struct guard *g);

/* What a request's headers say. NULL: not there. */
struct guard_headers {
    const char *host, *origin, *fetch_site, *authorization, *api_key, *content_type, *transfer_encoding;
    int n_host, n_content_length, n_transfer_encoding;
};
/* May this go on? public: the path needs no key. has_body: it has to be JSON. *key: the number of the
   valid one that came; 0: none. *listed: the origin gets the headers that let its pages read the answer. */
bool guard_check(const struct guard *g, const struct guard_headers *h, bool public, bool has_body, int *key,
                 bool *listed, struct api_error *error);
/* Is it an origin whose pages may ask? */
bool guard_lists(const struct guard *g, const char *origin);

#endif
