/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include "app/credentials.h"
#include "io/client.h"
#include "io/password.h"
#include "o3/text.h"

#define S O3_NS_PER_S
#define HASH "$2b$04$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi" /* "correct horse" */

static void basic_credentials_are_decoded(void **state) {
    (void)state;
    struct o3_credentials c;
    assert_true(o3_credentials_parse("Basic YTpi", &c));
    assert_string_equal(c.user, "a");
    assert_string_equal(c.password, "b");
    assert_true(o3_credentials_parse("basic  QWxhZGRpbjpvcGVuIHNlc2FtZQ==", &c));
    assert_string_equal(c.user, "Aladdin");
    assert_string_equal(c.password, "open sesame");
    assert_true(o3_credentials_parse("Basic YTo=", &c)); /* an empty password is one */
    assert_string_equal(c.password, "");
    assert_true(o3_credentials_parse("Basic YTpiOmM=", &c)); /* only the first colon divides */
    assert_string_equal(c.password, "b:c");
}

static void other_headers_are_no_credentials(void **state) {
    (void)state;
    static const char *const WRONG[] = {"",
                                        "Basic",
                                        "Basic ",
                                        "Bearer YTpi",
                                        "Basic YTp",
                                        "Basic YTp!",
                                        "Basic YQ==",
                                        "Basic ====",
                                        "Basic Y===",
                                        "Basic YTpi=",
                                        "Basic YT pi",
                                        "BasicYTpi",
                                        "Basic YToAYg==" /* a NUL */,
                                        "Basic =TpiYTpi"};
    struct o3_credentials c;
    assert_false(o3_credentials_parse(NULL, &c));
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++)
        if (o3_credentials_parse(WRONG[i], &c)) fail_msg("accepted: %s", WRONG[i]);
}

static void too_long_credentials_are_refused(void **state) {
    (void)state;
    char header[8 + 4 * O3_CREDENTIALS_MAX] = "Basic YTpi"; /* "a:b", then threes of "b" */
    struct o3_credentials c;
    size_t n = strlen(header);
    for (size_t bytes = 3; bytes + 3 < O3_CREDENTIALS_MAX; bytes += 3, n += 4)
        memcpy(header + n, "YmJi", 5);
    assert_true(o3_credentials_parse(header, &c));
    memcpy(header + n, "YmJi", 5);
    assert_false(o3_credentials_parse(header, &c));
}

static void secrets_are_compared_whole(void **state) {
    (void)state;
    assert_true(o3_secret_equal("abc", 3, "abc", 3));
    assert_true(o3_secret_equal("", 0, "", 0));
    assert_false(o3_secret_equal("abd", 3, "abc", 3));
    assert_false(o3_secret_equal("abcabc", 6, "abc", 3));
    assert_false(o3_secret_equal("ab", 2, "abc", 3));
    assert_false(o3_secret_equal("", 0, "abc", 3));
    assert_false(o3_secret_equal("abc", 3, "", 0));
}

static void a_password_is_checked_against_its_hash(void **state) {
    (void)state;
    assert_true(o3_password_is_right("correct horse", HASH));
    assert_true(o3_password_is_right("correct horse", "$2y$04$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi"));
    assert_false(o3_password_is_right("correct horsf", HASH));
    assert_false(o3_password_is_right("", HASH));
    assert_false(o3_password_is_right("correct horse", ""));
    assert_false(o3_password_is_right("*0", "*0")); /* what crypt(3) answers when it fails */
    assert_false(o3_password_is_right("x", "x"));
}

struct checked {
    int n_right, n_wrong;
};

static void on_checked(void *ctx, bool is_right) {
    struct checked *c = ctx;
    c->n_right += is_right;
    c->n_wrong += !is_right;
}

static void a_check_has_a_thread_of_its_own(void **state) {
    (void)state;
    struct o3_loop *l = NULL;
    struct o3_password_check *c = NULL;
    struct checked seen = {0};
    assert_int_equal(o3_loop_new(&l, NULL), 0);
    assert_int_equal(o3_password_check_start(l, "correct horse", HASH, on_checked, &seen, &c), 0);
    assert_int_equal(o3_password_check_start(l, "correct horsf", HASH, on_checked, &seen, &c), 0);
    while (seen.n_right + seen.n_wrong < 2)
        o3_loop_once(l, 1000);
    assert_int_equal(seen.n_right, 1);
    char too_long[O3_PASSWORD_MAX + 1];
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    assert_true(o3_password_check_start(l, too_long, HASH, on_checked, &seen, &c) < 0);
    o3_loop_free(l);
}

/* Nobody waits for it, and nothing is called: at cost 14 the loop is gone long before the check ends. */
static void an_abandoned_check_is_never_heard_of(void **state) {
    (void)state;
    struct o3_loop *l = NULL;
    struct o3_password_check *c = NULL;
    struct checked seen = {0};
    assert_int_equal(o3_loop_new(&l, NULL), 0);
    assert_int_equal(o3_password_check_start(l, "correct horse",
                                             "$2b$14$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi", on_checked,
                                             &seen, &c),
                     0);
    o3_password_check_abandon(c);
    o3_loop_once(l, 0);
    o3_password_check_abandon(NULL);
    o3_loop_free(l);
    assert_int_equal(seen.n_right + seen.n_wrong, 0);
}

static void findings_are_remembered_and_bounded(void **state) {
    (void)state;
    struct o3_findings *f = calloc(1, sizeof *f);
    char digest[O3_DIGEST_SIZE], first[O3_DIGEST_SIZE];
    bool is_right;
    assert_non_null(f);
    o3_sha256_hex("right", 5, first);
    assert_false(o3_findings_find(f, first, &is_right));
    o3_findings_add(f, first, true);
    /* However many wrong ones come, the right one stays. */
    for (int i = 0; i < 10 * O3_FINDINGS_MAX; i++) {
        o3_sha256_hex(&i, sizeof i, digest);
        assert_false(o3_findings_find(f, digest, &is_right));
        o3_findings_add(f, digest, false);
        assert_true(o3_findings_find(f, digest, &is_right));
        assert_false(is_right);
    }
    assert_true(o3_findings_find(f, first, &is_right));
    assert_true(is_right);
    /* Of the right ones the one that was asked for longest ago goes. */
    for (int i = 0; i < O3_FINDINGS_MAX; i++) {
        o3_sha256_hex(&i, sizeof i, digest);
        o3_findings_add(f, digest, true);
        if (i < O3_FINDINGS_MAX - 1) assert_true(o3_findings_find(f, first, &is_right) && is_right);
    }
    assert_true(o3_findings_find(f, first, &is_right));
    o3_sha256_hex(&(int){0}, sizeof(int), digest);
    assert_true(!o3_findings_find(f, digest, &is_right) || !is_right);
    free(f);
}

static void tries_run_out_and_come_back(void **state) {
    (void)state;
    struct o3_tries *t = calloc(1, sizeof *t);
    const unsigned char one[16] = {1}, two[16] = {2};
    int wait_s, n = 0;
    assert_non_null(t);
    while (n < 1000 && o3_tries_take(t, one, 5 * S, &wait_s))
        n++;
    assert_int_equal(n, O3_TRIES_BURST);
    assert_int_equal(wait_s, 60 / O3_TRIES_PER_MINUTE);
    assert_true(o3_tries_take(t, two, 5 * S, &wait_s)); /* another client is not held up */
    assert_false(o3_tries_take(t, one, 10 * S, &wait_s));
    assert_int_equal(wait_s, 1);
    assert_true(o3_tries_take(t, one, 11 * S, &wait_s));
    assert_false(o3_tries_take(t, one, 11 * S, &wait_s));
    o3_tries_give_back(t, one); /* it was right */
    assert_true(o3_tries_take(t, one, 11 * S, &wait_s));
    n = 0;
    while (n < 1000 && o3_tries_take(t, one, 100000 * S, &wait_s))
        n++;
    assert_int_equal(n, O3_TRIES_BURST); /* idle time is not saved up */
    free(t);
}

static void many_clients_share_a_limit(void **state) {
    (void)state;
    struct o3_tries *t = calloc(1, sizeof *t);
    int wait_s, n = 0;
    assert_non_null(t);
    for (int i = 0; i < 10000; i++) {
        unsigned char network[16] = {0};
        memcpy(network, &i, sizeof i);
        n += o3_tries_take(t, network, S, &wait_s);
    }
    assert_int_equal(n, O3_TRIES_ALL_BURST);
    assert_true(wait_s >= 1);
    free(t);
}

/* However many guess without an end, who comes from another address has his tries, and so has who was right before. */
static void guessers_do_not_lock_out_others(void **state) {
    (void)state;
    struct o3_tries *t = calloc(1, sizeof *t);
    int wait_s, n = 0;
    assert_non_null(t);
    for (int64_t second = 1; second <= 600; second++)
        for (int i = 0; i < 40; i++) {
            unsigned char network[16] = {1, (unsigned char)i};
            n += o3_tries_take(t, network, second * S, &wait_s);
        }
    assert_true(n >= 600 && n <= 2 * (O3_TRIES_ALL_BURST + 10 * O3_TRIES_ALL_PER_MINUTE));
    for (int i = 0; i < O3_TRIES_ALL_BURST / 2; i++) {
        unsigned char other[16] = {2, (unsigned char)i};
        assert_true(o3_tries_take(t, other, 600 * S, &wait_s));
        o3_tries_give_back(t, other);
    }
    free(t);
}

/* Guessers use up the tries of all who come anew, for a moment. Who came in it is no guesser, and has his soon after.
 */
static void one_who_came_at_a_bad_moment_is_let_in_later(void **state) {
    (void)state;
    struct o3_tries *t = calloc(1, sizeof *t);
    const unsigned char newcomer[16] = {2};
    int wait_s, n = 0;
    assert_non_null(t);
    for (int64_t second = 1; second <= 300; second++) {
        for (int i = 0; i < O3_TRIERS_MAX - 1; i++) {
            unsigned char guesser[16] = {1, (unsigned char)i};
            (void)o3_tries_take(t, guesser, second * S, &wait_s);
        }
        if (second % 15 != 1) continue;
        bool is_let_in = o3_tries_take(t, newcomer, second * S, &wait_s);
        n += is_let_in;
        if (second == 1) assert_false(is_let_in);
    }
    assert_true(n > 0);
    free(t);
}

/* Who was right is forgotten meanwhile, as many others came: none of them is forgotten for it. */
static void a_try_given_back_costs_nobody_his_place(void **state) {
    (void)state;
    struct o3_tries *t = calloc(1, sizeof *t);
    const unsigned char early[16] = {2};
    int wait_s;
    assert_non_null(t);
    assert_true(o3_tries_take(t, early, S, &wait_s));
    for (int i = 0; i < O3_TRIERS_MAX; i++) {
        unsigned char network[16] = {1, (unsigned char)i};
        (void)o3_tries_take(t, network, 2 * S, &wait_s);
    }
    o3_tries_give_back(t, early);
    for (int i = 0; i < O3_TRIERS_MAX; i++)
        assert_int_equal(t->v[i].network[0], 1);
    free(t);
}

static struct o3_client client_of(const char *text) {
    struct o3_client c;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        o3_client_of((struct sockaddr *)&v4, &c);
    else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        o3_client_of((struct sockaddr *)&v6, &c);
    else
        o3_client_of(NULL, &c);
    return c;
}

static bool is_one(const char *a, const char *b) {
    struct o3_client x = client_of(a), y = client_of(b);
    return !memcmp(x.network, y.network, sizeof x.network);
}

static void one_client_is_an_address_or_a_network(void **state) {
    (void)state;
    assert_string_equal(client_of("192.0.2.7").text, "192.0.2.7");
    assert_string_equal(client_of("::ffff:192.0.2.7").text, "192.0.2.7");
    assert_string_equal(client_of("2001:db8::1").text, "2001:db8::1");
    assert_string_equal(client_of("?").text, "unknown");
    assert_true(is_one("192.0.2.7", "::ffff:192.0.2.7"));
    assert_false(is_one("192.0.2.7", "192.0.2.8"));
    assert_true(is_one("2001:db8::1", "2001:db8::ffff:1"));
    assert_false(is_one("2001:db8::1", "2001:db8:0:1::1"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(basic_credentials_are_decoded),
        cmocka_unit_test(other_headers_are_no_credentials),
        cmocka_unit_test(too_long_credentials_are_refused),
        cmocka_unit_test(secrets_are_compared_whole),
        cmocka_unit_test(a_password_is_checked_against_its_hash),
        cmocka_unit_test(a_check_has_a_thread_of_its_own),
        cmocka_unit_test(an_abandoned_check_is_never_heard_of),
        cmocka_unit_test(findings_are_remembered_and_bounded),
        cmocka_unit_test(tries_run_out_and_come_back),
        cmocka_unit_test(many_clients_share_a_limit),
        cmocka_unit_test(guessers_do_not_lock_out_others),
        cmocka_unit_test(one_who_came_at_a_bad_moment_is_let_in_later),
        cmocka_unit_test(a_try_given_back_costs_nobody_his_place),
        cmocka_unit_test(one_client_is_an_address_or_a_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
