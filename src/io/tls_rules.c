/* SPDX-License-Identifier: Apache-2.0 */
#include "io/tls_rules.h"
#include <arpa/inet.h>
#include <string.h>

/* The suites that Go's crypto/tls names, by their registered codes. */
static const struct suite {
    const char *name;
    unsigned char code[2];
} SUITES[] = {
    {"TLS_AES_128_GCM_SHA256", {0x13, 0x01}},
    {"TLS_AES_256_GCM_SHA384", {0x13, 0x02}},
    {"TLS_CHACHA20_POLY1305_SHA256", {0x13, 0x03}},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", {0xc0, 0x09}},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", {0xc0, 0x0a}},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", {0xc0, 0x13}},
    {"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", {0xc0, 0x14}},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", {0xc0, 0x2b}},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", {0xc0, 0x2c}},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", {0xc0, 0x2f}},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", {0xc0, 0x30}},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", {0xcc, 0xa8}},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", {0xcc, 0xa9}},
};
enum { N_SUITES = sizeof SUITES / sizeof *SUITES, GNUTLS_SUITES_MAX = 1024 };

static const struct {
    const char *name, *token;
} CURVES[] = {{"CurveP256", "SECP256R1"}, {"CurveP384", "SECP384R1"}, {"CurveP521", "SECP521R1"}, {"X25519", "X25519"}};

static int fail(const struct o3_web_text *at, struct o3_err *e, const char *key, const char *text, const char *what) {
    return o3_err_at(e, O3_E_CONFIG, at->line, at->col, "tls_server_config.%s: %s%.64s", key, text, what);
}

/* ---- GnuTLS' own table ---- */

struct parts {
    gnutls_kx_algorithm_t kx;
    gnutls_cipher_algorithm_t cipher;
    gnutls_mac_algorithm_t mac;
    gnutls_protocol_t min;
};

static bool find_parts(const unsigned char code[2], struct parts *ret) {
    unsigned char id[2];
    for (size_t i = 0; i < GNUTLS_SUITES_MAX; i++) {
        if (!gnutls_cipher_suite_info(i, id, &ret->kx, &ret->cipher, &ret->mac, &ret->min)) return false;
        if (!memcmp(id, code, sizeof id)) return true;
    }
    return false;
}

static const struct suite *find_suite(const char *name) {
    for (size_t i = 0; i < N_SUITES; i++)
        if (!strcmp(SUITES[i].name, name)) return &SUITES[i];
    return NULL;
}

/* ---- the priority text ---- */

static void add_versions(const struct o3_web_tls *w, struct o3_buf *out) {
    static const char *const NAMES[] = {"TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3"};
    for (int v = w->max_version; v >= w->min_version; v--)
        o3_buf_addf(out, ":+VERS-%s", NAMES[v]);
}

static void add_token(struct o3_buf *out, const char *token) {
    if (token) o3_buf_addf(out, ":+%s", token); /* GnuTLS takes one twice as one */
}

static int add_suites(const struct o3_web_tls *w, struct o3_buf *out, struct o3_err *e) {
    for (size_t i = 0; i < w->cipher_suites.n; i++) {
        const struct o3_web_text *t = &w->cipher_suites.v[i];
        const struct suite *s = find_suite(t->s);
        struct parts p;
        if (!s)
            return fail(t, e, "cipher_suites",
                        "not a suite that this server knows (names as in Go's crypto/tls): ", t->s);
        if (!find_parts(s->code, &p)) return fail(t, e, "cipher_suites", "GnuTLS has no ", t->s);
        if (p.kx != GNUTLS_KX_UNKNOWN) add_token(out, gnutls_kx_get_name(p.kx));
        add_token(out, gnutls_cipher_get_name(p.cipher));
        add_token(out, gnutls_mac_get_name(p.mac));
    }
    return 0;
}

static int add_curves(const struct o3_web_tls *w, struct o3_buf *out, struct o3_err *e) {
    /* Most clients begin with a share for X25519: another preference costs TLS 1.3 a further round and much time. */
    o3_buf_adds(out, ":-GROUP-ALL");
    if (!w->curves.n) o3_buf_adds(out, ":+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:+GROUP-SECP521R1");
    for (size_t i = 0; i < w->curves.n; i++) {
        const struct o3_web_text *t = &w->curves.v[i];
        size_t c = 0;
        while (c < sizeof CURVES / sizeof *CURVES && strcmp(CURVES[c].name, t->s))
            c++;
        if (c == sizeof CURVES / sizeof *CURVES)
            return fail(t, e, "curve_preferences", "expected CurveP256, CurveP384, CurveP521 or X25519, not ", t->s);
        o3_buf_addf(out, ":+GROUP-%s", CURVES[c].token);
    }
    return 0;
}

int o3_tls_priority_text(const struct o3_web_tls *w, struct o3_buf *out, struct o3_err *e) {
    int r = 0;
    o3_buf_adds(out, w->cipher_suites.n ? "NONE:+COMP-NULL:+SIGN-ALL:+GROUP-ALL:+CTYPE-X509" : "NORMAL:-VERS-ALL");
    add_versions(w, out);
    if (w->cipher_suites.n) r = add_suites(w, out, e);
    if (r == 0) r = add_curves(w, out, e);
    if (w->is_server_preferred) o3_buf_adds(out, ":%SERVER_PRECEDENCE");
    if (r < 0) return r;
    return out->err ? o3_err_set(e, out->err, "tls_server_config: the lists are too long") : 0;
}

/* ---- what came of it ---- */

static bool is_listed(const struct o3_web_tls *w, const unsigned char code[2]) {
    for (size_t i = 0; i < w->cipher_suites.n; i++) {
        const struct suite *s = find_suite(w->cipher_suites.v[i].s);
        if (s && !memcmp(s->code, code, sizeof s->code)) return true;
    }
    return false;
}

static const char *name_of(const unsigned char code[2]) {
    for (size_t i = 0; i < N_SUITES; i++)
        if (!memcmp(SUITES[i].code, code, sizeof SUITES[i].code)) return SUITES[i].name;
    return "another suite";
}

int o3_tls_check_suites(const struct o3_web_tls *w, gnutls_priority_t p, struct o3_err *e) {
    bool has_13 = false, has_older = false;
    unsigned index;
    if (!w->cipher_suites.n) return 0;
    for (unsigned i = 0; i < GNUTLS_SUITES_MAX; i++) {
        int code = gnutls_priority_get_cipher_suite_index(p, i, &index);
        if (code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) break;
        if (code == GNUTLS_E_UNKNOWN_CIPHER_SUITE) continue;
        unsigned char id[2];
        struct parts x;
        if (code < 0 || !gnutls_cipher_suite_info(index, id, &x.kx, &x.cipher, &x.mac, &x.min)) break;
        bool is_13 = x.min >= GNUTLS_TLS1_3;
        has_13 |= is_13;
        has_older |= !is_13;
        if (!is_13 && w->min_version < O3_TLS_1_3 && !is_listed(w, id))
            return fail(&w->ciphers_at, e, "cipher_suites", "GnuTLS cannot offer these without also ", name_of(id));
    }
    if (w->max_version >= O3_TLS_1_3 && !has_13)
        return fail(&w->ciphers_at, e, "cipher_suites",
                    "none of these ciphers works with TLS 1.3; set max_version: TLS12", "");
    if (w->min_version < O3_TLS_1_3 && !has_older)
        return fail(&w->ciphers_at, e, "cipher_suites", "none of these works below TLS 1.3; set min_version: TLS13",
                    "");
    return 0;
}

bool o3_tls_ip_text(const void *address, size_t n, char *out, size_t size) {
    return (n == 4 || n == 16) && inet_ntop(n == 4 ? AF_INET : AF_INET6, address, out, (socklen_t)size);
}
