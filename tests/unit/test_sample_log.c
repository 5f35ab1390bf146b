/* SPDX-License-Identifier: Apache-2.0 */
/* The logs of samples: what a killed process did not append is appended once, where it belongs, and nothing twice. */
#include "o3_test.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "app/sample_log.h"
#include "io/file.h"

static char dir[64];
static const char *const FILES[] = {"a.jsonl", "a.jsonl.1", "b.jsonl"};

static char *in(const char *name, char ret[128]) {
    snprintf(ret, 128, "%s/%s", dir, name);
    return ret;
}

static int make_dir(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/o3-sample-log-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state) {
    (void)state;
    char path[128];
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
        unlink(in(FILES[i], path));
    return rmdir(dir);
}

static void expect(const char *name, const char *want) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    struct o3_err e;
    char path[128];
    if (o3_file_read(in(name, path), 1 << 20, &b, &e) < 0) fail_msg("%s", e.text);
    assert_string_equal(o3_buf_str(&b), want);
}

static void append(const char *batch) {
    struct o3_err e;
    assert_int_equal(o3_sample_log_append(dir, batch, strlen(batch), &e), 0);
}

static int64_t complete(const char *batch) {
    struct o3_err e;
    int64_t n = -1;
    assert_int_equal(o3_sample_log_complete(dir, batch, strlen(batch), &n, &e), 0);
    return n;
}

#define TWO "+a\nrecord 1\nsample 1\n=a\nrecord 1\nsample 2\n"

static void a_record_comes_first_and_with_news(void **state) {
    (void)state;
    append("=a\nrecord 1\nsample 1\n" /* its file begins */
           "=a\nrecord 1\nsample 2\n"
           "+b\nrecord 1\nsample 3\n"
           "+a\nrecord 2\nsample 4\n");
    expect("a.jsonl", "record 1\nsample 1\nsample 2\nrecord 2\nsample 4\n");
    expect("b.jsonl", "record 1\nsample 3\n");
}

static void what_is_there_is_not_appended_again(void **state) {
    (void)state;
    append(TWO);
    assert_int_equal(complete(TWO), 0);
    expect("a.jsonl", "record 1\nsample 1\nsample 2\n");
}

static void what_is_missing_is_appended(void **state) {
    (void)state;
    append("+a\nrecord 0\nsample 0\n+a\nrecord 1\nsample 1\n");
    assert_int_equal(complete(TWO), 1);
    expect("a.jsonl", "record 0\nsample 0\nrecord 1\nsample 1\nsample 2\n");
    assert_int_equal(complete(TWO), 0);
}

static void all_of_it_may_be_missing(void **state) {
    (void)state;
    assert_int_equal(complete(TWO "+b\nrecord 1\nsample 3\n"), 3);
    expect("a.jsonl", "record 1\nsample 1\nsample 2\n");
    expect("b.jsonl", "record 1\nsample 3\n");
    assert_int_equal(complete(TWO "+b\nrecord 1\nsample 3\n"), 0);
}

static void half_a_line_is_not_the_line(void **state) {
    (void)state;
    struct o3_err e;
    char path[128];
    assert_int_equal(o3_file_append_rotated(in("a.jsonl", path), "record 1\nsample 1\nsam", 21, 1000, 1, &e), 0);
    assert_int_equal(complete(TWO), 1);
    expect("a.jsonl", "record 1\nsample 1\nsam\nsample 2\n");
}

static void a_rotated_file_is_looked_into(void **state) {
    (void)state;
    char path[128], old[128];
    append("+a\nrecord 1\nsample 1\n");
    assert_int_equal(rename(in("a.jsonl", path), in("a.jsonl.1", old)), 0);
    assert_int_equal(complete(TWO), 1);
    expect("a.jsonl", "record 1\nsample 2\n");
    expect("a.jsonl.1", "record 1\nsample 1\n");
}

static void a_long_log_is_looked_into_at_its_end(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    o3_buf_adds(&b, "record 1\nsample 1\n"); /* so far back that it is none of the last batch */
    while (b.len < 300000)
        o3_buf_adds(&b, "another sample\n");
    o3_buf_adds(&b, "sample 2\n");
    struct o3_err e;
    char path[128];
    assert_int_equal(o3_file_append_rotated(in("a.jsonl", path), b.p, b.len, 1 << 20, 1, &e), 0);
    assert_int_equal(complete(TWO), 1);
}

static void damage_ends_a_batch(void **state) {
    (void)state;
    static const char *const BAD[] = {"",
                                      "+a",
                                      "+a\nrecord",
                                      "+a\nrecord\nsample",
                                      "+\nrecord\nsample\n",
                                      "\nrecord\nsample\n",
                                      "+../a\nrecord\nsample\n",
                                      "+.a\nrecord\nsample\n",
                                      "+x/a\nrecord\nsample\n"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_int_equal(complete(BAD[i]), 0);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    o3_buf_adds(&b, "+b\nrecord 1\nsample 3\n+");
    for (int i = 0; i < 5000; i++)
        o3_buf_adds(&b, "a");
    o3_buf_adds(&b, "\nrecord\nsample\n");
    assert_int_equal(complete(b.p), 1);
    expect("b.jsonl", "record 1\nsample 3\n");
}

static void a_folder_that_cannot_be_is_an_error_when_it_is_needed(void **state) {
    (void)state;
    struct o3_err e = {0};
    int64_t n = -1;
    assert_int_equal(o3_sample_log_append("/proc/o3", TWO, strlen(TWO), &e), O3_E_NOT_FOUND);
    assert_int_equal(o3_sample_log_complete("/proc/o3", TWO, strlen(TWO), &n, &e), O3_E_NOT_FOUND);
    assert_int_equal(n, 0);
    assert_int_equal(o3_sample_log_append("/proc/o3", NULL, 0, &e), 0);
    assert_int_equal(o3_sample_log_complete("/proc/o3", NULL, 0, &n, &e), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_record_comes_first_and_with_news, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(what_is_there_is_not_appended_again, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(what_is_missing_is_appended, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(all_of_it_may_be_missing, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(half_a_line_is_not_the_line, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(a_rotated_file_is_looked_into, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(a_long_log_is_looked_into_at_its_end, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(damage_ends_a_batch, make_dir, drop_dir),
        cmocka_unit_test(a_folder_that_cannot_be_is_an_error_when_it_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
