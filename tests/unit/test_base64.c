/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include "io/gzip.h"
#include "o3/base64.h"
#include "o3/rand.h"

/* The examples of RFC 4648, section 10. */
static void test_known(void **state) {
    (void)state;
    static const char *const KNOWN[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xff\xfe\xfd", "//79"}};
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++) {
        O3_AUTO_BUF text;
        O3_AUTO_BUF back;
        o3_buf_init(&text, 100);
        o3_buf_init(&back, 100);
        assert_int_equal(o3_base64_encode(KNOWN[i][0], strlen(KNOWN[i][0]), &text), 0);
        assert_string_equal(o3_buf_str(&text), KNOWN[i][1]);
        assert_int_equal(o3_base64_decode(KNOWN[i][1], strlen(KNOWN[i][1]), &back), 0);
        assert_string_equal(o3_buf_str(&back), KNOWN[i][0]);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const char *const BAD[] = {
        "Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zm 9", "Zm9v\n", "Zm9-"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        O3_AUTO_BUF out;
        o3_buf_init(&out, 100);
        if (o3_base64_decode(BAD[i], strlen(BAD[i]), &out) != O3_E_PARSE) fail_msg("%s", BAD[i]);
    }
}

static void test_any_bytes_come_back(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(5));
    char bytes[3000];
    for (size_t n = 0; n < sizeof bytes; n += 1 + n / 8) {
        O3_AUTO_BUF packed;
        O3_AUTO_BUF text;
        O3_AUTO_BUF unpacked;
        O3_AUTO_BUF back;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)(o3_rand_u64(&r) & (n % 2 ? 0xff : 3));
        o3_buf_init(&packed, 10000);
        o3_buf_init(&text, 20000);
        o3_buf_init(&unpacked, 10000);
        o3_buf_init(&back, 10000);
        assert_int_equal(o3_gzip_encode(bytes, n, 9, &packed), 0);
        assert_int_equal(o3_base64_encode(o3_buf_str(&packed), packed.len, &text), 0);
        assert_int_equal(o3_base64_decode(o3_buf_str(&text), text.len, &back), 0);
        assert_int_equal(o3_gzip_decode(o3_buf_str(&back), back.len, &unpacked), 0);
        assert_int_equal(unpacked.len, n);
        assert_memory_equal(o3_buf_str(&unpacked), bytes, n);
    }
}

/* A little text that wants to become a large one, half a text, and another one. */
static void test_unpacking_is_bounded(void **state) {
    (void)state;
    static char zeros[1 << 20];
    O3_AUTO_BUF packed;
    O3_AUTO_BUF out;
    o3_buf_init(&packed, 100000);
    o3_buf_init(&out, 1000);
    assert_int_equal(o3_gzip_encode(zeros, sizeof zeros, 9, &packed), 0);
    assert_int_equal(o3_gzip_decode(o3_buf_str(&packed), packed.len, &out), O3_E_LIMIT);
    o3_buf_done(&out);
    o3_buf_init(&out, sizeof zeros);
    assert_int_equal(o3_gzip_decode(o3_buf_str(&packed), packed.len / 2, &out), O3_E_PARSE);
    o3_buf_clear(&out);
    assert_int_equal(o3_gzip_decode("no gzip at all", 14, &out), O3_E_PARSE);
    o3_buf_clear(&out);
    assert_int_equal(o3_gzip_decode("", 0, &out), O3_E_PARSE);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_any_bytes_come_back),
                                       cmocka_unit_test(test_unpacking_is_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
