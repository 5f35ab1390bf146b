/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include <float.h>
#include "base/state_text.h"

static const double DOUBLES[] = {0, -0.0, 1.0 / 3, DBL_MAX, -DBL_MIN, DBL_TRUE_MIN, INFINITY, -INFINITY, NAN};
static const int64_t INTS[] = {0, -1, 1, INT64_MIN, INT64_MAX};
#define N_DOUBLES (sizeof DOUBLES / sizeof *DOUBLES)
#define N_INTS (sizeof INTS / sizeof *INTS)

static struct o3_state_reader reader_of(const struct o3_buf *b) {
    return (struct o3_state_reader){.p = o3_buf_str(b), .end = o3_buf_str(b) + b->len};
}

static struct o3_state_reader reader_of_text(const char *text) {
    return (struct o3_state_reader){.p = text, .end = text + strlen(text)};
}

static void put_all(struct o3_buf *b) {
    o3_buf_adds(b, "magic");
    for (size_t i = 0; i < N_INTS; i++)
        o3_state_put_int(b, INTS[i]);
    o3_buf_adds(b, "\nsecond");
    for (size_t i = 0; i < N_DOUBLES; i++)
        o3_state_put_double(b, DOUBLES[i]);
    o3_state_put_text(b, "");
    o3_state_put_text(b, "a b\n3:c");
    o3_state_put_name(b, "end");
}

/* True when every word came back; else it must say that it is bad. */
static bool read_all(struct o3_state_reader *r) {
    char text[8];
    bool is_same = true;
    o3_state_read_name(r, "magic");
    for (size_t i = 0; i < N_INTS; i++)
        is_same &= o3_state_read_int(r, INT64_MIN, INT64_MAX) == INTS[i];
    o3_state_read_name(r, "second");
    for (size_t i = 0; i < N_DOUBLES; i++) {
        double v = o3_state_read_any(r);
        is_same &= isnan(DOUBLES[i]) ? isnan(v) : !memcmp(&v, &DOUBLES[i], sizeof v);
    }
    memcpy(text, "?", 2);
    o3_state_read_text(r, text, sizeof text);
    is_same &= !text[0];
    o3_state_read_text(r, text, sizeof text);
    is_same &= !strcmp(text, "a b\n3:c");
    o3_state_read_name(r, "end");
    return is_same;
}

static void what_was_put_comes_back(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4096);
    put_all(&b);
    struct o3_state_reader r = reader_of(&b);
    assert_true(read_all(&r));
    assert_false(r.is_bad);
    assert_ptr_equal(r.p, r.end);
}

/* In memory of exactly that size, so that a sanitizer sees a step beyond it. */
static void every_shorter_text_is_bad(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4096);
    put_all(&b);
    for (size_t n = 0; n < b.len; n++) {
        char *copy = malloc(n + !n);
        assert_non_null(copy);
        memcpy(copy, o3_buf_str(&b), n);
        struct o3_state_reader r = {.p = copy, .end = copy + n};
        (void)read_all(&r);
        assert_true(r.is_bad);
        free(copy);
    }
}

static void numbers_out_of_range_are_bad(void **state) {
    (void)state;
    static const char *const INT[] = {"-1", "11", "9223372036854775808", "1.5", "0x1", "", "ten", "1x"};
    static const char *const DOUBLE[] = {"-0x1p-1", "0x1.8p+1", "nan", "inf", "", "x", "0x1p0x"};
    for (size_t i = 0; i < sizeof INT / sizeof *INT; i++) {
        struct o3_state_reader r = reader_of_text(INT[i]);
        assert_int_equal(o3_state_read_int(&r, 0, 10), 0);
        assert_true(r.is_bad);
    }
    for (size_t i = 0; i < sizeof DOUBLE / sizeof *DOUBLE; i++) {
        struct o3_state_reader r = reader_of_text(DOUBLE[i]);
        O3_ASSERT_NEAR(o3_state_read_double(&r, 0, 2), 0, 0);
        assert_true(r.is_bad);
    }
    struct o3_state_reader r = reader_of_text("10 0x1p+1");
    assert_int_equal(o3_state_read_int(&r, 0, 10), 10);
    O3_ASSERT_NEAR(o3_state_read_double(&r, 0, 2), 2, 0);
    assert_false(r.is_bad);
}

static void after_damage_nothing_is_read(void **state) {
    (void)state;
    char text[4] = "old";
    struct o3_state_reader r = reader_of_text("other 7 0x1p+0 1:x");
    o3_state_read_name(&r, "name");
    assert_true(r.is_bad);
    assert_int_equal(o3_state_read_int(&r, 0, 10), 0);
    O3_ASSERT_NEAR(o3_state_read_any(&r), 0, 0);
    o3_state_read_text(&r, text, sizeof text);
    assert_string_equal(text, "old");
}

static void a_word_that_is_too_long_is_bad(void **state) {
    (void)state;
    char text[80];
    memset(text, '0', sizeof text);
    struct o3_state_reader r = {.p = text, .end = text + sizeof text};
    assert_int_equal(o3_state_read_int(&r, 0, 10), 0);
    assert_true(r.is_bad);
}

static void texts_that_do_not_fit_are_bad(void **state) {
    (void)state;
    static const char *const BAD[] = {"4:abcd", "3:ab", ":abc", "3abc", "-1:a", "99999999999999999999:a", "3", ""};
    char text[4];
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        struct o3_state_reader r = reader_of_text(BAD[i]);
        memcpy(text, "old", 4);
        o3_state_read_text(&r, text, sizeof text);
        assert_true(r.is_bad);
        assert_string_equal(text, "old");
    }
    static const char NUL[] = "3:a\0b";
    struct o3_state_reader r = {.p = NUL, .end = NUL + 5};
    o3_state_read_text(&r, text, sizeof text);
    assert_true(r.is_bad);
    r = reader_of_text("3:abc");
    o3_state_read_text(&r, text, sizeof text);
    assert_false(r.is_bad);
    assert_string_equal(text, "abc");
}

static void a_head_tells_the_version(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int result;
        bool is_bad;
    } ROWS[] = {{"thing 2", 0, false},          {"thing 3", O3_E_STORE_NEWER, false},
                {"thing 1", O3_E_PARSE, false}, {"other 2", 0, true},
                {"thing 0", 0, true},           {"thing", 0, true},
                {"thing 99999999999", 0, true}, {"", 0, true}};
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        struct o3_state_reader r = reader_of_text(ROWS[i].text);
        struct o3_err e;
        assert_int_equal(o3_state_read_head(&r, "thing", 2, &e), ROWS[i].result);
        assert_int_equal(r.is_bad, ROWS[i].is_bad);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_tells_the_version),      cmocka_unit_test(what_was_put_comes_back),
        cmocka_unit_test(every_shorter_text_is_bad),     cmocka_unit_test(numbers_out_of_range_are_bad),
        cmocka_unit_test(after_damage_nothing_is_read),  cmocka_unit_test(a_word_that_is_too_long_is_bad),
        cmocka_unit_test(texts_that_do_not_fit_are_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
