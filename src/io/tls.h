/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_TLS_H
#define O3_IO_TLS_H
/* What a TLS server needs of GnuTLS: certificate, key, client CA and rules, checked when they are built and then
 * unchanged. A new set replaces an old one between two connections; the old one lives until its last connection ends.
 */
#include "o3/web_config.h"

struct o3_tls;
struct o3_tls_files {                   /* PEM texts */
    const char *cert, *key, *client_ca; /* client_ca NULL: none */
};
/* O3_E_CONFIG with the place of the key that is to blame, or O3_E_NOMEM. Starts with one reference. May be built on any
 * thread. */
O3_MUST_CHECK int o3_tls_new(const struct o3_web_tls *rules, const struct o3_tls_files *files, struct o3_tls **ret,
                             struct o3_err *e);
void o3_tls_ref(struct o3_tls *t);
void o3_tls_unref(struct o3_tls *t); /* NULL allowed */
/* Unix times at which the certificate begins and ends. */
int64_t o3_tls_not_before_s(const struct o3_tls *t);
int64_t o3_tls_not_after_s(const struct o3_tls *t);

/* A connection under these rules; `session` is a gnutls_session_t before its handshake, fd its socket. A client that
 * speaks plain HTTP is told so. Takes a reference until o3_tls_link_free. NULL: no memory, or GnuTLS refused. */
struct o3_tls_link;
struct o3_tls_link *o3_tls_link_new(struct o3_tls *t, void *session, int fd);
void o3_tls_link_free(struct o3_tls_link *l);

#endif
