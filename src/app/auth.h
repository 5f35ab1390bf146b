/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_AUTH_H
#define O3_APP_AUTH_H
/* Who may read the pages once the web configuration names users, by HTTP basic authentication against bcrypt hashes or
 * by the bearer token of web.token; and who may change something, by the token.
 *
 * A bcrypt check takes 50 ms to seconds, so it has a thread of its own, one at a time. What was found is kept under a
 * keyed digest of client and credentials, for right and for wrong ones apart: a scraper is checked once, and nobody
 * else learns from the speed of an answer that he guessed right. Credentials that are not known yet are limited for
 * each client and for all together, before anything is compared, so that guessing neither succeeds nor keeps the
 * processor busy. */
#include "io/http_server.h"

struct o3_auth;
struct o3_daemon;

O3_MUST_CHECK int o3_auth_new(struct o3_daemon *d, struct o3_auth **ret, struct o3_err *e);
void o3_auth_stop(struct o3_auth *a); /* before the loop ends: nothing waits for a check that runs; NULL allowed */
void o3_auth_free(struct o3_auth *a); /* NULL allowed */

/* True: go on and answer. False: it was answered, or waits for a check, after which o3_daemon_handle sees it again. */
bool o3_auth_admits(struct o3_auth *a, struct o3_request *rq);
/* For what changes something. True also where no token is set. False: it was answered. */
bool o3_auth_token_admits(struct o3_auth *a, struct o3_request *rq);
void o3_auth_request_gone(struct o3_auth *a, const struct o3_request *rq);

#endif
