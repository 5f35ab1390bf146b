/* SPDX-License-Identifier: Apache-2.0 */
/* The store without memory: each allocation of ours and of SQLite fails in turn. What was told to be stored is stored.
 */
#include "o3_test.h"
#include "fail_nth.h"
#include "io/store.h"
#include "o3/text.h"
#include <sqlite3.h>
#include <unistd.h>

static char dir[64], path[128];
static sqlite3_mem_methods plain;

static void *sqlite_malloc(int n) {
    return o3_fail_now(O3_FAIL_ALLOC) ? NULL : plain.xMalloc(n);
}

static void *sqlite_realloc(void *p, int n) {
    return o3_fail_now(O3_FAIL_ALLOC) ? NULL : plain.xRealloc(p, n);
}

static int make_dir(void **state) {
    (void)state;
    /* Thousands of stores: in memory where there is such a place. */
    snprintf(dir, sizeof dir, "%s/o3-torture-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/o3.db", dir);
    return 0;
}

static int drop_dir(void **state) {
    (void)state;
    const char *suffix[] = {"", "-wal", "-shm", ".lock", "-journal"};
    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++) {
        char name[160];
        snprintf(name, sizeof name, "%s%s", path, suffix[i]);
        unlink(name);
    }
    return rmdir(dir);
}

static void count_state(void *ctx, const char *key, const char *value, size_t n) {
    (void)key, (void)value, (void)n;
    ++*(int *)ctx;
}

struct outcome {
    bool is_opened, is_put, is_added, is_written;
};

/* Uses every call once. */
static struct outcome use_store(void) {
    struct outcome o = {0};
    struct o3_store *s = NULL;
    struct o3_err e;
    if (o3_store_open(path, &s, &e) < 0) {
        assert_null(s);
        assert_true(*e.text);
        return o;
    }
    o.is_opened = true;
    o.is_put = o3_store_put(s, "key", "new", 3, 1, &e) == 0;
    const struct o3_sample v = {.wall_ms = 5, .model = "m", .num_ctx = -1};
    o.is_added = o3_store_add_samples(s, &v, 1, &e) == 0;
    const struct o3_store_event ev = {.wall_ms = 1, .name = "n"};
    (void)!o3_store_add_event(s, &ev, &e);
    struct o3_sample w = v;
    o3_str_copy(w.model, sizeof w.model, "w");
    char key[] = "batch", value[] = "whole";
    const struct o3_store_state st = {.key = key, .value = value, .n = 5};
    const struct o3_store_batch b0 = {
        .samples = &w, .states = &st, .events = &ev, .n_samples = 1, .n_states = 1, .n_events = 1};
    o.is_written = o3_store_write(s, &b0, &e) == 0;
    struct o3_sample *out = NULL;
    size_t n = 0;
    if (o3_store_samples(s, "m", 0, 10, &out, &n, &e) == 0) assert_true(n >= o.is_added);
    free(out);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 100);
    if (o3_store_get(s, "key", &b, &e) == 0)
        assert_true(!strcmp(o3_buf_str(&b), "new") || !strcmp(o3_buf_str(&b), "old"));
    int n_states = 0;
    if (o3_store_each(s, "", count_state, &n_states, &e) == 0) assert_true(n_states <= 2);
    (void)!o3_store_prune(s, 0, &e);
    o3_store_close(s);
    return o;
}

/* With memory again: what it says it stored is there. */
static void check_store(struct outcome o) {
    struct o3_store *s = NULL;
    struct o3_err e;
    if (o3_store_open(path, &s, &e) < 0) fail_msg("%s", e.text);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 100);
    assert_int_equal(o3_store_get(s, "key", &b, &e), 0);
    if (o.is_put) assert_string_equal(o3_buf_str(&b), "new");
    O3_AUTO_BUF whole;
    o3_buf_init(&whole, 100);
    bool has_state = o3_store_get(s, "batch", &whole, &e) == 0; /* all of the batch, or nothing */
    if (o.is_written) assert_true(has_state);
    struct o3_sample *out;
    size_t n;
    assert_int_equal(o3_store_samples(s, "w", 0, 10, &out, &n, &e), 0);
    assert_int_equal(n, has_state);
    free(out);
    assert_int_equal(o3_store_samples(s, "m", 0, 10, &out, &n, &e), 0);
    if (o.is_added) assert_int_equal(n, 1);
    free(out);
    o3_store_close(s);
}

static void begin_with_old(void) {
    drop_dir(NULL);
    assert_int_equal(make_dir(NULL), 0);
    struct o3_store *s = NULL;
    assert_int_equal(o3_store_open(path, &s, NULL), 0);
    assert_int_equal(o3_store_put(s, "key", "old", 3, 1, NULL), 0);
    o3_store_close(s);
}

static void an_existing_store_survives_no_memory(void **state) {
    (void)state;
    int n_refused = 0;
    long n = 1;
    for (;; n++) {
        begin_with_old();
        o3_fail_arm(O3_FAIL_ALLOC, n);
        struct outcome o = use_store();
        bool was_hit = o3_fail_disarm();
        check_store(o);
        n_refused += !o.is_opened;
        if (!was_hit) break;
    }
    print_message("%ld allocations, %d of them needed to open\n", n - 1, n_refused);
    assert_true(n > 50 && n_refused > 5);
}

static void a_new_store_survives_no_memory(void **state) {
    (void)state;
    for (long n = 1;; n++) {
        drop_dir(NULL);
        assert_int_equal(make_dir(NULL), 0);
        o3_fail_arm(O3_FAIL_ALLOC, n);
        use_store();
        bool was_hit = o3_fail_disarm();
        struct o3_store *s = NULL;
        struct o3_err e;
        if (o3_store_open(path, &s, &e) < 0) fail_msg("after failure %ld: %s", n, e.text);
        assert_int_equal(o3_store_put(s, "key", "x", 1, 1, NULL), 0);
        o3_store_close(s);
        if (!was_hit) break;
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void) {
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain);
    sqlite3_mem_methods ours = plain;
    ours.xMalloc = sqlite_malloc;
    ours.xRealloc = sqlite_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
    const struct CMUnitTest tests[] = {
        TEST(an_existing_store_survives_no_memory),
        TEST(a_new_store_survives_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
