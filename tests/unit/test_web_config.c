/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include <stdio.h>
#include "o3/buf.h"
#include "o3/web_config.h"

#define HASH "$2b$04$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi"
#define PAIR "tls_server_config:\n  cert_file: c.pem\n  key_file: k.pem\n"

static struct o3_web_config *parse(const char *text) {
    struct o3_web_config *c = NULL;
    struct o3_err e = {0};
    if (o3_web_config_parse(text, strlen(text), &c, &e) < 0) fail_msg("%u:%u: %s", e.line, e.col, e.text);
    return c;
}

static void expect_error_n(const char *text, size_t n, uint32_t line, uint32_t col, const char *want) {
    struct o3_web_config *c = NULL;
    struct o3_err e = {0};
    int r = o3_web_config_parse(text, n, &c, &e);
    if (r == 0) fail_msg("accepted, expected: %s", want);
    assert_int_equal(r, O3_E_CONFIG);
    assert_null(c);
    if (!strstr(e.text, want) || e.line != line || e.col != col)
        fail_msg("%u:%u: %s\nexpected %u:%u: %s", e.line, e.col, e.text, line, col, want);
}

static void expect_error(const char *text, uint32_t line, uint32_t col, const char *want) {
    expect_error_n(text, strlen(text), line, col, want);
}

static void nothing_means_plain_http_for_everybody(void **state) {
    (void)state;
    static const char *const EMPTY[] = {"", "# nothing\n", "{}\n", "tls_server_config:\nbasic_auth_users:\n",
                                        "tls_server_config: {}\nhttp_server_config:\n  headers:\n"};
    for (size_t i = 0; i < sizeof EMPTY / sizeof *EMPTY; i++) {
        struct o3_web_config *c = parse(EMPTY[i]);
        assert_false(c->has_tls);
        assert_int_equal(c->n_users, 0);
        assert_int_equal(c->n_headers, 0);
        o3_web_config_free(c);
    }
}

static void every_key_is_read(void **state) {
    (void)state;
    struct o3_web_config *c = parse("tls_server_config:\n"
                                    "  cert_file: c.pem\n"
                                    "  key_file: \"k.pem\"\n"
                                    "  client_ca_file: ca.pem\n"
                                    "  client_auth_type: RequireAndVerifyClientCert\n"
                                    "  client_allowed_sans: [a.example, 10.0.0.1]\n"
                                    "  min_version: TLS11\n"
                                    "  max_version: TLS12\n"
                                    "  cipher_suites:\n"
                                    "    - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n"
                                    "  curve_preferences: [X25519]\n"
                                    "  prefer_server_cipher_suites: false\n"
                                    "http_server_config:\n"
                                    "  http2: true\n"
                                    "  headers:\n"
                                    "    Content-Security-Policy: default-src 'self'\n"
                                    "    X-Frame-Options: sameorigin\n"
                                    "    X-Content-Type-Options: nosniff\n"
                                    "    X-XSS-Protection: \"\"\n"
                                    "    Strict-Transport-Security: max-age=31536000\n"
                                    "basic_auth_users:\n"
                                    "  alice: " HASH "\n"
                                    "  'bob smith': \"" HASH "\"\n");
    assert_true(c->has_tls);
    assert_string_equal(c->tls.cert_file.s, "c.pem");
    assert_string_equal(c->tls.key_file.s, "k.pem");
    assert_string_equal(c->tls.client_ca_file.s, "ca.pem");
    assert_int_equal(c->tls.client_auth, O3_CLIENT_CERT_REQUIRE_AND_VERIFY);
    assert_int_equal(c->tls.client_allowed_sans.n, 2);
    assert_string_equal(c->tls.client_allowed_sans.v[1].s, "10.0.0.1");
    assert_int_equal(c->tls.min_version, O3_TLS_1_1);
    assert_int_equal(c->tls.max_version, O3_TLS_1_2);
    assert_string_equal(c->tls.cipher_suites.v[0].s, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
    assert_string_equal(c->tls.curves.v[0].s, "X25519");
    assert_false(c->tls.is_server_preferred);
    assert_true(c->is_http2_asked);
    assert_int_equal(c->n_headers, 4); /* a blank one is not sent */
    assert_string_equal(c->headers[0].name, "Content-Security-Policy");
    assert_string_equal(c->headers[0].value, "default-src 'self'");
    assert_int_equal(c->n_users, 2);
    assert_string_equal(c->users[1].name, "bob smith");
    assert_string_equal(c->users[1].hash, HASH);
    assert_int_equal(c->users[1].cost, 4);
    o3_web_config_free(c);
}

static void tls_has_the_usual_defaults(void **state) {
    (void)state;
    struct o3_web_config *c = parse(PAIR);
    assert_int_equal(c->tls.min_version, O3_TLS_1_2);
    assert_int_equal(c->tls.max_version, O3_TLS_1_3);
    assert_int_equal(c->tls.client_auth, O3_CLIENT_CERT_NONE);
    assert_true(c->tls.is_server_preferred);
    o3_web_config_free(c);
}

static void unknown_and_repeated_keys_are_refused(void **state) {
    (void)state;
    expect_error("tls_server_confg:\n  a: b\n", 1, 1,
                 "unknown key \"tls_server_confg\"; did you mean \"tls_server_config\"?");
    expect_error("tls_server_config:\n  cert_fil: b\n", 2, 3, "did you mean \"tls_server_config.cert_file\"?");
    expect_error("http_server_config:\n  headers:\n    X-Powered-By: o3\n", 3, 5, "unknown key");
    expect_error("tls_server_config.cert_file: x\n", 1, 1, "unknown key");
    expect_error("'': x\n", 1, 1, "unknown key \"\"");
    expect_error(PAIR "  key_file: again\n", 4, 3, "already given in line 3");
    expect_error("basic_auth_users:\n  a: " HASH "\n  a: " HASH "\n", 3, 3, "this user was given before");
    expect_error("rate_limit:\n  burst: 1\n", 1, 1, "rate_limit: not supported by this server");
    expect_error("--- {}\n--- {}\n", 2, 1, "only one YAML document");
    expect_error("basic_auth_users: &a {}\n", 1, 19, "anchors");
    expect_error("- a\n", 1, 1, "expected a group of keys");
    expect_error("tls_server_config: yes\n", 1, 20, "expected a group of keys");
    expect_error("a: 1\n", 1, 1, "unknown key \"a\"");
    expect_error("tls_server_config: {\n", 2, 1, "not valid YAML");
    expect_error_n("a\0b: c\n", 7, 1, 2, "control character");
}

static void values_that_cannot_be_meant_are_refused(void **state) {
    (void)state;
    expect_error(PAIR "  min_version: 1.2\n", 4, 16, "min_version: expected TLS10, TLS11, TLS12 or TLS13");
    expect_error(PAIR "  client_auth_type: Require\n", 4, 21, "expected NoClientCert, ");
    expect_error(PAIR "  prefer_server_cipher_suites: 1\n", 4, 32, "expected true or false");
    expect_error(PAIR "  cipher_suites: TLS_AES_128_GCM_SHA256\n", 4, 18, "expected a list");
    expect_error(PAIR "  cipher_suites: [[a]]\n", 4, 19, "single values");
    expect_error("http_server_config:\n  headers:\n    X-Frame-Options: never\n", 3, 22, "expected deny or sameorigin");
    expect_error("http_server_config:\n  headers:\n    X-XSS-Protection: \"1\\nSet-Cookie: a=b\"\n", 3, 23,
                 "printable ASCII");
    expect_error("tls_server_config:\n  cert_file: [a]\n", 2, 14, "expected a single value");
}

static void what_does_not_go_together_is_refused(void **state) {
    (void)state;
    expect_error("tls_server_config:\n  cert_file: c.pem\n", 2, 14, "key_file (or key) is missing");
    expect_error("tls_server_config:\n  key_file: k.pem\n", 2, 13, "cert_file (or cert) is missing");
    expect_error(PAIR "  cert: abc\n", 2, 14, "only one of cert and cert_file");
    expect_error(PAIR "  key: abc\n", 3, 13, "only one of key and key_file");
    expect_error("tls_server_config:\n  min_version: TLS13\n", 2, 16, "cert_file and key_file are missing");
    expect_error("tls_server_config:\n  client_auth_type: RequireAnyClientCert\n", 2, 21, "are missing");
    expect_error(PAIR "  min_version: TLS13\n  max_version: TLS12\n", 4, 16, "above max_version");
    expect_error(PAIR "  max_version: TLS11\n", 4, 16, "above max_version");
    expect_error(PAIR "  client_ca_file: ca.pem\n", 4, 19, "without client_auth_type has no effect");
    expect_error(PAIR "  client_auth_type: VerifyClientCertIfGiven\n", 4, 21, "client_ca_file, which is missing");
    expect_error(PAIR "  client_allowed_sans: [a]\n", 4, 24, "client_allowed_sans: needs");
}

static void a_user_has_a_name_and_a_bcrypt_hash(void **state) {
    (void)state;
    expect_error("basic_auth_users:\n  a: swordfish\n", 2, 6, "expected a bcrypt hash");
    expect_error("basic_auth_users:\n  a:\n", 2, 5, "expected a bcrypt hash");
    expect_error("basic_auth_users:\n  a: $2b$15$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi\n", 2, 6,
                 "above 14");
    expect_error("basic_auth_users:\n  'a:b': " HASH "\n", 2, 3, "no colon");
    expect_error("basic_auth_users:\n  '': " HASH "\n", 2, 3, "1 to 255 bytes");
    expect_error("basic_auth_users: [a]\n", 1, 19, "NAME: HASH");
}

/* Somebody may have written the password itself, and errors go into logs. */
static void no_error_shows_a_secret(void **state) {
    (void)state;
    static const char *const FILES[] = {"basic_auth_users:\n  a: swordfish\n",
                                        "basic_auth_users: swordfish\n",
                                        "basic_auth_users:\n  a: [swordfish]\n",
                                        "tls_server_config:\n  key: swordfish\n",
                                        PAIR "  key: swordfish\n",
                                        "tls_server_config:\n  key: [swordfish]\n",
                                        "tls_server_config: {key:swordfish}\n",
                                        "{basic_auth_users=swordfish: x}\n",
                                        "basic_auth_users: {a:swordfish}\n",
                                        "basic_auth_users: {a: b,swordfish: x}\n",
                                        "basic_auth_users: {a: " HASH ",swordfish: x}\n",
                                        "http_server_config: {headers: {X-Frame-Options: swordfish}}\n"};
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        struct o3_web_config *c = NULL;
        struct o3_err e = {0};
        assert_int_equal(o3_web_config_parse(FILES[i], strlen(FILES[i]), &c, &e), O3_E_CONFIG);
        assert_null(strstr(e.text, "swordfish"));
    }
}

static void lists_and_users_are_bounded(void **state) {
    (void)state;
    struct o3_buf b;
    o3_buf_init(&b, 1 << 20);
    o3_buf_adds(&b, "basic_auth_users:\n");
    for (int i = 0; i < O3_WEB_USERS_MAX; i++)
        o3_buf_addf(&b, "  u%d: " HASH "\n", i);
    struct o3_web_config *c = parse(o3_buf_str(&b));
    assert_int_equal(c->n_users, O3_WEB_USERS_MAX);
    o3_web_config_free(c);
    o3_buf_adds(&b, "  more: " HASH "\n");
    expect_error(o3_buf_str(&b), O3_WEB_USERS_MAX + 2, 3, "more than 64 users");
    o3_buf_clear(&b);
    o3_buf_adds(&b, PAIR "  cipher_suites:\n");
    for (int i = 0; i <= O3_WEB_LIST_MAX; i++)
        o3_buf_adds(&b, "  - x\n");
    expect_error(o3_buf_str(&b), 5 + O3_WEB_LIST_MAX, 5, "too many items");
    o3_buf_done(&b);
}

static void the_form_of_a_bcrypt_hash(void **state) {
    (void)state;
    assert_int_equal(o3_bcrypt_cost(HASH), 4);
    assert_int_equal(o3_bcrypt_cost("$2y$31$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi"), 31);
    static const char *const WRONG[] = {
        "",
        "$2b$",
        "$2x$04$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi",
        "$1$04$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi0",
        "$2b$03$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi",
        "$2b$32$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi",
        "$2b$4$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi0",
        "$2b$04$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETf",
        "$2b$04$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfii",
        "$2b$04$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETf!",
        "$2b$04$vUFsxiFFR6/T0XuZ7JCjxvHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi", /* a bit of salt that is not there */
    };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++)
        assert_int_equal(o3_bcrypt_cost(WRONG[i]), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_means_plain_http_for_everybody),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(tls_has_the_usual_defaults),
        cmocka_unit_test(unknown_and_repeated_keys_are_refused),
        cmocka_unit_test(values_that_cannot_be_meant_are_refused),
        cmocka_unit_test(what_does_not_go_together_is_refused),
        cmocka_unit_test(a_user_has_a_name_and_a_bcrypt_hash),
        cmocka_unit_test(no_error_shows_a_secret),
        cmocka_unit_test(lists_and_users_are_bounded),
        cmocka_unit_test(the_form_of_a_bcrypt_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
