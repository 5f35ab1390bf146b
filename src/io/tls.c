/* SPDX-License-Identifier: Apache-2.0 */
#include "io/tls.h"
#include <errno.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "io/tls_rules.h"
#include "o3/buf.h"

enum { TLS_HANDSHAKE_RECORD = 22, SANS_MAX = 64, SAN_SIZE = 256, MAX_DISCARD = 16 };

struct o3_tls {
    int n_refs; /* after it was built: the loop thread's */
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priority;
    gnutls_certificate_request_t request;
    bool is_verified; /* a client's certificate is checked against the CA */
    int64_t not_before_s, not_after_s;
    char **sans; /* one of them must be in the client's certificate; NULL: any */
    size_t n_sans;
};

struct o3_tls_link {
    struct o3_tls *tls;
    int fd;
    bool has_begun;
};

/* ---- rules ---- */

static int no_memory(struct o3_err *e) {
    return o3_err_set(e, O3_E_NOMEM, "no memory for TLS");
}

static int fail(const struct o3_web_text *at, struct o3_err *e, const char *key, const char *text) {
    return o3_err_at(e, O3_E_CONFIG, at->line, at->col, "tls_server_config.%s: %s", key, text);
}

static int failed(const struct o3_web_text *inline_text, const struct o3_web_text *file, struct o3_err *e,
                  const char *key, int code) {
    const struct o3_web_text *at = inline_text->s ? inline_text : file;
    if (code == GNUTLS_E_MEMORY_ERROR) return no_memory(e);
    return o3_err_at(e, O3_E_CONFIG, at->line, at->col, "tls_server_config.%s%s: %s", key,
                     inline_text->s ? "" : "_file", gnutls_strerror(code));
}

static gnutls_datum_t datum(const char *text) {
    union {
        const char *in;
        unsigned char *out;
    } p = {.in = text}; /* GnuTLS only reads it */
    return (gnutls_datum_t){p.out, (unsigned)strlen(text)};
}

static int set_pair(struct o3_tls *t, const struct o3_web_tls *w, const struct o3_tls_files *f, struct o3_err *e) {
    gnutls_datum_t cert = datum(f->cert), key = datum(f->key);
    gnutls_x509_crt_t *chain = NULL;
    unsigned n = 0;
    int code = gnutls_x509_crt_list_import2(&chain, &n, &cert, GNUTLS_X509_FMT_PEM, 0);
    if (code < 0) return failed(&w->cert, &w->cert_file, e, "cert", code);
    t->not_before_s = n ? (int64_t)gnutls_x509_crt_get_activation_time(chain[0]) : 0;
    t->not_after_s = n ? (int64_t)gnutls_x509_crt_get_expiration_time(chain[0]) : 0;
    for (unsigned i = 0; i < n; i++)
        gnutls_x509_crt_deinit(chain[i]);
    gnutls_free(chain);
    code = gnutls_certificate_set_x509_key_mem2(t->credentials, &cert, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
    return code < 0 ? failed(&w->key, &w->key_file, e, "key", code) : 0;
}

static int set_client_ca(struct o3_tls *t, const struct o3_web_tls *w, const char *pem, struct o3_err *e) {
    if (!pem) return 0;
    gnutls_datum_t ca = datum(pem);
    int n = gnutls_certificate_set_x509_trust_mem(t->credentials, &ca, GNUTLS_X509_FMT_PEM);
    if (n < 0) return failed(&w->client_ca, &w->client_ca_file, e, "client_ca", n);
    return n > 0 ? 0 : failed(&w->client_ca, &w->client_ca_file, e, "client_ca", GNUTLS_E_NO_CERTIFICATE_FOUND);
}

static int set_sans(struct o3_tls *t, const struct o3_web_tls *w, struct o3_err *e) {
    if (!w->client_allowed_sans.n) return 0;
    t->sans = calloc(w->client_allowed_sans.n, sizeof *t->sans);
    if (!t->sans) return no_memory(e);
    for (; t->n_sans < w->client_allowed_sans.n; t->n_sans++) {
        t->sans[t->n_sans] = strdup(w->client_allowed_sans.v[t->n_sans].s);
        if (!t->sans[t->n_sans]) return no_memory(e);
    }
    return 0;
}

static int set_priority(struct o3_tls *t, const struct o3_web_tls *w, struct o3_err *e) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 8192);
    int r = o3_tls_priority_text(w, &text, e);
    if (r < 0) return r;
    int code = gnutls_priority_init(&t->priority, o3_buf_str(&text), NULL);
    if (code == GNUTLS_E_MEMORY_ERROR) return no_memory(e);
    if (code < 0) return fail(&w->ciphers_at, e, "cipher_suites", "GnuTLS cannot serve these versions and ciphers");
    return o3_tls_check_suites(w, t->priority, e);
}

/* ---- clients' certificates ---- */

static bool is_allowed_san(const struct o3_tls *t, unsigned type, const char *name, size_t n) {
    char text[64];
    if (type == GNUTLS_SAN_IPADDRESS) {
        if (!o3_tls_ip_text(name, n, text, sizeof text)) return false;
        name = text;
        n = strlen(text);
    } else if (type != GNUTLS_SAN_DNSNAME && type != GNUTLS_SAN_RFC822NAME && type != GNUTLS_SAN_URI) {
        return false;
    }
    for (size_t i = 0; i < t->n_sans; i++)
        if (strlen(t->sans[i]) == n && !memcmp(t->sans[i], name, n)) return true;
    return false;
}

static bool has_allowed_san(const struct o3_tls *t, const gnutls_datum_t *der) {
    gnutls_x509_crt_t crt;
    bool is_found = false;
    if (gnutls_x509_crt_init(&crt) < 0) return false;
    int code = gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER);
    for (unsigned i = 0; code >= 0 && !is_found && i < SANS_MAX; i++) {
        char name[SAN_SIZE];
        size_t n = sizeof name;
        unsigned type;
        code = gnutls_x509_crt_get_subject_alt_name2(crt, i, name, &n, &type, NULL);
        if (code == GNUTLS_E_SHORT_MEMORY_BUFFER)
            code = 0; /* longer than any that we look for */
        else if (code >= 0)
            is_found = is_allowed_san(t, type, name, n);
    }
    gnutls_x509_crt_deinit(crt);
    return is_found;
}

/* The client is told why: GnuTLS would end the handshake without a word. */
static int refuse(gnutls_session_t session, gnutls_alert_description_t why) {
    gnutls_alert_send(session, GNUTLS_AL_FATAL, why);
    return GNUTLS_E_CERTIFICATE_ERROR;
}

/* In the handshake, once the client's certificate is there or is known to be missing. */
static int on_client_certificate(gnutls_session_t session) {
    const struct o3_tls_link *l = gnutls_session_get_ptr(session);
    const struct o3_tls *t = l->tls;
    unsigned n = 0, status = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &n);
    if (!chain || !n) return t->request == GNUTLS_CERT_REQUIRE ? GNUTLS_E_NO_CERTIFICATE_FOUND : 0;
    /* Who shows our own certificate has our key: `o3 healthcheck` on this machine. */
    const gnutls_datum_t *ours = gnutls_certificate_get_ours(session);
    if (ours && ours->size == chain[0].size && !memcmp(ours->data, chain[0].data, ours->size)) return 0;
    if (t->is_verified) {
        static unsigned char PURPOSE[] = GNUTLS_KP_TLS_WWW_CLIENT;
        gnutls_typed_vdata_st data = {.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = PURPOSE, .size = 0};
        if (gnutls_certificate_verify_peers(session, &data, 1, &status) < 0 || status)
            return refuse(session, GNUTLS_A_BAD_CERTIFICATE);
    }
    return t->n_sans && !has_allowed_san(t, &chain[0]) ? refuse(session, GNUTLS_A_ACCESS_DENIED) : 0;
}

/* ---- building ---- */

static int build(struct o3_tls *t, const struct o3_web_tls *w, const struct o3_tls_files *f, struct o3_err *e) {
    if (gnutls_certificate_allocate_credentials(&t->credentials) < 0) return no_memory(e);
    t->request = w->client_auth == O3_CLIENT_CERT_NONE ? GNUTLS_CERT_IGNORE : GNUTLS_CERT_REQUEST;
    if (w->client_auth == O3_CLIENT_CERT_REQUIRE_ANY || w->client_auth == O3_CLIENT_CERT_REQUIRE_AND_VERIFY)
        t->request = GNUTLS_CERT_REQUIRE;
    t->is_verified = w->client_auth == O3_CLIENT_CERT_VERIFY_IF_GIVEN ||
                     w->client_auth == O3_CLIENT_CERT_REQUIRE_AND_VERIFY;
    gnutls_certificate_set_verify_function(t->credentials, on_client_certificate);
    int r = set_pair(t, w, f, e);
    if (r == 0) r = set_client_ca(t, w, f->client_ca, e);
    if (r == 0) r = set_sans(t, w, e);
    return r == 0 ? set_priority(t, w, e) : r;
}

int o3_tls_new(const struct o3_web_tls *rules, const struct o3_tls_files *files, struct o3_tls **ret,
               struct o3_err *e) {
    struct o3_tls *t = calloc(1, sizeof *t);
    if (!t) return no_memory(e);
    t->n_refs = 1;
    int r = build(t, rules, files, e);
    if (r < 0) {
        o3_tls_unref(t);
        return r;
    }
    *ret = t;
    return 0;
}

void o3_tls_ref(struct o3_tls *t) {
    t->n_refs++;
}

void o3_tls_unref(struct o3_tls *t) {
    if (!t || --t->n_refs) return;
    if (t->priority) gnutls_priority_deinit(t->priority);
    if (t->credentials) gnutls_certificate_free_credentials(t->credentials);
    for (size_t i = 0; i < t->n_sans; i++)
        free(t->sans[i]);
    free(t->sans);
    free(t);
}

int64_t o3_tls_not_before_s(const struct o3_tls *t) {
    return t->not_before_s;
}

int64_t o3_tls_not_after_s(const struct o3_tls *t) {
    return t->not_after_s;
}

/* ---- connections ---- */

/* What has come is read, or closing the socket would discard our answer with it. */
static void answer_plain_http(int fd) {
    static const char ANSWER[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 47\r\n"
                                 "Connection: close\r\n\r\n{\"error\":\"this port speaks TLS: use https://\"}\n";
    char discarded[1024];
    for (int i = 0; i < MAX_DISCARD && recv(fd, discarded, sizeof discarded, MSG_DONTWAIT) > 0; i++)
        continue;
    (void)!send(fd, ANSWER, sizeof ANSWER - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool is_letter(unsigned char c) {
    return c >= 'A' && c <= 'Z';
}

static ssize_t pull(gnutls_transport_ptr_t ptr, void *to, size_t n) {
    struct o3_tls_link *l = ptr;
    ssize_t got = recv(l->fd, to, n, 0);
    if (got <= 0 || l->has_begun) return got;
    l->has_begun = true;
    unsigned char first = *(unsigned char *)to;
    if (first == TLS_HANDSHAKE_RECORD || !is_letter(first)) return got; /* what is neither, GnuTLS refuses */
    answer_plain_http(l->fd);
    errno = ECONNRESET;
    return -1;
}

struct o3_tls_link *o3_tls_link_new(struct o3_tls *t, void *session, int fd) {
    struct o3_tls_link *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    *l = (struct o3_tls_link){.tls = t, .fd = fd};
    if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, t->credentials) < 0 ||
        gnutls_priority_set(session, t->priority) < 0) {
        free(l);
        return NULL;
    }
    o3_tls_ref(t);
    gnutls_certificate_server_set_request(session, t->request);
    gnutls_session_set_ptr(session, l);
    gnutls_transport_ptr_t in, out;
    gnutls_transport_get_ptr2(session, &in, &out);
    gnutls_transport_set_ptr2(session, l, out);
    gnutls_transport_set_pull_function(session, pull);
    return l;
}

void o3_tls_link_free(struct o3_tls_link *l) {
    if (!l) return;
    o3_tls_unref(l->tls);
    free(l);
}
