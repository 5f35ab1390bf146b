/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_TLS_RULES_H
#define O3_IO_TLS_RULES_H
/* Versions, cipher suites and curves of the web configuration in GnuTLS' terms. */
#include <gnutls/gnutls.h>
#include "o3/buf.h"
#include "o3/web_config.h"

O3_MUST_CHECK int o3_tls_priority_text(const struct o3_web_tls *w, struct o3_buf *out, struct o3_err *e);
/* GnuTLS combines key exchanges, ciphers and digests freely: refused when that allows more than the listed suites, or
 * nothing for a version that is allowed. */
O3_MUST_CHECK int o3_tls_check_suites(const struct o3_web_tls *w, gnutls_priority_t p, struct o3_err *e);
bool o3_tls_ip_text(const void *address, size_t n, char *out, size_t size); /* of 4 or 16 bytes */

#endif
