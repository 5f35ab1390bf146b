/* SPDX-License-Identifier: Apache-2.0 */
/* The store: what goes in comes out, one writer, and files that are not a store are refused with a reason. */
#include "o3_test.h"
#include "io/store.h"
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], path[128];

static int make_dir(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/o3-store-XXXXXX");
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

static struct o3_store *open_store(void) {
    struct o3_store *s = NULL;
    struct o3_err e;
    if (o3_store_open(path, &s, &e) < 0) fail_msg("%s", e.text);
    return s;
}

static struct o3_sample sample(const char *model, int64_t wall_ms) {
    struct o3_sample v = {.wall_ms = wall_ms,
                          .mono_ns = wall_ms * 7,
                          .kind = O3_PROBE_PREFILL,
                          .outcome = O3_OUTCOME_BUSY,
                          .flags = 5,
                          .http_status = 503,
                          .num_ctx = 4096,
                          .num_batch = -1,
                          .num_predict = 16,
                          .ttft_ns = 1234567890123,
                          .ttfc_ns = -1,
                          .wall_ns = 0,
                          .total_ns = INT64_MAX,
                          .load_ns = 5,
                          .prompt_eval_ns = 6,
                          .eval_ns = 7,
                          .prompt_eval_count = 8,
                          .eval_count = 9,
                          .queue_ns = 10,
                          .decode_tps = 0.1 + 0.2,
                          .prefill_tps = (double)NAN,
                          .tpot_s = 1e-300,
                          .size_bytes = 1LL << 40,
                          .vram_bytes = -1};
    snprintf(v.model, sizeof v.model, "%s", model);
    snprintf(v.digest, sizeof v.digest, "%064d", 7);
    snprintf(v.detail, sizeof v.detail, "quote ' and \xc3\xa9");
    return v;
}

static void set_by_hand(const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void samples_come_back_as_they_were(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    struct o3_sample in = sample("m:1", 1000), *out;
    size_t n;
    assert_int_equal(o3_store_samples(s, "", 0, 10, &out, &n, NULL), 0);
    assert_null(out);
    assert_int_equal(n, 0);
    assert_int_equal(o3_store_add_samples(s, &in, 1, NULL), 0);
    assert_int_equal(o3_store_add_samples(s, &in, 0, NULL), 0);
    o3_store_close(s);
    s = open_store();
    assert_int_equal(o3_store_samples(s, "m:1", 0, 10, &out, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_true(isnan(out->prefill_tps));
    assert_true(out->decode_tps == 0.1 + 0.2 && out->tpot_s == 1e-300);
    in.prefill_tps = out->prefill_tps = 0; /* NaN has many bit patterns */
    assert_string_equal(out->model, in.model);
    assert_string_equal(out->digest, in.digest);
    assert_string_equal(out->detail, in.detail);
    assert_int_equal(out->wall_ms, in.wall_ms);
    assert_int_equal(out->mono_ns, in.mono_ns);
    assert_int_equal(out->kind, in.kind);
    assert_int_equal(out->outcome, in.outcome);
    assert_int_equal(out->flags, in.flags);
    assert_int_equal(out->http_status, in.http_status);
    assert_memory_equal(&out->num_ctx, &in.num_ctx,
                        offsetof(struct o3_sample, detail) - offsetof(struct o3_sample, num_ctx));
    free(out);
    o3_store_close(s);
}

static void newest_samples_come_last(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    static struct o3_sample v[200];
    for (int i = 0; i < 200; i++)
        v[i] = sample(i % 2 ? "odd" : "even", 1000 + i);
    assert_int_equal(o3_store_add_samples(s, v, 200, NULL), 0);
    struct o3_sample *out;
    size_t n;
    assert_int_equal(o3_store_samples(s, "", 0, 1000, &out, &n, NULL), 0);
    assert_int_equal(n, 200);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(out[i].wall_ms, 1000 + i);
    free(out);
    assert_int_equal(o3_store_samples(s, "odd", 1100, 3, &out, &n, NULL), 0);
    assert_int_equal(n, 3);
    assert_int_equal(out[0].wall_ms, 1195);
    assert_int_equal(out[2].wall_ms, 1199);
    free(out);
    assert_int_equal(o3_store_samples(s, "odd", 1198, SIZE_MAX, &out, &n, NULL), 0);
    assert_int_equal(n, 1);
    free(out);
    o3_store_close(s);
}

static void a_bad_sample_takes_none_in(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    struct o3_sample v[2] = {sample("a", 1), sample("a", 2)};
    v[1].kind = (enum o3_probe_kind)17;
    struct o3_err e;
    assert_int_equal(o3_store_add_samples(s, v, 2, &e), O3_E_STORE);
    struct o3_sample *out;
    size_t n;
    assert_int_equal(o3_store_samples(s, "", 0, 10, &out, &n, NULL), 0);
    assert_int_equal(n, 0);
    assert_int_equal(o3_store_add_samples(s, v, 1, &e), 0);
    o3_store_close(s);
}

static void every_kind_and_outcome_has_room(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    for (int k = 0; k < O3_PROBE_KIND_COUNT; k++)
        for (int o = 0; o < O3_OUTCOME_COUNT; o++) {
            struct o3_sample v = sample("a", 1);
            v.kind = (enum o3_probe_kind)k;
            v.outcome = (enum o3_outcome)o;
            assert_int_equal(o3_store_add_samples(s, &v, 1, NULL), 0);
        }
    o3_store_close(s);
}

static void collect(void *ctx, const char *key, const char *value, size_t n) {
    o3_buf_addf(ctx, "%s=", key);
    o3_buf_add(ctx, value, n);
    o3_buf_adds(ctx, ";");
}

static void states_are_kept(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1000);
    assert_int_equal(o3_store_get(s, "a/1", &b, NULL), O3_E_NOT_FOUND);
    assert_int_equal(o3_store_put(s, "a/1", "one", 3, 1, NULL), 0);
    assert_int_equal(o3_store_put(s, "a/1", "two\0x", 5, 2, NULL), 0);
    assert_int_equal(o3_store_put(s, "a/2", "", 0, 2, NULL), 0);
    assert_int_equal(o3_store_put(s, "b/%", "three", 5, 2, NULL), 0);
    assert_int_equal(o3_store_put(s, "a/3", "gone", 4, 2, NULL), 0);
    assert_int_equal(o3_store_drop(s, "a/3", NULL), 0);
    assert_int_equal(o3_store_drop(s, "a/3", NULL), 0);
    o3_store_close(s);
    s = open_store();
    assert_int_equal(o3_store_get(s, "a/1", &b, NULL), 0);
    assert_int_equal(b.len, 5);
    assert_memory_equal(b.p, "two\0x", 5);
    o3_buf_clear(&b);
    assert_int_equal(o3_store_get(s, "a/2", &b, NULL), 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(o3_store_each(s, "a/", collect, &b, NULL), 0);
    assert_int_equal(b.len, strlen("a/1=two.x;a/2=;"));
    o3_buf_clear(&b);
    assert_int_equal(o3_store_each(s, "%", collect, &b, NULL), 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(o3_store_each(s, "", collect, &b, NULL), 0);
    assert_int_equal(b.len, strlen("a/1=two.x;a/2=;b/%=three;"));
    o3_store_close(s);
}

static void collect_event(void *ctx, const struct o3_store_event *ev) {
    o3_buf_addf(ctx, "%lld %s %s %s;", (long long)ev->wall_ms, ev->name, ev->model, ev->json);
}

static void events_are_kept(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1000);
    for (int i = 0; i < 3; i++) {
        const struct o3_store_event ev = {.wall_ms = i, .name = "n", .model = i ? "m" : NULL, .json = i ? "{1}" : NULL};
        assert_int_equal(o3_store_add_event(s, &ev, NULL), 0);
    }
    assert_int_equal(o3_store_each_event(s, 0, 10, collect_event, &b, NULL), 0);
    assert_string_equal(o3_buf_str(&b), "2 n m {1};1 n m {1};0 n  {};");
    o3_buf_clear(&b);
    assert_int_equal(o3_store_each_event(s, 1, 1, collect_event, &b, NULL), 0);
    assert_string_equal(o3_buf_str(&b), "2 n m {1};");
    o3_store_close(s);
}

static void count_event(void *ctx, const struct o3_store_event *ev) {
    assert_string_equal(ev->name, "n");
    ++*(int *)ctx;
}

static void old_samples_are_pruned(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    enum { N = 12000 };
    struct o3_sample *v = calloc(N, sizeof *v);
    for (int i = 0; i < N; i++)
        v[i] = sample(i < 10 ? "gone" : "m", i);
    assert_int_equal(o3_store_add_samples(s, v, N, NULL), 0);
    free(v);
    o3_store_close(s);
    set_by_hand("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20050)"
                "INSERT INTO event (wall_ms, name, model, json) SELECT i, 'n', '', '{}' FROM n");
    set_by_hand("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)"
                "INSERT INTO state (key, value, wall_ms) SELECT 'k' || i, 'v', i FROM n");
    s = open_store();
    assert_int_equal(o3_store_prune(s, N - 100, NULL), 0);
    struct o3_sample *out;
    size_t n;
    assert_int_equal(o3_store_samples(s, "", 0, 10000, &out, &n, NULL), 0);
    assert_int_equal(n, 100);
    assert_int_equal(out[0].wall_ms, N - 100);
    free(out);
    O3_AUTO_BUF value;
    o3_buf_init(&value, 100);
    assert_int_equal(o3_store_get(s, "k500", &value, NULL), O3_E_NOT_FOUND); /* the oldest 500 went */
    assert_int_equal(o3_store_get(s, "k501", &value, NULL), 0);
    int n_events = 0;
    assert_int_equal(o3_store_each_event(s, 0, 100000, count_event, &n_events, NULL), 0);
    assert_int_equal(n_events, 10000);
    o3_store_close(s);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    print_message("%d samples, pruned to 100: %lld KiB\n", N, (long long)st.st_size / 1024);
    assert_true(st.st_size < 1000 * 1024);
}

static void a_second_one_is_kept_out(void **state) {
    (void)state;
    struct o3_store *s = open_store(), *t;
    struct o3_err e;
    assert_int_equal(o3_store_open(path, &t, &e), O3_E_LOCKED);
    assert_non_null(strstr(e.text, path));
    o3_store_close(s);
    s = open_store();
    o3_store_close(s);
    o3_store_close(NULL);
}

/* A process that dies in the middle of writing leaves what it committed. */
static void a_killed_writer_leaves_whole_states(void **state) {
    (void)state;
    for (int round = 0; round < 5; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        if (!pid) {
            struct o3_store *s = NULL;
            if (o3_store_open(path, &s, NULL)) _exit(1);
            for (int i = 0;; i++) {
                char text[2000];
                memset(text, 'a' + i % 26, sizeof text);
                struct o3_sample v = sample("a", i);
                if (o3_store_put(s, "state", text, sizeof text, i, NULL) || o3_store_add_samples(s, &v, 1, NULL))
                    _exit(1);
                if (i == 3 && write(fds[1], "x", 1) != 1) _exit(1);
            }
        }
        char c;
        assert_int_equal(read(fds[0], &c, 1), 1);
        usleep((unsigned)round * 3000);
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        close(fds[0]);
        close(fds[1]);
        struct o3_store *s = open_store();
        O3_AUTO_BUF b;
        o3_buf_init(&b, 10000);
        assert_int_equal(o3_store_get(s, "state", &b, NULL), 0);
        assert_int_equal(b.len, 2000);
        for (size_t i = 1; i < b.len; i++)
            assert_int_equal(b.p[i], b.p[0]);
        o3_store_close(s);
    }
}

static void write_file(const char *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void expect_refusal(int code) {
    struct o3_store *s = NULL;
    struct o3_err e;
    int r = o3_store_open(path, &s, &e);
    if (r != code) fail_msg("%d instead of %d: %s", r, code, r ? e.text : "");
    assert_null(s);
    assert_true(*e.text);
    print_message("%s\n", e.text);
}

static void what_is_no_store_is_refused(void **state) {
    (void)state;
    char garbage[9000];
    for (size_t i = 0; i < sizeof garbage; i++)
        garbage[i] = (char)(i * 31 + 7);
    write_file(garbage, sizeof garbage);
    expect_refusal(O3_E_STORE);
    expect_refusal(O3_E_STORE); /* the lock is free again */
    /* A store of which the middle is overwritten. */
    assert_int_equal(unlink(path), 0);
    struct o3_store *s = open_store();
    o3_store_close(s);
    FILE *f = fopen(path, "r+b");
    fseek(f, 100, SEEK_SET);
    assert_int_equal(fwrite(garbage, 1, 4000, f), 4000);
    fclose(f);
    expect_refusal(O3_E_STORE);
    /* Another program's. */
    assert_int_equal(unlink(path), 0);
    set_by_hand("CREATE TABLE theirs (x)");
    expect_refusal(O3_E_STORE);
    /* A directory. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    expect_refusal(O3_E_STORE);
    assert_int_equal(rmdir(path), 0);
    struct o3_err e;
    assert_int_equal(o3_store_open("/nonexistent/o3.db", &s, &e), O3_E_NOT_FOUND);
}

static void a_newer_store_is_refused(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    o3_store_close(s);
    set_by_hand("PRAGMA user_version = 1000");
    expect_refusal(O3_E_STORE_NEWER);
    set_by_hand("PRAGMA user_version = 1");
    s = open_store();
    o3_store_close(s);
}

static void an_empty_file_becomes_a_store(void **state) {
    (void)state;
    write_file("", 0);
    struct o3_store *s = open_store();
    assert_int_equal(o3_store_put(s, "a", "b", 1, 1, NULL), 0);
    o3_store_close(s);
}

/* Rows edited by hand with values that no sample has. */
static void strange_rows_are_left_out(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    struct o3_sample v[2] = {sample("a", 1), sample("a", 2)}, *out;
    assert_int_equal(o3_store_add_samples(s, v, 2, NULL), 0);
    o3_store_close(s);
    set_by_hand(
        "PRAGMA ignore_check_constraints = ON; UPDATE sample SET outcome = 99 WHERE wall_ms = 1;"
        "UPDATE model SET name = printf('%.*c', 5000, 'x'); UPDATE sample SET decode_tps = 'text' WHERE wall_ms = 2");
    s = open_store();
    size_t n;
    assert_int_equal(o3_store_samples(s, "", 0, 10, &out, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_int_equal(strlen(out->model), O3_MODEL_NAME_SIZE - 1);
    free(out);
    o3_store_close(s);
}

static void memory_stays_small(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    static struct o3_sample v[100];
    for (int i = 0; i < 100; i++)
        v[i] = sample("a", i);
    for (int i = 0; i < 50; i++)
        assert_int_equal(o3_store_add_samples(s, v, 100, NULL), 0);
    long long most = (long long)sqlite3_memory_highwater(0);
    print_message("SQLite's memory at most: %lld KiB\n", most / 1024);
    assert_true(most < 2 * 1024 * 1024);
    o3_store_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(memory_stays_small),
        TEST(samples_come_back_as_they_were),
        TEST(newest_samples_come_last),
        TEST(a_bad_sample_takes_none_in),
        TEST(every_kind_and_outcome_has_room),
        TEST(states_are_kept),
        TEST(events_are_kept),
        TEST(old_samples_are_pruned),
        TEST(a_second_one_is_kept_out),
        TEST(a_killed_writer_leaves_whole_states),
        TEST(what_is_no_store_is_refused),
        TEST(a_newer_store_is_refused),
        TEST(an_empty_file_becomes_a_store),
        TEST(strange_rows_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
