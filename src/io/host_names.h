/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_HOST_NAMES_H
#define O3_IO_HOST_NAMES_H
/* Names of hosts to addresses, looked up on the job thread and kept for a minute. For http_client.c only. */
#include "io/loop.h"

#define O3_HOST_SIZE 256
#define O3_ADDRESSES_SIZE 512

struct o3_names;
/* On the loop, when a lookup ended: "1.2.3.4,[::1]", or "" and why. */
typedef void o3_names_fn(void *ctx, const char *name, const char *addresses, const char *error);
struct o3_names *o3_names_new(struct o3_loop *l, o3_names_fn *fn, void *ctx); /* NULL: no memory */
void o3_names_free(struct o3_names *n);     /* fn is not called any more; NULL allowed */
bool o3_names_is_address(const char *host); /* needs no lookup: an address, with brackets if of IPv6, or localhost */
/* *ret is set when addresses are known. An answer past its life serves once more while it is asked again; after a doubt
 * the new one is waited for. Where they are not, 0 says that fn will be called; else O3_E_LIMIT, O3_E_NOMEM. */
O3_MUST_CHECK int o3_names_find(struct o3_names *n, const char *name, const char **ret);
void o3_names_doubt(struct o3_names *n, const char *name); /* nobody answers there */

#endif
