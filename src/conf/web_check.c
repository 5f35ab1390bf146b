/* SPDX-License-Identifier: Apache-2.0 */
/* Rules over several keys of the web configuration file, and the form of a bcrypt hash. */
#include <stdio.h>
#include <string.h>
#include "conf/web.h"

static int fail_at(const struct o3_web_text *at, struct o3_err *e, const char *text) {
    return o3_err_at(e, O3_E_CONFIG, at->line ? at->line : 1, at->col ? at->col : 1, "tls_server_config: %s", text);
}

/* The one that is given, for its place. */
static const struct o3_web_text *either(const struct o3_web_text *a, const struct o3_web_text *b) {
    return a->s ? a : b;
}

static bool is_given(const struct o3_web_text *inline_text, const struct o3_web_text *file) {
    return inline_text->s || file->s;
}

static int check_pairs(const struct o3_web_tls *t, struct o3_err *e) {
    if (t->cert.s && t->cert_file.s) return fail_at(&t->cert_file, e, "only one of cert and cert_file is allowed");
    if (t->key.s && t->key_file.s) return fail_at(&t->key_file, e, "only one of key and key_file is allowed");
    if (t->client_ca.s && t->client_ca_file.s)
        return fail_at(&t->client_ca_file, e, "only one of client_ca and client_ca_file is allowed");
    bool has_cert = is_given(&t->cert, &t->cert_file), has_key = is_given(&t->key, &t->key_file);
    if (has_cert && !has_key)
        return fail_at(either(&t->cert, &t->cert_file), e,
                       "the certificate needs its key: key_file (or key) is missing");
    if (has_key && !has_cert)
        return fail_at(either(&t->key, &t->key_file), e,
                       "the key needs its certificate: cert_file (or cert) is missing");
    return 0;
}

static int check_client(const struct o3_web_tls *t, struct o3_err *e) {
    bool has_ca = is_given(&t->client_ca, &t->client_ca_file);
    bool is_checked = t->client_auth == O3_CLIENT_CERT_VERIFY_IF_GIVEN ||
                      t->client_auth == O3_CLIENT_CERT_REQUIRE_AND_VERIFY;
    bool is_required = t->client_auth == O3_CLIENT_CERT_REQUIRE_ANY ||
                       t->client_auth == O3_CLIENT_CERT_REQUIRE_AND_VERIFY;
    if (has_ca && t->client_auth == O3_CLIENT_CERT_NONE)
        return fail_at(either(&t->client_ca, &t->client_ca_file), e,
                       "a client CA without client_auth_type has no effect; set RequireAndVerifyClientCert");
    if (is_checked && !has_ca)
        return fail_at(&t->client_auth_at, e,
                       "client_auth_type: client certificates are checked against "
                       "client_ca_file, which is missing");
    if (t->client_allowed_sans.n && !is_required)
        return fail_at(&t->sans_at, e,
                       "client_allowed_sans: needs client_auth_type RequireAndVerifyClientCert or "
                       "RequireAnyClientCert");
    return 0;
}

int o3_web_check_together(struct o3_web_config *c, struct o3_err *e) {
    const struct o3_web_tls *t = &c->tls;
    c->has_tls = is_given(&t->cert, &t->cert_file);
    int r = check_pairs(t, e);
    if (r < 0) return r;
    /* Settings of TLS without a certificate would leave the port open in plain text, against what the file looks like.
     */
    const struct o3_web_text *asked[] = {either(&t->client_ca, &t->client_ca_file),
                                         &t->client_auth_at,
                                         &t->sans_at,
                                         &t->min_at,
                                         &t->max_at,
                                         &t->ciphers_at,
                                         &t->curves_at};
    for (size_t i = 0; !c->has_tls && i < sizeof asked / sizeof *asked; i++)
        if (asked[i]->line) return fail_at(asked[i], e, "cert_file and key_file are missing");
    if (t->min_version > t->max_version)
        return fail_at(t->min_at.line ? &t->min_at : &t->max_at, e, "min_version is above max_version");
    return check_client(t, e);
}

static bool is_base64_of_bcrypt(char c) {
    return c == '.' || c == '/' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

int o3_bcrypt_cost(const char *hash) {
    if (strlen(hash) != O3_BCRYPT_LEN || hash[0] != '$' || hash[1] != '2' || !strchr("aby", hash[2]) ||
        hash[3] != '$' || hash[6] != '$')
        return -1;
    if (hash[4] < '0' || hash[4] > '3' || hash[5] < '0' || hash[5] > '9') return -1;
    for (size_t i = 7; i < O3_BCRYPT_LEN; i++)
        if (!is_base64_of_bcrypt(hash[i])) return -1;
    /* 16 bytes of salt leave four bits of the last character unused: set ones would never compare equal. */
    if (!strchr(".Oeu", hash[28])) return -1;
    int cost = (hash[4] - '0') * 10 + hash[5] - '0';
    return cost < 4 || cost > 31 ? -1 : cost;
}

bool o3_web_cost_warning(const struct o3_web_user *u, char *out, size_t size) {
    if (u->cost <= O3_WEB_COST_USUAL) return false;
    snprintf(out, size,
             "basic_auth_users, line %u: a hash of cost %d takes a processor %s for each check; 10 to %d is usual",
             (unsigned)u->line, u->cost, u->cost > 13 ? "a second or two" : "up to a second", O3_WEB_COST_USUAL);
    return true;
}
