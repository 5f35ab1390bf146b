/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_WEB_CONFIG_H
#define O3_WEB_CONFIG_H
/* The web configuration file (web.config_file): TLS, response headers and users, in the form of Prometheus'
 * exporter-toolkit. Text in, checked structure out; the files that it names are read by the shell. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include "o3/err.h"

#define O3_WEB_FILE_MAX (256 * 1024)
#define O3_WEB_USERS_MAX 64
#define O3_WEB_LIST_MAX 32
#define O3_WEB_HEADERS 5
#define O3_WEB_COST_MAX 14   /* bcrypt: 2^14 rounds take a second or two; more is refused */
#define O3_WEB_COST_USUAL 12 /* more is warned of */
#define O3_BCRYPT_LEN 60

struct o3_web_text {
    const char *s;      /* NULL: not given */
    uint32_t line, col; /* of the value */
};
struct o3_web_list {
    struct o3_web_text v[O3_WEB_LIST_MAX];
    size_t n;
};

/* As in Go's crypto/tls. */
enum o3_web_client_auth {
    O3_CLIENT_CERT_NONE,
    O3_CLIENT_CERT_REQUEST,         /* asked for, not checked */
    O3_CLIENT_CERT_REQUIRE_ANY,     /* there must be one; not checked */
    O3_CLIENT_CERT_VERIFY_IF_GIVEN, /* checked when there is one */
    O3_CLIENT_CERT_REQUIRE_AND_VERIFY
};
enum o3_web_tls_version { O3_TLS_1_0, O3_TLS_1_1, O3_TLS_1_2, O3_TLS_1_3 };

struct o3_web_tls {
    struct o3_web_text cert, cert_file, key, key_file, client_ca, client_ca_file; /* each pair: at most one is given */
    int client_auth;                                                              /* enum o3_web_client_auth */
    struct o3_web_list client_allowed_sans, cipher_suites, curves;
    int min_version, max_version; /* enum o3_web_tls_version */
    bool is_server_preferred;     /* its order of ciphers counts, not the client's */
    struct o3_web_text client_auth_at, ciphers_at, curves_at, sans_at, min_at, max_at; /* places of errors */
};

struct o3_web_header {
    const char *name, *value;
};
struct o3_web_user {
    const char *name, *hash; /* hash: bcrypt */
    int cost;
    uint32_t line, col;
};

struct o3_web_config {
    bool has_tls;
    struct o3_web_tls tls;
    struct o3_web_header headers[O3_WEB_HEADERS];
    size_t n_headers;
    struct o3_web_user users[O3_WEB_USERS_MAX];
    size_t n_users; /* 0: no passwords are asked for */
    bool is_http2_asked;
    struct o3_web_memory *memory; /* of the texts */
};

/* O3_E_CONFIG with line and column, or O3_E_NOMEM. No error text holds a hash, a key or a password. */
O3_MUST_CHECK int o3_web_config_parse(const char *text, size_t n, struct o3_web_config **ret, struct o3_err *e);
void o3_web_config_free(struct o3_web_config *c); /* NULL allowed */

/* What to tell of a user whose check takes long enough to be a nuisance; false: nothing. */
bool o3_web_cost_warning(const struct o3_web_user *u, char *out, size_t size);
/* The cost of a bcrypt hash ($2a$, $2b$ or $2y$), or -1 when the text is none. */
int o3_bcrypt_cost(const char *hash);

#endif
