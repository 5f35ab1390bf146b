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

static void begin(const char *folder, const char *blocks, struct o3_buf *ret) {
    o3_buf_init(ret, 1 << 20);
    o3_sample_log_begin(ret, folder);
    o3_buf_adds(ret, blocks);
}

static void append(const char *blocks) {
    struct o3_err e;
    O3_AUTO_BUF batch;
    begin(dir, blocks, &batch);
    assert_int_equal(o3_sample_log_append(dir, batch.p, batch.len, &e), 0);
}

static int64_t complete_of(const char *folder, const char *blocks) {
    struct o3_err e;
    int64_t n = -1;
    O3_AUTO_BUF batch;
    begin(folder, blocks, &batch);
    assert_int_equal(o3_sample_log_complete(dir, batch.p, batch.len, &n, &e), 0);
    return n;
}

static int64_t complete(const char *blocks) {
    return complete_of(dir, blocks);
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

/* A line as the program writes it. */
static const char *timed(int64_t wall_ms, struct o3_buf *ret) {
    struct o3_sample v = {.wall_ms = wall_ms, .model = "m", .num_ctx = -1};
    o3_buf_init(ret, 1 << 16);
    o3_sample_encode_json(&v, "run", ret);
    return o3_buf_str(ret);
}

static void a_log_that_went_on_is_left_alone(void **state) {
    (void)state;
    O3_AUTO_BUF early, late, text;
    timed(1000, &early);
    timed(2000, &late);
    o3_buf_init(&text, 1 << 16);
    o3_buf_addf(&text, "+a\nrecord 1\n%s\n", o3_buf_str(&late));
    append(o3_buf_str(&text));
    o3_buf_clear(&text);
    o3_buf_addf(&text, "=a\nrecord 1\n%s\n", o3_buf_str(&early)); /* not there, and long past */
    assert_int_equal(complete(o3_buf_str(&text)), 0);
    /* A record and half a line behind it hide no time. */
    struct o3_err e;
    char path[128];
    assert_int_equal(o3_file_append_rotated(in("a.jsonl", path), "record 2\n{\"v\":1,", 16, 1 << 20, 1, &e), 0);
    assert_int_equal(complete(o3_buf_str(&text)), 0);
    /* What comes later than all of it is missing. */
    O3_AUTO_BUF last;
    timed(3000, &last);
    o3_buf_clear(&text);
    o3_buf_addf(&text, "=a\nrecord 1\n%s\n", o3_buf_str(&last));
    assert_int_equal(complete(o3_buf_str(&text)), 1);
    assert_int_equal(complete(o3_buf_str(&text)), 0);
}

static void another_folder_is_left_alone(void **state) {
    (void)state;
    append("+a\nrecord 1\nsample 0\n");
    assert_int_equal(complete_of("/some/other/folder", TWO), 0);
    expect("a.jsonl", "record 1\nsample 0\n");
    assert_int_equal(complete(TWO), 2);
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
    struct o3_err e;
    int64_t n = -1;
    for (size_t i = 0; i < 3; i++) { /* not even a folder */
        static const char *const HEADS[] = {"x", "\n", "\"half\n+a\nr\ns\n"};
        assert_int_equal(o3_sample_log_complete(dir, HEADS[i], strlen(HEADS[i]), &n, &e), 0);
        assert_int_equal(n, 0);
    }
}

static void a_folder_that_cannot_be_is_an_error_when_it_is_needed(void **state) {
    (void)state;
    struct o3_err e = {0};
    int64_t n = -1;
    O3_AUTO_BUF batch;
    begin("/proc/o3", TWO, &batch);
    assert_int_equal(o3_sample_log_append("/proc/o3", batch.p, batch.len, &e), O3_E_NOT_FOUND);
    assert_int_equal(o3_sample_log_complete("/proc/o3", batch.p, batch.len, &n, &e), O3_E_NOT_FOUND);
    assert_int_equal(n, 0);
    assert_int_equal(o3_sample_log_append("/proc/o3", NULL, 0, &e), 0);
    assert_int_equal(o3_sample_log_complete("/proc/o3", NULL, 0, &n, &e), 0);
    o3_buf_clear(&batch);
    o3_sample_log_begin(&batch, "/proc/o3"); /* without samples no folder is needed */
    assert_int_equal(o3_sample_log_append("/proc/o3", batch.p, batch.len, &e), 0);
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
        cmocka_unit_test_setup_teardown(a_log_that_went_on_is_left_alone, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(another_folder_is_left_alone, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(damage_ends_a_batch, make_dir, drop_dir),
        cmocka_unit_test(a_folder_that_cannot_be_is_an_error_when_it_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
