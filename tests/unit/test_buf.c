/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include <float.h>
#include "o3/buf.h"
#include "o3/rand.h"

static void an_empty_buffer(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 10);
    assert_string_equal(o3_buf_str(&b), "");
    assert_int_equal(o3_buf_add(&b, NULL, 0), 0);
    assert_string_equal(o3_buf_str(&b), "");
    char *p = o3_buf_take(&b);
    assert_string_equal(p, "");
    free(p);
}

static void bytes_add_up(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(o3_buf_addf(&b, "%03d", i), 0);
        assert_int_equal(b.len, 3 * (size_t)(i + 1));
        assert_int_equal(b.p[b.len], '\0');
    }
    assert_memory_equal(o3_buf_str(&b) + 3 * 777, "777", 3);
    char *p = o3_buf_take(&b);
    assert_int_equal(strlen(p), 3000);
    assert_int_equal(b.len, 0);
    free(p);
    assert_int_equal(o3_buf_adds(&b, "again"), 0);
    assert_string_equal(o3_buf_str(&b), "again");
}

static void long_formatted_text(void **state) {
    (void)state;
    for (int n = 250; n < 262; n++) {
        O3_AUTO_BUF b;
        o3_buf_init(&b, 1000);
        assert_int_equal(o3_buf_addf(&b, "%*d", n, 7), 0);
        assert_int_equal(b.len, n);
        assert_int_equal(b.p[n - 1], '7');
        assert_int_equal(strlen(b.p), n);
    }
}

static void the_maximum_is_exact(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 5);
    assert_int_equal(o3_buf_adds(&b, "12345"), 0);
    assert_int_equal(o3_buf_adds(&b, ""), 0);
    assert_int_equal(o3_buf_adds(&b, "6"), O3_E_LIMIT);
    assert_string_equal(o3_buf_str(&b), "12345");
    O3_AUTO_BUF none;
    o3_buf_init(&none, 0);
    assert_int_equal(o3_buf_adds(&none, "x"), O3_E_LIMIT);
}

static void errors_are_sticky(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4);
    assert_int_equal(o3_buf_adds(&b, "12345"), O3_E_LIMIT);
    assert_int_equal(o3_buf_adds(&b, "1"), O3_E_LIMIT);
    assert_int_equal(o3_buf_addf(&b, "%d", 1), O3_E_LIMIT);
    assert_int_equal(o3_buf_add_double(&b, 1), O3_E_LIMIT);
    assert_int_equal(b.len, 0);
    o3_buf_clear(&b);
    assert_int_equal(o3_buf_adds(&b, "1234"), 0);
    assert_int_equal(o3_buf_adds(&b, "5"), O3_E_LIMIT);
    assert_null(o3_buf_take(&b));
    assert_int_equal(b.len, 0);
}

static void doubles(void **state) {
    (void)state;
    static const struct {
        double v;
        const char *text;
    } ROWS[] = {
        {0, "0"},       {-0.0, "-0"},    {1, "1"},
        {0.1, "0.1"},   {37.6, "37.6"},  {1e22, "1e+22"},
        {-2.5, "-2.5"}, {1e-7, "1e-07"}, {0.1 + 0.2, "0.30000000000000004"},
        {4096, "4096"},
    };
    O3_AUTO_BUF b;
    o3_buf_init(&b, 100);
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        o3_buf_clear(&b);
        assert_int_equal(o3_buf_add_double(&b, ROWS[i].v), 0);
        assert_string_equal(o3_buf_str(&b), ROWS[i].text);
    }
    o3_buf_clear(&b);
    o3_buf_add_double(&b, (double)NAN);
    o3_buf_add_double(&b, (double)INFINITY);
    o3_buf_add_double(&b, -(double)INFINITY);
    assert_string_equal(o3_buf_str(&b), "NaN+Inf-Inf");
    o3_buf_clear(&b);
    o3_buf_add_json_number(&b, 2.5);
    o3_buf_add_json_number(&b, (double)NAN);
    o3_buf_add_json_number(&b, -(double)INFINITY);
    assert_string_equal(o3_buf_str(&b), "2.5nullnull");
}

static void any_double_comes_back(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(4));
    O3_AUTO_BUF b;
    o3_buf_init(&b, 100);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = o3_rand_u64(&r);
        double v;
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v)) continue;
        o3_buf_clear(&b);
        assert_int_equal(o3_buf_add_double(&b, v), 0);
        double again = strtod(o3_buf_str(&b), NULL);
        assert_memory_equal(&again, &v, sizeof v);
    }
}

static const char *as_hex(double v) {
    static char text[64];
    O3_AUTO_BUF b;
    o3_buf_init(&b, 64);
    o3_buf_add_hex(&b, v);
    snprintf(text, sizeof text, "%s", o3_buf_str(&b));
    return text;
}

static void hex_floats_are_those_of_printf(void **state) {
    (void)state;
    static const double ODD[] = {0, -0.0, 1, -1, 0.1, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e-310};
    struct o3_rand r;
    char wanted[64];
    o3_rand_seed(&r, 5);
    for (size_t i = 0; i < 20000; i++) {
        uint64_t bits = o3_rand_u64(&r);
        double v;
        memcpy(&v, &bits, sizeof v);
        if (i < sizeof ODD / sizeof *ODD) v = ODD[i];
        if (!isfinite(v)) continue;
        snprintf(wanted, sizeof wanted, "%a", v);
        assert_string_equal(as_hex(v), wanted);
    }
}

static void whole_numbers(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 100);
    o3_buf_add_int(&b, INT64_MIN);
    o3_buf_add_int(&b, 0);
    o3_buf_add_int(&b, -7);
    o3_buf_add_int(&b, INT64_MAX);
    assert_string_equal(o3_buf_str(&b), "-92233720368547758080-79223372036854775807");
}

static void check_whole_number(int64_t v) {
    char wanted[32];
    O3_AUTO_BUF b;
    o3_buf_init(&b, 32);
    assert_int_equal(o3_buf_add_int(&b, v), 0);
    snprintf(wanted, sizeof wanted, "%lld", (long long)v);
    assert_string_equal(o3_buf_str(&b), wanted);
    assert_int_equal(b.len, strlen(wanted));
    assert_int_equal(o3_buf_add_int_word(&b, v) == 0, 2 * strlen(wanted) + 1 <= 32);
    if (!b.err) assert_string_equal(o3_buf_str(&b) + strlen(wanted) + 1, wanted);
    if (!b.err) assert_int_equal(o3_buf_str(&b)[strlen(wanted)], ' ');
}

static void whole_numbers_of_every_length(void **state) {
    (void)state;
    for (int64_t power = 1, i = 0; i < 19; i++, power *= i < 19 ? 10 : 1)
        for (int64_t v = power - 2; v <= power + 2; v++) {
            check_whole_number(v);
            check_whole_number(-v);
            check_whole_number(7 * (v / 10));
        }
}

static void whole_numbers_stop_at_the_limit(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4);
    assert_int_equal(o3_buf_add_int(&b, -12), 0);
    assert_int_equal(o3_buf_add_int(&b, 7), 0);
    assert_int_equal(o3_buf_add_int(&b, 8), O3_E_LIMIT);
    assert_int_equal(o3_buf_add_hex(&b, 1), O3_E_LIMIT);
    assert_string_equal(o3_buf_str(&b), "-127");
}

static void error_rows(void **state) {
    (void)state;
    for (int i = 0; i < O3_ERROR_COUNT; i++) {
        const struct o3_error_row *row = &o3_error_rows()[i];
        assert_int_equal(row->code, -1 - i);
        assert_ptr_equal(o3_error_row(row->code), row);
        assert_true(row->wire_name[0] && row->meaning[0]);
    }
    assert_string_equal(o3_error_row(0)->symbol, "INTERNAL");
    assert_string_equal(o3_error_row(-9999)->symbol, "INTERNAL");
    struct o3_err e;
    assert_int_equal(o3_err_at(&e, O3_E_PARSE, 3, 4, "%s", "x"), O3_E_PARSE);
    assert_int_equal(e.line, 3);
    assert_int_equal(e.col, 4);
    assert_string_equal(e.text, "x");
    assert_int_equal(o3_err_set(NULL, O3_E_IO, "x"), O3_E_IO);
}

static void outside_text_is_made_harmless(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1000);
    o3_buf_add_html(&b, "a<b> & \"c\" 'd'\x1b[1m\xc2\x85\n\xc3\xa9\xff!");
    assert_string_equal(o3_buf_str(&b), "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39; [1m \n\xc3\xa9\xef\xbf\xbd!");
    o3_buf_clear(&b);
    assert_int_equal(o3_buf_add_html(&b, NULL), 0);
    assert_string_equal(o3_buf_str(&b), "");
    o3_buf_add_quoted(&b, "a\"\\\n\t\r\x01\x7f\xc2\x85\xc3\xa9\xc3");
    assert_string_equal(o3_buf_str(&b), "\"a\\\"\\\\\\n\\t\\r\\u0001\\u007f\\u0085\xc3\xa9\xef\xbf\xbd\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer),
        cmocka_unit_test(bytes_add_up),
        cmocka_unit_test(long_formatted_text),
        cmocka_unit_test(the_maximum_is_exact),
        cmocka_unit_test(errors_are_sticky),
        cmocka_unit_test(doubles),
        cmocka_unit_test(any_double_comes_back),
        cmocka_unit_test(hex_floats_are_those_of_printf),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(whole_numbers_of_every_length),
        cmocka_unit_test(whole_numbers_stop_at_the_limit),
        cmocka_unit_test(outside_text_is_made_harmless),
        cmocka_unit_test(error_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
