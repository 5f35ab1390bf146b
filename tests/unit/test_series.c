/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of text, numbers, times and tables, as `o3 replay` reads them. */
#include "o3_test.h"
#include <errno.h>
#include "io/lines.h"
#include "io/series.h"

/* ---- lines ---- */

struct source {
    const char *bytes;
    size_t n, at, piece;
    int error;
};

static ssize_t read_piece(void *ctx, void *out, size_t n) {
    struct source *s = ctx;
    size_t left = s->n - s->at;
    if (s->error && s->at == s->n) {
        errno = s->error;
        return -1;
    }
    if (n > s->piece) n = s->piece;
    if (n > left) n = left;
    if (n) memcpy(out, s->bytes + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

/* "a|b|", with "!NUMBER|" for a line that was refused. */
static void read_as(const char *bytes, size_t n, size_t piece, struct o3_buf *out) {
    struct source source = {.bytes = bytes, .n = n, .piece = piece};
    struct o3_lines l;
    struct o3_err e;
    assert_int_equal(o3_lines_init(&l, read_piece, &source, &e), 0);
    for (int r = 1; r != 0;) {
        char *line;
        size_t len;
        r = o3_lines_next(&l, &line, &len, &e);
        if (r == 1) o3_buf_addf(out, "%s|", line);
        if (r < 0) {
            assert_int_equal(r, O3_E_PARSE);
            assert_true(e.text[0]);
            o3_buf_addf(out, "!%lld|", (long long)l.number);
        }
    }
    o3_lines_done(&l);
}

static void lines_are_the_same_in_pieces_of_any_size(void **state) {
    (void)state;
    static const char TEXT[] = "one\n\ntwo\r\n\0x\nthree\r\r\nlast";
    for (size_t piece = 1; piece < sizeof TEXT; piece++) {
        O3_AUTO_BUF out;
        o3_buf_init(&out, 1000);
        read_as(TEXT, sizeof TEXT - 1, piece, &out);
        assert_string_equal(o3_buf_str(&out), "one||two|!4|three\r|last|");
    }
}

static void long_lines_are_passed_over(void **state) {
    (void)state;
    static const int EXTRA[] = {-1, 0, 1, 70000, 400000};
    for (size_t i = 0; i < sizeof EXTRA / sizeof *EXTRA; i++) {
        size_t n = (size_t)((long)O3_LINE_MAX + EXTRA[i]);
        char *text = malloc(n + 16);
        assert_non_null(text);
        memset(text, 'x', n);
        memcpy(text + n, "\nafter", 7);
        O3_AUTO_BUF out;
        o3_buf_init(&out, 1 << 20);
        read_as(text, n + 6, 1000, &out);
        if (EXTRA[i] <= 0)
            assert_int_equal(out.len, n + 1 + 6);
        else
            assert_string_equal(o3_buf_str(&out), "!1|after|");
        free(text);
    }
}

static void a_look_takes_nothing(void **state) {
    (void)state;
    struct source source = {.bytes = "\n \n first\nsecond\n", .n = 17, .piece = 3};
    struct o3_lines l;
    assert_int_equal(o3_lines_init(&l, read_piece, &source, NULL), 0);
    char *first = o3_lines_peek(&l), *line;
    size_t n;
    assert_string_equal(first, "first");
    free(first);
    assert_int_equal(o3_lines_next(&l, &line, &n, NULL), 1);
    assert_int_equal(n, 0);
    assert_int_equal(l.number, 1);
    o3_lines_done(&l);
}

static void what_cannot_be_read_is_an_error(void **state) {
    (void)state;
    struct source source = {.bytes = "a\nb", .n = 3, .piece = 10, .error = EIO};
    struct o3_lines l;
    struct o3_err e;
    char *line;
    size_t n;
    assert_int_equal(o3_lines_init(&l, read_piece, &source, &e), 0);
    assert_int_equal(o3_lines_next(&l, &line, &n, &e), 1);
    assert_int_equal(o3_lines_next(&l, &line, &n, &e), O3_E_IO);
    o3_lines_done(&l);
}

/* ---- numbers and times ---- */

static void numbers(void **state) {
    (void)state;
    double v;
    assert_true(o3_series_value_parse(" 37.5\t", &v) && v == 37.5);
    assert_true(o3_series_value_parse("-1e-3", &v) && v == -1e-3);
    assert_true(o3_series_value_parse("NaN", &v) && isnan(v));
    assert_true(o3_series_value_parse("-Infinity", &v) && isinf(v) && v < 0);
    assert_true(o3_series_value_parse("+inf", &v) && isinf(v) && v > 0);
    static const char *const BAD[] = {"",
                                      " ",
                                      "x",
                                      "1 2",
                                      "1,5",
                                      "0x10",
                                      "1e999",
                                      "infinite",
                                      "--1",
                                      "nan(1)",
                                      "1234567890123456789012345678901234567890123456789012345678901234567890"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_false(o3_series_value_parse(BAD[i], &v));
}

static void times(void **state) {
    (void)state;
    int64_t t;
    static const char *const SAME[] = {"2026-11-21T04:06:06Z", "2026-11-21 04:06:06", "2026-11-21T05:06:06+01:00",
                                       "1795233966",           "1795233966000",       "1795233966000000",
                                       "1795233966000000000",  " 1795233966.0 "};
    for (size_t i = 0; i < sizeof SAME / sizeof *SAME; i++) {
        assert_true(o3_series_time_parse(SAME[i], &t));
        assert_int_equal(t, 1795233966000);
    }
    assert_true(o3_series_time_parse("1795233966.161", &t));
    assert_int_equal(t, 1795233966161);
    assert_true(o3_series_time_parse("-5", &t));
    assert_int_equal(t, -5000);
    static const char *const BAD[] = {"", "soon", "2026-11-21", "2026-13-21T04:06:06Z", "nan", "1e19", "04:06"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_false(o3_series_time_parse(BAD[i], &t));
}

/* ---- tables ---- */

static int header(struct o3_csv *c, const char *line, const char *time, const char *value) {
    struct o3_err e;
    int r = o3_csv_header(c, line, time, value, &e);
    if (r < 0) assert_true(e.text[0]);
    return r;
}

static void columns_are_found(void **state) {
    (void)state;
    struct o3_csv c;
    assert_int_equal(header(&c, "time,value", NULL, NULL), 0);
    assert_int_equal(c.time, 0);
    assert_int_equal(c.value, 1);
    o3_csv_done(&c);
    assert_int_equal(header(&c, "\xef\xbb\xbfv;\"Timestamp\"", NULL, NULL), 0);
    assert_int_equal(c.time, 1);
    assert_int_equal(c.value, 0);
    o3_csv_done(&c);
    assert_int_equal(header(&c, "v", NULL, NULL), 0);
    assert_int_equal(c.time, -1);
    o3_csv_done(&c);
    assert_int_equal(header(&c, "a, \"b \"\"q\"\"\" ,time", "A", "b \"q\""), O3_E_PARSE); /* a blank before a quote */
    assert_int_equal(header(&c, "a,\"b \"\"q\"\"\",time", "A", "b \"q\""), 0);
    assert_int_equal(c.time, 0);
    assert_int_equal(c.value, 1);
    o3_csv_done(&c);
    assert_int_equal(header(&c, "a,b,c", NULL, NULL), O3_E_PARSE);
    assert_int_equal(header(&c, "a,b", "t", NULL), O3_E_PARSE);
    assert_int_equal(header(&c, "time", NULL, NULL), O3_E_PARSE);
    assert_int_equal(header(&c, "time,b", "b", "b"), O3_E_PARSE);
    assert_int_equal(header(&c, "\"a", NULL, NULL), O3_E_PARSE);
}

static void too_many_columns_are_refused(void **state) {
    (void)state;
    char line[3 * O3_CSV_FIELDS_MAX];
    struct o3_csv c;
    memset(line, ',', sizeof line);
    line[O3_CSV_FIELDS_MAX] = '\0'; /* as many fields as there may be: one more than commas */
    line[0] = 'v';
    line[1] = ',';
    assert_int_equal(header(&c, line, NULL, "v"), 0);
    o3_csv_done(&c);
    memset(line, ',', sizeof line);
    line[O3_CSV_FIELDS_MAX] = '\0';
    assert_int_equal(header(&c, line, NULL, ""), O3_E_PARSE);
}

static void rows_are_read(void **state) {
    (void)state;
    struct o3_csv c;
    struct o3_err e;
    int64_t t = -1;
    double v = 0;
    assert_int_equal(header(&c, "time,model,v", NULL, "v"), 0);
    char good[] = "60,\"a,\"\"b\"\"\",37.5", empty[] = "61,,", text[] = "61,a,fast", when[] = "soon,a,1", few[] = "1,2",
         many[] = "1,2,3,4", open_quote[] = "1,\"2,3";
    assert_int_equal(o3_csv_row(&c, good, &t, &v, &e), 0);
    assert_int_equal(t, 60000);
    assert_true(v == 37.5);
    assert_int_equal(o3_csv_row(&c, empty, &t, &v, &e), 0);
    assert_true(isnan(v));
    char *const bad[] = {text, when, few, many, open_quote};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(o3_csv_row(&c, bad[i], &t, &v, &e), O3_E_PARSE);
    o3_csv_done(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_the_same_in_pieces_of_any_size),
        cmocka_unit_test(long_lines_are_passed_over),
        cmocka_unit_test(a_look_takes_nothing),
        cmocka_unit_test(what_cannot_be_read_is_an_error),
        cmocka_unit_test(numbers),
        cmocka_unit_test(times),
        cmocka_unit_test(columns_are_found),
        cmocka_unit_test(too_many_columns_are_refused),
        cmocka_unit_test(rows_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
