/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_WEB_SOURCE_H
#define O3_APP_WEB_SOURCE_H
/* The web configuration as it is on disk: the file (web.config_file), and the certificates and keys that it names, read
 * together and checked together. Blocking; used before the loop runs and as a job of a reload. */
#include "io/tls.h"
#include "o3/web_config.h"

#define O3_WEB_PATH_SIZE 4096

struct o3_web {
    struct o3_web_config *config;
    struct o3_tls *tls;                /* NULL: plain HTTP */
    char sha256[65];                   /* of all that was read */
    char watched[4][O3_WEB_PATH_SIZE]; /* the file and those it names; "" none */
};
/* Names in the file are relative to its folder. O3_E_CONFIG with the place in the file, or O3_E_NOMEM. */
O3_MUST_CHECK int o3_web_load(const char *path, struct o3_web **ret, struct o3_err *e);
/* What a command on this machine needs to reach the sidecar with that web configuration; reads no key. */
struct o3_web_peer {
    bool is_tls, is_client_cert_required;
    char cert_file[O3_WEB_PATH_SIZE], key_file[O3_WEB_PATH_SIZE]; /* "": stands in the file itself */
};
O3_MUST_CHECK int o3_web_find_peer(const char *path, struct o3_web_peer *ret, struct o3_err *e);
void o3_web_free(struct o3_web *w); /* NULL allowed */

#endif
