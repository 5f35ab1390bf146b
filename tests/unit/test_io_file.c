/* SPDX-License-Identifier: Apache-2.0 */
/* Files: a reader sees old or new and never neither, wherever the writer dies; errors are told apart. */
#include "o3_test.h"
#include "io/file.h"
#include "o3/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char dir[64];

static int make_dir(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/o3-file-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static void remove_tree(const char *path) {
    DIR *d = opendir(path);
    for (struct dirent *x; d && (x = readdir(d));) {
        if (!strcmp(x->d_name, ".") || !strcmp(x->d_name, "..")) continue;
        char sub[512];
        snprintf(sub, sizeof sub, "%s/%s", path, x->d_name);
        struct stat st;
        if (!lstat(sub, &st) && S_ISDIR(st.st_mode))
            remove_tree(sub);
        else
            unlink(sub);
    }
    if (d) closedir(d);
    rmdir(path);
}

static int drop_dir(void **state) {
    (void)state;
    remove_tree(dir);
    return 0;
}

/* A path in the test's folder; good for four calls. */
static const char *in(const char *name) {
    static char paths[4][256];
    static int i;
    char *p = paths[i++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", dir, name);
    return p;
}

static void expect_content(const char *path, const char *want) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    struct o3_err e;
    if (o3_file_read(path, 1 << 20, &b, &e) < 0) fail_msg("%s", e.text);
    assert_string_equal(o3_buf_str(&b), want);
}

static int replace(const char *path, const char *text, struct o3_err *e) {
    return o3_file_replace(path, text, strlen(text), NULL, e);
}

static int count_files(const char *path, const char *prefix) {
    int n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *x; (x = readdir(d));)
        n += !strncmp(x->d_name, prefix, strlen(prefix));
    closedir(d);
    return n;
}

static void reading_is_bounded(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    struct o3_err e;
    assert_int_equal(replace(in("a"), "12345", &e), 0);
    assert_int_equal(o3_file_read(in("a"), 5, &b, &e), 0);
    assert_int_equal(b.len, 5);
    o3_buf_clear(&b);
    assert_int_equal(o3_file_read(in("a"), 4, &b, &e), O3_E_LIMIT);
    assert_int_equal(o3_file_read("/dev/zero", 100000, &b, &e), O3_E_LIMIT);
    assert_int_equal(o3_file_read(in("none"), 10, &b, &e), O3_E_NOT_FOUND);
    assert_int_equal(e.sys, ENOENT);
    assert_non_null(strstr(e.text, "none"));
    assert_int_equal(o3_file_read(in("a/b"), 10, &b, &e), O3_E_NOT_FOUND);
    assert_int_equal(o3_file_read(dir, 10, &b, &e), O3_E_IO);
    assert_int_equal(mkfifo(in("pipe"), 0600), 0);
    o3_buf_clear(&b);
    assert_int_equal(o3_file_read(in("pipe"), 10, &b, &e), 0); /* does not hang */
    assert_int_equal(b.len, 0);
    assert_int_equal(o3_file_read("/proc/self/status", 1 << 16, &b, NULL), 0);
    assert_true(b.len > 100);
}

static void replace_makes_and_changes(void **state) {
    (void)state;
    struct o3_err e;
    assert_int_equal(replace(in("f"), "one", &e), 0);
    expect_content(in("f"), "one");
    assert_int_equal(replace(in("f"), "", &e), 0);
    expect_content(in("f"), "");
    char *large = malloc(300001);
    memset(large, 'x', 300000);
    large[300000] = '\0';
    assert_int_equal(replace(in("f"), large, &e), 0);
    expect_content(in("f"), large);
    free(large);
    struct stat st;
    assert_int_equal(stat(in("f"), &st), 0);
    assert_int_equal(st.st_mode & 0133, 0);
    assert_int_equal(count_files(dir, ".o3-tmp-"), 0);
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(replace("relative", "r", &e), 0);
    expect_content(in("relative"), "r");
    assert_int_equal(chdir("/"), 0);
}

static void replace_keeps_the_mode(void **state) {
    (void)state;
    struct o3_err e;
    struct stat st;
    assert_int_equal(replace(in("f"), "one", &e), 0);
    assert_int_equal(chmod(in("f"), 0660), 0);
    assert_int_equal(replace(in("f"), "two", &e), 0);
    assert_int_equal(stat(in("f"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
}

static void replace_spares_what_is_no_file(void **state) {
    (void)state;
    struct o3_err e;
    struct stat st;
    assert_int_equal(mkfifo(in("pipe"), 0644), 0);
    assert_int_equal(replace(in("pipe"), "one", &e), O3_E_IO);
    assert_non_null(strstr(e.text, "not a plain file"));
    assert_int_equal(symlink(in("pipe"), in("link")), 0);
    assert_int_equal(replace(in("link"), "one", &e), O3_E_IO);
    assert_int_equal(stat(in("pipe"), &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(replace(dir, "one", &e), O3_E_IO);
    assert_int_equal(count_files(dir, ".o3-tmp-"), 0);
}

struct killer {
    int at, n;
};

static void kill_at(void *ctx, const char *name) {
    (void)name;
    struct killer *k = ctx;
    if (k->n++ == k->at) _exit(7);
}

/* The process dies before each step in turn. */
static void death_leaves_old_or_new(void **state) {
    (void)state;
    struct o3_err e;
    int n_old = 0, n_new = 0;
    for (int at = 0;; at++) {
        assert_int_equal(replace(in("f"), "old content", &e), 0);
        pid_t pid = fork();
        if (!pid) {
            struct killer k = {.at = at};
            const struct o3_file_ops ops = {&k, kill_at};
            _exit(o3_file_replace(in("f"), "new", 3, &ops, &e) == 0 ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        O3_AUTO_BUF b;
        o3_buf_init(&b, 100);
        assert_int_equal(o3_file_read(in("f"), 100, &b, &e), 0);
        bool is_old = !strcmp(o3_buf_str(&b), "old content"), is_new = !strcmp(o3_buf_str(&b), "new");
        assert_true(is_old || is_new);
        n_old += is_old;
        n_new += is_new;
        if (WEXITSTATUS(status) == 0) break;
        assert_int_equal(WEXITSTATUS(status), 7);
    }
    assert_int_equal(n_old, 4); /* open, write, fsync, rename */
    assert_int_equal(n_new, 3); /* fsync_dir, read_back, alive */
    assert_true(count_files(dir, ".o3-tmp-") >= 2);
    /* Too young to be swept; then old enough. */
    assert_int_equal(o3_file_sweep_temps(dir), 0);
    DIR *d = opendir(dir);
    const struct timespec old[2] = {{.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
    for (struct dirent *x; (x = readdir(d));)
        if (x->d_name[0] == '.' && x->d_name[1] == 'o') utimensat(dirfd(d), x->d_name, old, 0);
    closedir(d);
    assert_true(o3_file_sweep_temps(dir) >= 2);
    assert_int_equal(count_files(dir, ".o3-tmp-"), 0);
    expect_content(in("f"), "new");
    assert_int_equal(o3_file_sweep_temps(in("none")), 0);
}

static void meddle(void *ctx, const char *name) {
    if (strcmp(name, "read_back")) return;
    int fd = open(ctx, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "theirs", 6), 6);
    close(fd);
}

static void another_writer_is_noticed(void **state) {
    (void)state;
    struct o3_err e;
    char path[256];
    snprintf(path, sizeof path, "%s", in("f"));
    const struct o3_file_ops ops = {path, meddle};
    assert_int_equal(o3_file_replace(path, "mine", 4, &ops, &e), O3_E_CHANGED);
    expect_content(path, "theirs");
}

static void a_link_stays_a_link(void **state) {
    (void)state;
    struct o3_err e;
    assert_int_equal(mkdir(in("real"), 0755), 0);
    assert_int_equal(replace(in("real/f"), "old", &e), 0);
    assert_int_equal(symlink("real/f", in("link")), 0);
    assert_int_equal(replace(in("link"), "new", &e), 0);
    struct stat st;
    assert_int_equal(lstat(in("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    expect_content(in("real/f"), "new");
    assert_int_equal(symlink("nowhere", in("dangling")), 0);
    assert_int_equal(replace(in("dangling"), "x", &e), O3_E_NOT_FOUND);
}

static void errors_are_told_apart(void **state) {
    (void)state;
    struct o3_err e;
    assert_int_equal(replace(in("none/f"), "x", &e), O3_E_NOT_FOUND);
    assert_int_equal(replace(in("f"), "x", &e), 0);
    assert_int_equal(replace(in("f/g"), "x", &e), O3_E_NOT_FOUND);
    assert_int_equal(mkdir(in("d"), 0755), 0);
    assert_int_equal(replace(in("d"), "x", &e), O3_E_IO);
    assert_int_equal(e.sys, EISDIR);
    assert_int_equal(count_files(dir, ".o3-tmp-"), 0);
    assert_true(replace("/proc/o3-test", "x", &e) < 0);
    assert_int_equal(o3_file_append_rotated("/dev/full", "x\n", 2, 100, 1, &e), O3_E_DISK_FULL);
    if (geteuid() != 0) {
        assert_int_equal(mkdir(in("locked"), 0555), 0);
        assert_int_equal(replace(in("locked/f"), "x", &e), O3_E_READ_ONLY);
    }
}

static void full_disk_leaves_the_old(void **state) {
    (void)state;
    struct o3_err e;
    assert_int_equal(replace(in("f"), "old", &e), 0);
    pid_t pid = fork();
    if (!pid) {
        /* The nearest thing to a full disk that needs no privilege. */
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, 1000});
        static char large[5000];
        _exit(o3_file_replace(in("f"), large, sizeof large, NULL, &e) == O3_E_IO && e.sys == EFBIG ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    expect_content(in("f"), "old");
    assert_int_equal(count_files(dir, ".o3-tmp-"), 0);
}

static void directories_are_made(void **state) {
    (void)state;
    struct o3_err e;
    assert_int_equal(o3_file_make_dirs(in("a/b/c"), &e), 0);
    assert_int_equal(o3_file_make_dirs(in("a/b/c/"), &e), 0);
    assert_int_equal(o3_file_make_dirs(in("a//d"), &e), 0);
    assert_int_equal(o3_file_make_dirs(dir, &e), 0);
    assert_int_equal(o3_file_make_dirs("/", &e), 0);
    assert_int_equal(replace(in("file"), "x", &e), 0);
    assert_true(o3_file_make_dirs(in("file"), &e) < 0);
    assert_int_equal(o3_file_make_dirs(in("file/x"), &e), O3_E_NOT_FOUND);
    assert_true(o3_file_make_dirs("/proc/o3/x", &e) < 0);
    assert_true(o3_file_make_dirs("", &e) < 0);
}

static void logs_rotate(void **state) {
    (void)state;
    struct o3_err e;
    char line[16];
    for (int i = 0; i < 10; i++) {
        snprintf(line, sizeof line, "line %03d\n", i);
        assert_int_equal(o3_file_append_rotated(in("log"), line, 9, 20, 2, &e), 0);
    }
    expect_content(in("log"), "line 008\nline 009\n");
    expect_content(in("log.1"), "line 006\nline 007\n");
    expect_content(in("log.2"), "line 004\nline 005\n");
    assert_int_equal(access(in("log.3"), F_OK), -1);
    /* One larger than the limit has a file for itself. */
    assert_int_equal(o3_file_append_rotated(in("log"), "a line of more than twenty bytes\n", 33, 20, 2, &e), 0);
    expect_content(in("log"), "a line of more than twenty bytes\n");
    assert_int_equal(o3_file_append_rotated(in("log"), "x\n", 2, 20, 0, &e), 0);
    expect_content(in("log"), "x\n");
}

static void half_a_line_is_ended(void **state) {
    (void)state;
    struct o3_err e;
    assert_int_equal(replace(in("log"), "whole\nhal", &e), 0);
    assert_int_equal(o3_file_append_rotated(in("log"), "next\n", 5, 1000, 2, &e), 0);
    expect_content(in("log"), "whole\nhal\nnext\n");
}

static void newest_are_kept(void **state) {
    (void)state;
    struct o3_err e;
    const char *names[] = {"2026-01.json", "2026-03.json", "2026-02.json", "2026-04.json", "notes.txt", ".x.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(replace(in(names[i]), "x", &e), 0);
    assert_int_equal(o3_file_keep_newest(dir, ".json", 2, &e), 2);
    assert_int_equal(o3_file_keep_newest(dir, ".json", 2, &e), 0);
    expect_content(in("2026-03.json"), "x");
    expect_content(in("2026-04.json"), "x");
    expect_content(in("notes.txt"), "x");
    expect_content(in(".x.json"), "x");
    assert_int_equal(access(in("2026-02.json"), F_OK), -1);
    assert_int_equal(o3_file_keep_newest(in("none"), ".json", 2, &e), O3_E_NOT_FOUND);
}

static bool is_told(struct o3_file_watch *w) {
    struct pollfd p = {.fd = o3_file_watch_fd(w), .events = POLLIN};
    bool told = poll(&p, 1, 500) == 1;
    o3_file_watch_drain(w);
    return told && poll(&p, 1, 0) == 0;
}

static void changes_are_told(void **state) {
    (void)state;
    struct o3_err e;
    struct o3_file_watch *w;
    assert_int_equal(o3_file_watch_new(in("none/config.yaml"), &w, &e), O3_E_NOT_FOUND);
    assert_int_equal(o3_file_watch_new(in("config.yaml"), &w, &e), 0); /* the file itself may come later */
    assert_int_equal(replace(in("config.yaml"), "a: 1", &e), 0);
    assert_true(is_told(w));
    int fd = open(in("config.yaml"), O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "\n", 1), 1);
    close(fd);
    assert_true(is_told(w));
    assert_int_equal(unlink(in("config.yaml")), 0);
    assert_true(is_told(w));
    o3_file_watch_free(w);
    o3_file_watch_free(NULL);
}

/* As kubelet does it: config.yaml -> ..data/config.yaml, ..data -> ..2026, and ..data is swapped by a rename. */
static void a_configmap_swap_is_told(void **state) {
    (void)state;
    struct o3_err e;
    assert_int_equal(mkdir(in("..1"), 0755), 0);
    assert_int_equal(mkdir(in("..2"), 0755), 0);
    assert_int_equal(replace(in("..1/config.yaml"), "one", &e), 0);
    assert_int_equal(replace(in("..2/config.yaml"), "two", &e), 0);
    assert_int_equal(symlink("..1", in("..data")), 0);
    assert_int_equal(symlink("..data/config.yaml", in("config.yaml")), 0);
    struct o3_file_watch *w;
    assert_int_equal(o3_file_watch_new(in("config.yaml"), &w, &e), 0);
    expect_content(in("config.yaml"), "one");
    assert_int_equal(symlink("..2", in("..data_tmp")), 0);
    assert_int_equal(rename(in("..data_tmp"), in("..data")), 0);
    assert_true(is_told(w));
    expect_content(in("config.yaml"), "two");
    o3_file_watch_free(w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(reading_is_bounded),
        TEST(replace_makes_and_changes),
        TEST(replace_keeps_the_mode),
        TEST(replace_spares_what_is_no_file),
        TEST(death_leaves_old_or_new),
        TEST(another_writer_is_noticed),
        TEST(a_link_stays_a_link),
        TEST(errors_are_told_apart),
        TEST(full_disk_leaves_the_old),
        TEST(directories_are_made),
        TEST(logs_rotate),
        TEST(half_a_line_is_ended),
        TEST(newest_are_kept),
        TEST(changes_are_told),
        TEST(a_configmap_swap_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
