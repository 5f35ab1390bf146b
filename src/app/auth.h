/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_AUTH_H
#define O3_APP_AUTH_H
/* Who may read the pages once the web configuration names users: HTTP basic authentication against bcrypt hashes, or
 * the bearer token of web.token.
 *
 * A bcrypt check takes 50 ms to a second, so it is a job, one at a time. What it found is kept under a keyed digest,
 * for right and for wrong credentials apart: a scraper is checked once. Checks that are not known yet are limited for
 * each client and for all together, so that guessing neither succeeds nor keeps the processor or the helper thread
 * busy. */
#include "io/http_server.h"

struct o3_auth;
struct o3_daemon;

O3_MUST_CHECK int o3_auth_new(struct o3_daemon *d, struct o3_auth **ret, struct o3_err *e);
void o3_auth_free(struct o3_auth *a); /* after the loop, whose jobs refer to it; NULL allowed */

/* True: go on and answer. False: it was answered, or waits for a check, after which o3_daemon_handle sees it again. */
bool o3_auth_admits(struct o3_auth *a, struct o3_request *rq);
bool o3_auth_is_checking(const struct o3_auth *a); /* the helper thread is busy with a password; a may be NULL */
void o3_auth_request_gone(struct o3_auth *a, const struct o3_request *rq);

#endif
