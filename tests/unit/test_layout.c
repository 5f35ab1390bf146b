/* SPDX-License-Identifier: Apache-2.0 */
/* A folder as Kubernetes mounts a ConfigMap: swapped as a whole, whenever the writer dies. */
#include "o3_test.h"
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "io/layout.h"

static char dir[64];

static int set_up(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/o3_layout_XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static struct o3_keys keys_of(const char *a, const char *b, const char *c) {
    struct o3_keys k = {.n = 0};
    if (a) assert_int_equal(o3_keys_set(&k, "a.yaml", a, strlen(a)), 0);
    if (b) assert_int_equal(o3_keys_set(&k, "b", b, strlen(b)), 0);
    if (c) assert_int_equal(o3_keys_set(&k, "c", c, strlen(c)), 0);
    return k;
}

static void put(const char *a, const char *b, const char *c) {
    struct o3_keys k = keys_of(a, b, c);
    struct o3_err e = {0};
    if (o3_layout_replace(dir, &k, NULL, &e) < 0) fail_msg("%s", e.text);
    o3_keys_free(&k);
}

static void assert_holds(const char *a, const char *b, const char *c) {
    struct o3_keys want = keys_of(a, b, c), have;
    struct o3_err e = {0};
    if (o3_layout_read(dir, &have, &e) < 0) fail_msg("%s", e.text);
    assert_true(o3_keys_equal(&want, &have));
    o3_keys_free(&want);
    o3_keys_free(&have);
}

static void assert_holds_within(const char *a) {
    struct o3_keys want = keys_of(a, NULL, NULL), have;
    struct o3_err e = {0};
    if (o3_layout_read_within(dir, &have, &e) < 0) fail_msg("%s", e.text);
    assert_true(o3_keys_equal(&want, &have));
    o3_keys_free(&want);
    o3_keys_free(&have);
}

static int count_entries(const char *prefix) {
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !strncmp(e->d_name, prefix, strlen(prefix));
    closedir(d);
    return n;
}

static void path_of(const char *name, char *out, size_t size) {
    snprintf(out, size, "%s/%s", dir, name);
}

static void test_keys_are_links_and_old_versions_go(void **state) {
    (void)state;
    char path[128], to[128] = "";
    put("1", "2", NULL);
    assert_holds("1", "2", NULL);
    path_of("a.yaml", path, sizeof path);
    assert_true(readlink(path, to, sizeof to - 1) > 0);
    assert_string_equal(to, "..data/a.yaml");
    put("3", NULL, "4");
    assert_holds("3", NULL, "4");
    path_of("b", path, sizeof path);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(count_entries("..o3-"), 1);
    assert_int_equal(count_entries(""), 4); /* two keys, ..data and its folder */
    struct stat st;
    path_of("..data/", path, sizeof path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
}

/* A key that goes, even when nothing else changes. */
static void test_absent_keys_are_not_written(void **state) {
    (void)state;
    struct o3_keys k = keys_of("1", NULL, NULL);
    assert_int_equal(o3_keys_set(&k, "b", NULL, 0), 0);
    assert_int_equal(o3_layout_replace(dir, &k, NULL, NULL), 0);
    o3_keys_free(&k);
    assert_holds("1", NULL, NULL);
}

static void test_what_is_not_ours_stays(void **state) {
    (void)state;
    char path[128];
    path_of("README", path, sizeof path);
    FILE *f = fopen(path, "w");
    fputs("mine", f);
    fclose(f);
    path_of("elsewhere", path, sizeof path);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    put("1", NULL, NULL);
    put("2", NULL, NULL);
    assert_int_equal(count_entries("README") + count_entries("elsewhere"), 2);
    path_of("b", path, sizeof path);
    f = fopen(path, "w");
    fputs("a user's", f);
    fclose(f);
    struct o3_keys k = keys_of("3", "ours", NULL);
    struct o3_err e = {0};
    assert_int_equal(o3_layout_replace(dir, &k, NULL, &e), O3_E_IO);
    assert_non_null(strstr(e.text, "/b"));
    o3_keys_free(&k);
    char text[16] = "";
    f = fopen(path, "r");
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_string_equal(text, "a user's");
}

/* A folder beside the versions, with one file in it. */
static void make_elsewhere(char *out, size_t size) {
    char file[160];
    path_of("elsewhere", out, size);
    assert_int_equal(mkdir(out, 0700), 0);
    snprintf(file, sizeof file, "%s/precious", out);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs("secret", f);
    fclose(f);
}

/* Whoever else may write into the folder leads us nowhere. */
static void test_a_link_for_a_version_is_not_followed(void **state) {
    (void)state;
    char path[128], file[160], link[128];
    make_elsewhere(path, sizeof path);
    snprintf(file, sizeof file, "%s/precious", path);
    path_of("..o3-trap", link, sizeof link);
    assert_int_equal(symlink(path, link), 0);
    put("1", NULL, NULL);
    put("2", NULL, NULL);
    assert_int_equal(access(file, F_OK), 0);
    assert_holds("2", NULL, NULL);
}

/* What is read here is written again, for all to see. */
static void test_what_a_link_leads_out_to_is_not_read(void **state) {
    (void)state;
    char path[128], file[160], link[128];
    make_elsewhere(path, sizeof path);
    snprintf(file, sizeof file, "%s/precious", path);
    path_of("b", link, sizeof link);
    assert_int_equal(symlink(file, link), 0);
    assert_holds(NULL, "secret", NULL); /* who looks as a reader sees it */
    assert_holds_within(NULL);
    path_of("..data", link, sizeof link);
    assert_int_equal(symlink(path, link), 0);
    assert_holds_within(NULL);
    put("1", NULL, NULL);
    assert_holds("1", NULL, NULL);
    assert_holds_within("1");
}

static void test_plain_folder_is_read_too(void **state) {
    (void)state;
    char path[128];
    path_of("b", path, sizeof path);
    FILE *f = fopen(path, "w");
    fputs("2", f);
    fclose(f);
    assert_holds(NULL, "2", NULL);
    struct o3_keys k = keys_of(NULL, "2", NULL);
    assert_int_equal(o3_layout_count_hidden(dir, &k), 0);
    o3_keys_free(&k);
    struct o3_keys none;
    assert_int_equal(o3_layout_read("/nonexistent/o3", &none, NULL), O3_E_NOT_FOUND);
}

static void expect_hidden(const char *a, const char *b, const char *c, size_t n) {
    struct o3_keys k = keys_of(a, b, c);
    assert_int_equal(o3_layout_count_hidden(dir, &k), n);
    o3_keys_free(&k);
}

/* What is in force and has no name is there for nobody. */
static void test_keys_without_a_name_are_counted(void **state) {
    (void)state;
    char path[128];
    put("1", "2", "3");
    expect_hidden("1", "2", "3", 0);
    path_of("b", path, sizeof path);
    assert_int_equal(unlink(path), 0);
    expect_hidden("1", "2", "3", 1);
    FILE *f = fopen(path, "w");
    fputs("a user's", f);
    fclose(f);
    expect_hidden("1", "2", NULL, 1);
    expect_hidden("1", NULL, "3", 0);
    assert_int_equal(unlink(path), 0);
    put("1", "2", "3");
    expect_hidden("1", "2", "3", 0);
    struct o3_keys k = keys_of("1", NULL, NULL);
    assert_int_equal(o3_layout_count_hidden("/nonexistent/o3", &k), 0);
    o3_keys_free(&k);
}

static void die(void *ctx, const char *name) {
    int *left = ctx;
    (void)name;
    if ((*left)-- == 0) _exit(9);
}

/* Killed before any of its steps: whole old or whole new, and the next write is clean. */
static void test_death_at_every_step(void **state) {
    (void)state;
    bool is_over = false;
    int n_old = 0, n_new = 0;
    for (int nth = 0; !is_over; nth++) {
        put("old", "old", NULL);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            struct o3_file_ops ops = {.ctx = &nth, .step = die};
            struct o3_keys k = keys_of("new", NULL, "new");
            int r = o3_layout_replace(dir, &k, &ops, NULL);
            _exit(r == 0 ? 0 : 1);
        }
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        is_over = WEXITSTATUS(status) == 0;
        assert_true(is_over || WEXITSTATUS(status) == 9);
        struct o3_keys have;
        assert_int_equal(o3_layout_read(dir, &have, NULL), 0);
        bool is_old = !strcmp(o3_keys_find(&have, "a.yaml")->value, "old");
        o3_keys_free(&have);
        if (is_old)
            assert_holds("old", "old", NULL);
        else
            assert_holds("new", NULL, "new");
        n_old += is_old;
        n_new += !is_old;
        put("next", NULL, NULL);
        assert_holds("next", NULL, NULL);
        assert_int_equal(count_entries("..o3-"), 1);
        assert_int_equal(count_entries(""), 3);
    }
    assert_true(n_old >= 2 && n_new >= 3);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {T(test_keys_are_links_and_old_versions_go),
                                       T(test_absent_keys_are_not_written),
                                       T(test_what_is_not_ours_stays),
                                       T(test_a_link_for_a_version_is_not_followed),
                                       T(test_what_a_link_leads_out_to_is_not_read),
                                       T(test_plain_folder_is_read_too),
                                       T(test_keys_without_a_name_are_counted),
                                       T(test_death_at_every_step)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
