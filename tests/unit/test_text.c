/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include "o3/rand.h"
#include "o3/text.h"

static void durations(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
        const char *shortest; /* NULL: the text itself */
    } GOOD[] = {
        {"0", 0, "0s"},
        {"0s", 0, NULL},
        {"90s", 90000, "1m30s"},
        {"1h30m", 5400000, NULL},
        {"250ms", 250, NULL},
        {"2d", 172800000, NULL},
        {"36h", 129600000, "1d12h"},
        {"1m1ms", 60001, NULL},
        {"00007s", 7000, "7s"},
        {"1s1s", 2000, "2s"},
        {"9223372036854775807ms", INT64_MAX, "106751991167d7h12m55s807ms"},
    };
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        int64_t ms;
        assert_true(o3_duration_parse(GOOD[i].text, &ms));
        assert_int_equal(ms, GOOD[i].ms);
        char text[64];
        o3_duration_format(ms, text, sizeof text);
        assert_string_equal(text, GOOD[i].shortest ? GOOD[i].shortest : GOOD[i].text);
    }
    static const char *const BAD[] = {"",
                                      " ",
                                      "5",
                                      "s",
                                      "-1s",
                                      "+1s",
                                      "1.5s",
                                      "1 s",
                                      "1s ",
                                      "1w",
                                      "1us",
                                      "1h 2m",
                                      "1sm",
                                      "1S",
                                      "00",
                                      "1ms5",
                                      "0x1s",
                                      "9223372036854775808ms",
                                      "9223372036854775807s",
                                      "106751991168d"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        int64_t ms = 77;
        if (o3_duration_parse(BAD[i], &ms)) fail_msg("\"%s\" was taken", BAD[i]);
        assert_int_equal(ms, 77);
    }
}

static void any_duration_comes_back(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(1));
    for (int i = 0; i < 2000; i++) {
        int64_t ms = (int64_t)(o3_rand_u64(&r) >> (1 + o3_rand_below(&r, 62))), again;
        char text[64];
        o3_duration_format(ms, text, sizeof text);
        assert_true(o3_duration_parse(text, &again));
        assert_int_equal(again, ms);
    }
}

static void rfc3339(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } GOOD[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2026-11-21T04:06:06.161Z", 1795233966161},
        {"2026-11-21T04:06:06.161588035Z", 1795233966161},
        {"2026-11-21T04:06:06.1619999999999Z", 1795233966161},
        {"2026-11-21t04:06:06.16z", 1795233966160},
        {"2026-11-21 06:36:06+02:30", 1795233966000},
        {"2026-11-20T23:06:06-05:00", 1795233966000},
        {"2000-02-29T12:00:00Z", 951825600000},
        {"2016-12-31T23:59:60Z", 1483228800000},
        {"2319-03-03T00:00:00Z", 11018592000000},
        {"2318-12-31T23:59:59.999Z", 11013321599999},
        {"9999-12-31T23:59:59Z", 253402300799000},
        {"0001-01-01T00:00:00Z", -62135596800000},
    };
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        int64_t ms;
        if (!o3_rfc3339_parse(GOOD[i].text, &ms)) fail_msg("\"%s\" was refused", GOOD[i].text);
        assert_int_equal(ms, GOOD[i].ms);
    }
    static const char *const BAD[] = {"",
                                      "2026",
                                      "2026-11-21",
                                      "2026-11-21T04:06:06",
                                      "2026-11-21T04:06Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-00-01T00:00:00Z",
                                      "2026-01-32T00:00:00Z",
                                      "2026-01-00T00:00:00Z",
                                      "2026-02-29T00:00:00Z",
                                      "2100-02-29T00:00:00Z",
                                      "2026-04-31T00:00:00Z",
                                      "2026-01-01T24:00:00Z",
                                      "2026-01-01T00:60:00Z",
                                      "2026-01-01T00:00:61Z",
                                      "2026-01-01T00:00:00.Z",
                                      "2026-01-01T00:00:00+24:00",
                                      "2026-01-01T00:00:00+01",
                                      "2026-01-01T00:00:00Z ",
                                      "26-01-01T00:00:00Z",
                                      "-026-01-01T00:00:00Z",
                                      "2026-1-01T00:00:00Z"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        int64_t ms = 77;
        if (o3_rfc3339_parse(BAD[i], &ms)) fail_msg("\"%s\" was taken", BAD[i]);
        assert_int_equal(ms, 77);
    }
}

static void rfc3339_is_written(void **state) {
    (void)state;
    char text[40];
    o3_rfc3339_format(1795233966161, text, sizeof text);
    assert_string_equal(text, "2026-11-21T04:06:06.161Z");
    o3_rfc3339_format(-1, text, sizeof text);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
    o3_rfc3339_format_ns(1795233966, 161588035, text, sizeof text);
    assert_string_equal(text, "2026-11-21T04:06:06.161588035Z");
    o3_rfc3339_format_ns(11018592000, 5, text, sizeof text);
    assert_string_equal(text, "2319-03-03T00:00:00.000000005Z");
    o3_rfc3339_format(INT64_MAX, text, 32);
    o3_rfc3339_format(INT64_MIN, text, 32);
}

static void any_time_comes_back(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(2));
    for (int i = 0; i < 5000; i++) {
        /* Years 0001 to 9999. */
        int64_t ms = -62135596800000 + (int64_t)o3_rand_below(&r, 315537897600000), again;
        char text[32];
        o3_rfc3339_format(ms, text, sizeof text);
        assert_true(o3_rfc3339_parse(text, &again));
        assert_int_equal(again, ms);
    }
}

static bool is_plain(unsigned char c) {
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

/* Every byte at every place of texts shorter and longer than a step, followed by others that are not plain. */
static void plain_text(void **state) {
    (void)state;
    char text[25];
    for (size_t n = 0; n < sizeof text; n++)
        for (size_t at = 0; at < n; at++)
            for (int c = 0; c < 256; c++) {
                memset(text, 'a', sizeof text);
                text[at] = (char)c;
                if (at + 1 < n) text[at + 1] = '"';
                size_t wanted = !is_plain((unsigned char)c) ? at : at + 1;
                assert_int_equal(o3_text_plain(text, n), wanted);
            }
    assert_int_equal(o3_text_plain("", 0), 0);
}

static void utf8(void **state) {
    (void)state;
    static const char *const GOOD[] = {"",
                                       "abc",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "a\xe2\x82\xacz"};
    static const char *const BAD[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2z",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "ok\xe2\x28\xa1"};
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++)
        assert_true(o3_utf8_valid(GOOD[i], strlen(GOOD[i])));
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_false(o3_utf8_valid(BAD[i], strlen(BAD[i])));
    assert_true(o3_utf8_valid("a\0b", 3));
    assert_false(o3_utf8_valid("\xe2\x82\xac", 2));
}

static void copies_never_cut_a_character(void **state) {
    (void)state;
    static const char TEXT[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82z";
    static const size_t KEPT[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
    for (size_t size = 1; size <= 12; size++) {
        char out[16];
        memset(out, 'X', sizeof out);
        assert_int_equal(o3_str_copy(out, size, TEXT), size == 12);
        assert_int_equal(strlen(out), KEPT[size - 1]);
        assert_memory_equal(out, TEXT, KEPT[size - 1]);
        assert_int_equal(out[size], 'X');
    }
    char out[4];
    assert_true(o3_str_copy_n(out, sizeof out, "abcdef", 2));
    assert_string_equal(out, "ab");
    assert_true(o3_str_copy(out, sizeof out, ""));
    assert_string_equal(out, "");
}

static void edit_distance(void **state) {
    (void)state;
    assert_int_equal(o3_edit_distance("", ""), 0);
    assert_int_equal(o3_edit_distance("abc", ""), 3);
    assert_int_equal(o3_edit_distance("", "abc"), 3);
    assert_int_equal(o3_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(o3_edit_distance("probe.interval", "probe.intervall"), 1);
    assert_int_equal(o3_edit_distance("ab", "ba"), 2);
    char far[66];
    memset(far, 'f', sizeof far);
    far[65] = '\0';
    assert_int_equal(o3_edit_distance(far, far), 64);
    far[64] = '\0';
    assert_int_equal(o3_edit_distance(far, far), 0);
}

static void edit_distance_is_a_metric(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(3));
    for (int round = 0; round < 500; round++) {
        char w[3][9];
        for (int k = 0; k < 3; k++) {
            size_t n = (size_t)o3_rand_below(&r, 9);
            for (size_t i = 0; i < n; i++)
                w[k][i] = (char)('a' + o3_rand_below(&r, 3));
            w[k][n] = '\0';
        }
        int ab = o3_edit_distance(w[0], w[1]), bc = o3_edit_distance(w[1], w[2]), ac = o3_edit_distance(w[0], w[2]);
        assert_int_equal(ab, o3_edit_distance(w[1], w[0]));
        assert_int_equal(ab == 0, strcmp(w[0], w[1]) == 0);
        assert_true(ac <= ab + bc);
    }
}

static void numbers(void **state) {
    (void)state;
    int64_t i = 77;
    assert_true(o3_int_parse("-9223372036854775808", &i) && i == INT64_MIN);
    assert_true(o3_int_parse("+7", &i) && i == 7);
    static const char *const NOT_INTEGERS[] = {"", "-", "+-1", " 1", "1 ", "1.0", "0x10", "9223372036854775808", "1e3"};
    for (size_t k = 0; k < sizeof NOT_INTEGERS / sizeof *NOT_INTEGERS; k++)
        assert_false(o3_int_parse(NOT_INTEGERS[k], &i));
    assert_int_equal(i, 7);
    double d = 77;
    assert_true(o3_double_parse("-1.5e3", &d) && d < -1499.9 && d > -1500.1);
    assert_true(o3_double_parse(".5", &d));
    assert_true(o3_double_parse("5e-324", &d) && d > 0);
    static const char *const NOT_DOUBLES[] = {"", "-", ".", "nan", "inf", "0x1p3", " 1", "1 ", "1e", "1e999", "1,5"};
    for (size_t k = 0; k < sizeof NOT_DOUBLES / sizeof *NOT_DOUBLES; k++)
        if (o3_double_parse(NOT_DOUBLES[k], &d)) fail_msg("\"%s\" was taken", NOT_DOUBLES[k]);
}

/* FIPS 180-4 examples. */
static void sha256(void **state) {
    (void)state;
    char hex[65];
    o3_sha256_hex("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    o3_sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    static const char TWO_BLOCKS[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    o3_sha256_hex(TWO_BLOCKS, sizeof TWO_BLOCKS - 1, hex);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(any_duration_comes_back),
        cmocka_unit_test(rfc3339),
        cmocka_unit_test(rfc3339_is_written),
        cmocka_unit_test(any_time_comes_back),
        cmocka_unit_test(plain_text),
        cmocka_unit_test(utf8),
        cmocka_unit_test(copies_never_cut_a_character),
        cmocka_unit_test(edit_distance),
        cmocka_unit_test(edit_distance_is_a_metric),
        cmocka_unit_test(numbers),
        cmocka_unit_test(sha256),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
