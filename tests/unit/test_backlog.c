/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for the store: nothing is lost while it cannot be written, up to a limit, and the order stays. */
#include "o3_test.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "app/backlog.h"
#include "o3/text.h"

static char dir[64], path[128];
static struct o3_store *store;
static struct o3_backlog backlog;

static int set_up(void **state) {
    (void)state;
    struct o3_err e;
    snprintf(dir, sizeof dir, "/tmp/o3-backlog-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/o3.db", dir);
    backlog = (struct o3_backlog){.n = 0};
    return o3_store_open(path, &store, &e);
}

static int tear_down(void **state) {
    (void)state;
    static const char *const SUFFIXES[] = {"", "-wal", "-shm", ".lock"};
    o3_store_close(store);
    o3_backlog_clear(&backlog);
    for (size_t i = 0; i < sizeof SUFFIXES / sizeof *SUFFIXES; i++) {
        char name[160];
        snprintf(name, sizeof name, "%s%s", path, SUFFIXES[i]);
        unlink(name);
    }
    return rmdir(dir);
}

static void add(int64_t wall_ms, int n_events) {
    struct o3_sample v = {.wall_ms = wall_ms, .mono_ns = wall_ms, .model = "m", .num_ctx = -1};
    struct o3_event_list events = {.n = 0};
    for (int i = 0; i < n_events; i++) {
        struct o3_waiting_event x = {.wall_ms = wall_ms + i, .name = "n", .model = strdup("m"), .json = strdup("{}")};
        assert_true(o3_event_list_add(&events, &x, 1 << 20));
    }
    o3_backlog_add(&backlog, &v, 1, &events);
    assert_int_equal(events.n, 0);
    assert_null(events.v);
}

static int write_it(void) {
    struct o3_err e = {0};
    return o3_backlog_write(&backlog, store, NULL, 0, 1, &e);
}

static sqlite3 *lock(void) {
    sqlite3 *db;
    o3_store_hurry(store); /* what is locked is not waited for */
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static struct o3_sample *stored(size_t *ret_n) {
    struct o3_sample *v;
    struct o3_err e;
    assert_int_equal(o3_store_samples(store, "", 0, 1000, &v, ret_n, &e), 0);
    return v;
}

static void count_event(void *ctx, const struct o3_store_event *ev) {
    (void)ev;
    ++*(size_t *)ctx;
}

static size_t n_stored_events(void) {
    size_t n = 0;
    struct o3_err e;
    assert_int_equal(o3_store_each_event(store, 0, 100000, count_event, &n, &e), 0);
    return n;
}

static void what_is_written_is_gone_from_it(void **state) {
    (void)state;
    size_t n;
    add(1, 2);
    assert_int_equal(write_it(), 0);
    assert_int_equal(backlog.n + backlog.events.n, 0);
    assert_int_equal(write_it(), 0); /* nothing to do is fine */
    free(stored(&n));
    assert_int_equal(n, 1);
    assert_int_equal(n_stored_events(), 2);
}

static void a_locked_store_costs_nothing(void **state) {
    (void)state;
    size_t n;
    add(1, 1);
    assert_int_equal(write_it(), 0);
    sqlite3 *db = lock();
    for (int i = 2; i < 10; i++) {
        add(i, i % 2);
        assert_int_equal(write_it(), O3_E_LOCKED);
        assert_int_equal(backlog.n, i - 1);
    }
    sqlite3_close(db);
    add(10, 1);
    assert_int_equal(write_it(), 0);
    struct o3_sample *v = stored(&n);
    assert_int_equal(n, 10);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(v[i].wall_ms, i + 1);
    free(v);
    assert_int_equal(n_stored_events(), 6);
    assert_int_equal(backlog.n_lost, 0);
}

static void the_oldest_goes_when_it_is_full(void **state) {
    (void)state;
    size_t n;
    for (int i = 0; i < O3_BACKLOG_SAMPLES_MAX + 10; i++)
        add(i, 5);
    assert_int_equal(backlog.n, O3_BACKLOG_SAMPLES_MAX);
    assert_int_equal(backlog.events.n, O3_BACKLOG_EVENTS_MAX);
    assert_int_equal(backlog.n_lost, 10 + 5 * (O3_BACKLOG_SAMPLES_MAX + 10) - O3_BACKLOG_EVENTS_MAX);
    assert_int_equal(backlog.events.v[O3_BACKLOG_EVENTS_MAX - 1].wall_ms, O3_BACKLOG_SAMPLES_MAX + 9 + 4);
    assert_int_equal(write_it(), 0);
    struct o3_sample *v = stored(&n);
    assert_int_equal(n, O3_BACKLOG_SAMPLES_MAX);
    assert_int_equal(v[0].wall_ms, 10);
    free(v);
    add(5000, 2 * O3_BACKLOG_EVENTS_MAX); /* more at once than there is room for */
    assert_int_equal(backlog.events.n, O3_BACKLOG_EVENTS_MAX);
}

static void what_is_refused_itself_does_not_stop_the_rest(void **state) {
    (void)state;
    size_t n;
    struct o3_sample bad = {.wall_ms = 1, .model = "m", .kind = (enum o3_probe_kind)99, .num_ctx = -1};
    struct o3_event_list none = {.n = 0};
    o3_backlog_add(&backlog, &bad, 1, &none);
    assert_int_equal(write_it(), O3_E_STORE);
    assert_int_equal(backlog.n, 0);
    assert_int_equal(backlog.n_lost, 1);
    add(2, 1);
    assert_int_equal(write_it(), 0);
    free(stored(&n));
    assert_int_equal(n, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_gone_from_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_locked_store_costs_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_oldest_goes_when_it_is_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_refused_itself_does_not_stop_the_rest, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
