/* SPDX-License-Identifier: Apache-2.0 */
/* The store without memory: each allocation of ours and of SQLite fails in turn. What was told to be stored is stored.
 */
#include "o3_test.h"
#include "fail_nth.h"
#include "io/file.h"
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

static void remove_files(void) {
    const char *suffix[] = {"", "-wal", "-shm", ".lock", "-journal"};
    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++) {
        char name[160];
        snprintf(name, sizeof name, "%s%s", path, suffix[i]);
        unlink(name);
    }
}

static int drop_dir(void **state) {
    (void)state;
    remove_files();
    return rmdir(dir);
}

static void count_state(void *ctx, const char *key, const char *value, size_t n) {
    (void)key, (void)value, (void)n;
    ++*(int *)ctx;
}

/* What it says it did. */
struct outcome {
    bool is_put, is_added, is_written;
};

static const struct o3_sample SAMPLE = {.wall_ms = 5, .model = "m", .num_ctx = -1};
static const struct o3_store_event EVENT = {.wall_ms = 1, .name = "n"};

/* ---- the calls, one at a time ---- */

static void use_put(struct o3_store *s, struct outcome *o, struct o3_err *e) {
    o->is_put = o3_store_put(s, "key", "new", 3, 1, e) == 0;
}

static void use_add(struct o3_store *s, struct outcome *o, struct o3_err *e) {
    o->is_added = o3_store_add_samples(s, &SAMPLE, 1, e) == 0;
}

static void use_event(struct o3_store *s, struct outcome *o, struct o3_err *e) {
    (void)o;
    (void)!o3_store_add_event(s, &EVENT, e);
}

static void use_write(struct o3_store *s, struct outcome *o, struct o3_err *e) {
    struct o3_sample w = SAMPLE;
    o3_str_copy(w.model, sizeof w.model, "w");
    char key[] = "batch", value[] = "whole";
    const struct o3_store_state st = {.key = key, .value = value, .n = 5};
    const struct o3_store_batch b0 = {
        .samples = &w, .states = &st, .events = &EVENT, .n_samples = 1, .n_states = 1, .n_events = 1};
    o->is_written = o3_store_write(s, &b0, e) == 0;
}

static void use_samples(struct o3_store *s, struct outcome *o, struct o3_err *e) {
    (void)o;
    struct o3_sample *out = NULL;
    size_t n = 0;
    if (o3_store_samples(s, "old", 0, 10, &out, &n, e) == 0) assert_int_equal(n, 1);
    free(out);
}

static void use_get(struct o3_store *s, struct outcome *o, struct o3_err *e) {
    (void)o;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 100);
    if (o3_store_get(s, "key", &b, e) == 0) assert_string_equal(o3_buf_str(&b), "old");
}

static void use_each(struct o3_store *s, struct outcome *o, struct o3_err *e) {
    (void)o;
    int n_states = 0;
    if (o3_store_each(s, "", count_state, &n_states, e) == 0) assert_int_equal(n_states, 1);
}

static void use_prune(struct o3_store *s, struct outcome *o, struct o3_err *e) {
    (void)o;
    (void)!o3_store_prune(s, 0, e);
}

/* With memory again: what it says it stored is there, and what was there before. */
static void check_store(struct outcome o) {
    struct o3_store *s = NULL;
    struct o3_err e;
    if (o3_store_open(path, &s, &e) < 0) fail_msg("%s", e.text);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 100);
    assert_int_equal(o3_store_get(s, "key", &b, &e), 0);
    if (o.is_put) assert_string_equal(o3_buf_str(&b), "new");
    assert_true(!strcmp(o3_buf_str(&b), "new") || !strcmp(o3_buf_str(&b), "old"));
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
    assert_int_equal(o3_store_samples(s, "old", 0, 10, &out, &n, &e), 0);
    assert_int_equal(n, 1);
    free(out);
    o3_store_close(s);
}

/* ---- a store with something in it: made once, copied each time ---- */

static struct o3_buf old_bytes;

static void make_old(void) {
    struct o3_store *s = NULL;
    struct o3_sample v = SAMPLE;
    o3_str_copy(v.model, sizeof v.model, "old");
    v.wall_ms = INT64_MAX / 4; /* no prune takes it */
    assert_int_equal(o3_store_open(path, &s, NULL), 0);
    assert_int_equal(o3_store_put(s, "key", "old", 3, 1, NULL), 0);
    assert_int_equal(o3_store_add_samples(s, &v, 1, NULL), 0);
    o3_store_close(s);
    o3_buf_init(&old_bytes, 16u << 20);
    assert_int_equal(o3_file_read(path, 16u << 20, &old_bytes, NULL), 0);
}

static void begin_with(const struct o3_buf *bytes) {
    remove_files();
    if (!bytes->len) return;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes->p, 1, bytes->len, f), bytes->len);
    assert_int_equal(fclose(f), 0);
}

static void begin_with_old(void) {
    begin_with(&old_bytes);
}

static void opening_an_existing_store_survives_no_memory(void **state) {
    (void)state;
    int n_refused = 0;
    long n = 1;
    make_old();
    for (bool was_hit = true; was_hit; n++) {
        struct o3_store *s = NULL;
        struct o3_err e = {0};
        begin_with_old();
        o3_fail_arm(O3_FAIL_ALLOC, n);
        int r = o3_store_open(path, &s, &e);
        was_hit = o3_fail_disarm();
        assert_true(r < 0 ? !s && *e.text : s != NULL);
        n_refused += r < 0;
        o3_store_close(s);
        check_store((struct outcome){0});
    }
    print_message("%ld allocations, %d of them needed to open\n", n - 2, n_refused);
    assert_true(n > 50 && n_refused > 5);
    o3_buf_done(&old_bytes);
}

/* On a new connection each time, whose caches are empty: all that a call may allocate, fails once. */
static void each_call_survives_no_memory(void **state) {
    (void)state;
    void (*const CALLS[])(struct o3_store *, struct outcome *, struct o3_err *) = {
        use_put, use_add, use_event, use_write, use_samples, use_get, use_each, use_prune};
    long n_all = 0;
    make_old();
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
        bool was_hit = true;
        for (long n = 1; was_hit; n++, n_all++) {
            struct o3_store *s = NULL;
            struct o3_err e;
            struct outcome o = {0};
            begin_with_old();
            assert_int_equal(o3_store_open(path, &s, &e), 0);
            o3_fail_arm(O3_FAIL_ALLOC, n);
            CALLS[i](s, &o, &e);
            was_hit = o3_fail_disarm();
            o3_store_close(s);
            check_store(o);
        }
    }
    print_message("%ld allocations in the calls\n", n_all);
    assert_true(n_all > 500);
    o3_buf_done(&old_bytes);
}

/* One connection on which one call after the other runs out of memory, as in a process that is short of it. */
static void a_store_that_runs_out_again_and_again_stays_whole(void **state) {
    (void)state;
    struct o3_store *s = NULL;
    struct o3_err e;
    struct outcome o = {0};
    make_old();
    begin_with_old();
    assert_int_equal(o3_store_open(path, &s, &e), 0);
    bool was_hit = true;
    for (long n = 1; was_hit; n += 3) {
        struct outcome now = {0};
        o3_fail_arm(O3_FAIL_ALLOC, n);
        use_put(s, &now, &e);
        use_write(s, &now, &e);
        was_hit = o3_fail_disarm();
        o.is_put |= now.is_put;
        o.is_written |= now.is_written;
    }
    o3_store_close(s);
    assert_true(o.is_put && o.is_written);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 100);
    assert_int_equal(o3_store_open(path, &s, &e), 0);
    assert_int_equal(o3_store_get(s, "key", &b, &e), 0);
    assert_string_equal(o3_buf_str(&b), "new");
    use_prune(s, &o, &e);
    o3_store_close(s);
    o3_buf_done(&old_bytes);
}

/* How far it is migrated; 0 also where there is no file yet. */
static int version_now(void) {
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    int version = 0;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return version;
}

/* One attempt whose n-th allocation fails; false: there is no n-th, and the store is open. An attempt that did without
 * it is undone, so that each migration is tried by itself. */
static bool fails_to_open(long n, int version, struct o3_store **ret) {
    struct o3_err e = {0};
    O3_AUTO_BUF before;
    o3_buf_init(&before, 16u << 20);
    if (access(path, F_OK) == 0) assert_int_equal(o3_file_read(path, 16u << 20, &before, NULL), 0);
    o3_fail_arm(O3_FAIL_ALLOC, n);
    int r = o3_store_open(path, ret, &e);
    bool was_hit = o3_fail_disarm();
    if (r < 0 && !was_hit) fail_msg("after failure %ld at version %d: %s", n, version, e.text);
    assert_true(r < 0 ? !*ret && *e.text : *ret != NULL);
    if (r < 0 || !was_hit) return was_hit;
    o3_store_close(*ret);
    *ret = NULL;
    begin_with(&before);
    return true;
}

/* What the last attempt left is where the next one begins. Once it gets a migration further, all allocations of the
 * next one are tried in turn: none is left out, and none is made to fail behind migrations that were tried before. */
static void a_new_store_survives_no_memory(void **state) {
    (void)state;
    int version = 0, n_steps = 0;
    long n_all = 0;
    struct o3_store *s = NULL;
    struct o3_err e;
    struct outcome o = {0};
    for (long n = 1; fails_to_open(n, version, &s); n++, n_all++) {
        int reached = version_now();
        assert_true(reached >= version);
        if (reached == version) continue;
        version = reached;
        n_steps++;
        n = 0;
    }
    print_message("%ld allocations, %d migrations begun behind another\n", n_all, n_steps);
    assert_true(n_steps >= 1 && n_all > 500);
    use_put(s, &o, &e);
    use_add(s, &o, &e);
    use_write(s, &o, &e);
    o3_store_close(s);
    assert_true(o.is_put && o.is_added && o.is_written);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void) {
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain);
    sqlite3_mem_methods ours = plain;
    ours.xMalloc = sqlite_malloc;
    ours.xRealloc = sqlite_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
    const struct CMUnitTest tests[] = {
        TEST(opening_an_existing_store_survives_no_memory),
        TEST(each_call_survives_no_memory),
        TEST(a_store_that_runs_out_again_and_again_stays_whole),
        TEST(a_new_store_survives_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
