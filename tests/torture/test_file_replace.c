/* SPDX-License-Identifier: Apache-2.0 */
/* Each system call of a replace and of an append fails in turn: an error comes back, the old content stays whole,
 * nothing is left lying about. */
#include "o3_test.h"
#include "fail_nth.h"
#include "io/file.h"
#include <dirent.h>
#include <unistd.h>

static char dir[64], path[128], link_path[128];

static int make_dir(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/o3-torture-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/f", dir);
    snprintf(link_path, sizeof link_path, "%s/link", dir);
    return symlink("f", link_path);
}

static int drop_dir(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static void read_all(const char *name, struct o3_buf *b) {
    o3_buf_init(b, 1 << 20);
    struct o3_err e;
    if (o3_file_read(name, 1 << 20, b, &e) < 0) fail_msg("%s", e.text);
}

static bool is_content(const char *name, const char *want) {
    O3_AUTO_BUF b;
    read_all(name, &b);
    return !strcmp(o3_buf_str(&b), want);
}

static int count_entries(void) {
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *x; (x = readdir(d));)
        n += x->d_name[0] != '.' || !strncmp(x->d_name, ".o3", 3);
    closedir(d);
    return n;
}

static void each_call_fails(enum o3_fail_kind kind, const char *target, int want_code) {
    static char text[50001]; /* several pages */
    memset(text, 'n', sizeof text - 1);
    long n = 1;
    for (;; n++) {
        assert_int_equal(o3_file_replace(path, "old", 3, NULL, NULL), 0);
        struct o3_err e = {0};
        o3_fail_arm(kind, n);
        int r = o3_file_replace(target, text, sizeof text - 1, NULL, &e);
        bool was_hit = o3_fail_disarm();
        if (!was_hit) {
            assert_int_equal(r, 0);
            break;
        }
        assert_int_equal(r, want_code);
        assert_true(*e.text && e.sys);
        /* Once renamed (the second fsync is the directory's) the new one is in place. */
        bool is_renamed = kind == O3_FAIL_FSYNC && n == 2;
        assert_true(is_content(path, is_renamed ? text : "old"));
        assert_int_equal(count_entries(), 2);
    }
    assert_true(n > 1);
    assert_true(is_content(path, text));
}

static void replace_survives_each_failure(void **state) {
    (void)state;
    const char *targets[] = {path, link_path};
    for (int i = 0; i < 2; i++) {
        each_call_fails(O3_FAIL_WRITE, targets[i], O3_E_DISK_FULL);
        each_call_fails(O3_FAIL_FSYNC, targets[i], O3_E_IO);
        each_call_fails(O3_FAIL_RENAME, targets[i], O3_E_READ_ONLY);
    }
}

static void short_writes_are_continued(void **state) {
    (void)state;
    o3_fail.short_writes = true;
    assert_int_equal(o3_file_replace(path, "a byte at a time", 16, NULL, NULL), 0);
    assert_int_equal(o3_file_append_rotated(path, "\nmore\n", 6, 1000, 1, NULL), 0);
    o3_fail.short_writes = false;
    assert_true(is_content(path, "a byte at a time\n\nmore\n"));
}

static void reading_survives_no_memory(void **state) {
    (void)state;
    static char text[50001];
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(o3_file_replace(path, text, sizeof text - 1, NULL, NULL), 0);
    for (long n = 1;; n++) {
        O3_AUTO_BUF b;
        o3_buf_init(&b, 1 << 20);
        o3_fail_arm(O3_FAIL_ALLOC, n);
        int r = o3_file_read(path, 1 << 20, &b, NULL);
        bool was_hit = o3_fail_disarm();
        assert_int_equal(r, was_hit ? O3_E_NOMEM : 0);
        if (!was_hit) break;
    }
}

static int append(const char *line, struct o3_err *e) {
    return o3_file_append_rotated(path, line, strlen(line), 16, 2, e);
}

/* What was told to be written is there once, in order; the failed line is not, not even half. */
static void append_survives_each_failure(void **state) {
    (void)state;
    const enum o3_fail_kind kinds[] = {O3_FAIL_WRITE, O3_FAIL_RENAME};
    for (int k = 0; k < 2; k++)
        for (long n = 1;; n++) {
            struct o3_err e = {0};
            unlink(path);
            o3_fail.short_writes = true;
            assert_int_equal(append("1234567\n", &e), 0);
            assert_int_equal(append("2345678\n", &e), 0);
            o3_fail_arm(kinds[k], n);
            int r = append("3456789\n", &e);
            bool was_hit = o3_fail_disarm();
            o3_fail.short_writes = false;
            O3_AUTO_BUF b;
            read_all(path, &b);
            if (!was_hit) {
                assert_int_equal(r, 0);
                assert_string_equal(o3_buf_str(&b), "3456789\n");
                break;
            }
            assert_true(r < 0 && *e.text);
            assert_null(strchr(o3_buf_str(&b), '9'));
            assert_true(b.len == 0 || b.p[b.len - 1] == '\n');
        }
}

static void keeping_the_newest_survives_no_memory(void **state) {
    (void)state;
    char name[160];
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "%s/%d.json", dir, i);
        assert_int_equal(o3_file_replace(name, "x", 1, NULL, NULL), 0);
    }
    for (long n = 1;; n++) {
        o3_fail_arm(O3_FAIL_ALLOC, n);
        int r = o3_file_keep_newest(dir, ".json", 2, NULL);
        if (!o3_fail_disarm()) {
            assert_int_equal(r, 3);
            break;
        }
        assert_int_equal(r, O3_E_NOMEM);
    }
}

static void watching_survives_no_memory(void **state) {
    (void)state;
    struct o3_file_watch *w = NULL;
    o3_fail_arm(O3_FAIL_ALLOC, 1);
    assert_int_equal(o3_file_watch_new(path, &w, NULL), O3_E_NOMEM);
    assert_true(o3_fail_disarm());
    assert_null(w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(replace_survives_each_failure),
        TEST(short_writes_are_continued),
        TEST(reading_survives_no_memory),
        TEST(append_survives_each_failure),
        TEST(keeping_the_newest_survives_no_memory),
        TEST(watching_survives_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
