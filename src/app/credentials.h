/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_CREDENTIALS_H
#define O3_APP_CREDENTIALS_H
/* The parts of o3/auth that need no daemon: the header's text, what was found before, and how often somebody may try.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/text.h"

#define O3_CREDENTIALS_MAX 512 /* bytes of "user:password"; bcrypt looks at 72 of the password */
#define O3_DIGEST_SIZE 65

struct o3_credentials {
    char text[O3_CREDENTIALS_MAX]; /* wiped by the owner */
    const char *user, *password;   /* into text */
};
/* "Basic <base64 of user:password>"; false when it is something else, too long or holds a NUL. */
bool o3_credentials_parse(const char *header, struct o3_credentials *ret);

/* ---- what earlier checks found ---- */

enum { O3_FINDINGS_MAX = 64 };
struct o3_findings { /* the newest of each kind; the one not asked for longest makes room */
    struct o3_finding {
        char digest[O3_DIGEST_SIZE]; /* "" free */
        uint64_t used;
    } v[2][O3_FINDINGS_MAX]; /* wrong ones cannot push out right ones */
    uint64_t n_used;
};
void o3_findings_add(struct o3_findings *s, const char *digest, bool is_right);
bool o3_findings_find(struct o3_findings *s, const char *digest, bool *ret_is_right);

/* ---- how often somebody may be wrong ---- */

#define O3_TRIES_BURST 10      /* of one client, at once */
#define O3_TRIES_PER_MINUTE 10 /* then so many */
#define O3_TRIES_ALL_BURST 60  /* of all clients */
#define O3_TRIES_ALL_PER_MINUTE 60
#define O3_TRIES_FRESH_NS (600 * O3_NS_PER_S) /* after so long without being wrong */
enum { O3_TRIERS_MAX = 64 };
struct o3_bucket {
    double tries; /* left */
    int64_t at_ns;
};
struct o3_tries {
    struct o3_trier {
        unsigned char network[16];
        struct o3_bucket bucket; /* at_ns 0: free */
        int64_t asked_ns;        /* with what was not right, or refused after it; 0 never, or right since then */
        bool was_fresh;          /* at its last try */
    } v[O3_TRIERS_MAX];
    struct o3_bucket wrong; /* of all who were wrong lately */
    struct o3_bucket fresh; /* of all others: those who guess do not use up the tries of who comes anew */
};
/* Takes one try; false when none is left, and then *ret_wait_s is when there will be one. */
bool o3_tries_take(struct o3_tries *t, const unsigned char network[16], int64_t now_ns, int *ret_wait_s);
void o3_tries_give_back(struct o3_tries *t, const unsigned char network[16]); /* it was right */

#endif
