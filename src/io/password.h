/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_PASSWORD_H
#define O3_IO_PASSWORD_H
/* bcrypt by crypt(3). It takes milliseconds to seconds, by the cost of the hash, and nothing can interrupt it: it runs
 * on a thread of its own, which holds up neither the jobs nor the end of the process.
 *
 *     o3_password_check_start(loop, password, hash, done, ctx, &check);   // done(ctx, is_right) on the loop, once
 *     o3_password_check_abandon(check);                                   // instead: done is not called any more */
#include <stdbool.h>
#include "io/loop.h"

#define O3_PASSWORD_MAX 512

/* Here and now. False also when the hash is none, or without memory. */
bool o3_password_is_right(const char *password, const char *hash);

struct o3_password_check;
typedef void o3_password_fn(void *ctx, bool is_right);
/* Copies both texts and wipes the copies. O3_E_NOMEM also without a thread, O3_E_LIMIT: a text is too long. */
O3_MUST_CHECK int o3_password_check_start(struct o3_loop *l, const char *password, const char *hash,
                                          o3_password_fn *done, void *ctx, struct o3_password_check **ret);
/* Before its loop is freed; NULL allowed. What it has begun it ends by itself, or with the process. */
void o3_password_check_abandon(struct o3_password_check *c);

#endif
