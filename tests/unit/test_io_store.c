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
                          .vram_bytes = -1,
                          .acknowledged = 0x81};
    v.around = (struct o3_surroundings){.version = "0.33.0-\xc3\xa9",
                                        .gpu = "",
                                        .parallel = -1,
                                        .preset_num_ctx = 8192,
                                        .loaded_wall_ms = -7,
                                        .weight_bytes = INT64_MAX,
                                        .bandwidth_bytes_per_s = 0.1 + 0.2,
                                        .interval_ms = 0,
                                        .n_models = 3,
                                        .n_loads = 0,
                                        .n_user_requests = -1,
                                        .swapped_bytes = INT64_MIN,
                                        .n_throttled = 5,
                                        .n_quota = 2,
                                        .pressure_cpu = 5e-324,
                                        .pressure_memory = 1e300,
                                        .pressure_io = 0,
                                        .memory_available_bytes = 9,
                                        .other_vram_bytes = -1};
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

static void what_is_unknown_comes_back_unknown(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    struct o3_sample in = sample("m:1", 1000), *out;
    o3_surroundings_init(&in.around);
    in.acknowledged = 0;
    size_t n;
    assert_int_equal(o3_store_add_samples(s, &in, 1, NULL), 0);
    assert_int_equal(o3_store_samples(s, "", 0, 10, &out, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_true(isnan(out->around.bandwidth_bytes_per_s) && isnan(out->around.pressure_cpu) &&
                isnan(out->around.pressure_memory) && isnan(out->around.pressure_io));
    double *reals[][2] = {{&in.around.bandwidth_bytes_per_s, &out->around.bandwidth_bytes_per_s},
                          {&in.around.pressure_cpu, &out->around.pressure_cpu},
                          {&in.around.pressure_memory, &out->around.pressure_memory},
                          {&in.around.pressure_io, &out->around.pressure_io}};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        *reals[i][0] = *reals[i][1] = 0; /* NaN has many bit patterns */
    assert_memory_equal(&in.around, &out->around, sizeof in.around);
    assert_int_equal(out->acknowledged, 0);
    free(out);
    o3_store_close(s);
}

static void add_time(void *ctx, const struct o3_sample *v) {
    o3_buf_addf(ctx, "%s/%lld ", v->model, (long long)v->wall_ms);
}

static void samples_are_told_one_by_one(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    struct o3_sample v[5] = {sample("a", 30), sample("b", 10), sample("a", 20), sample("a", 10), sample("a", 40)};
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1000);
    assert_int_equal(o3_store_add_samples(s, v, 5, NULL), 0);
    assert_int_equal(o3_store_each_sample(s, "", 10, 40, add_time, &b, NULL), 0);
    assert_string_equal(o3_buf_str(&b), "b/10 a/10 a/20 a/30 ");
    o3_buf_clear(&b);
    assert_int_equal(o3_store_each_sample(s, "a", 11, INT64_MAX, add_time, &b, NULL), 0);
    assert_string_equal(o3_buf_str(&b), "a/20 a/30 a/40 ");
    o3_store_close(s);
}

static void collect_name(void *ctx, const struct o3_store_event *ev) {
    assert_string_equal(ev->name, "started");
    ++*(int *)ctx;
}

/* As version 0.1 made it. */
static const char SCHEMA_1[] =
    "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;"
    "CREATE TABLE model (id INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, UNIQUE (name, digest));"
    "CREATE TABLE sample (id INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL, mono_ns INTEGER NOT NULL,"
    " model_id INTEGER NOT NULL REFERENCES model (id), kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 2),"
    " outcome INTEGER NOT NULL CHECK (outcome BETWEEN 0 AND 10), flags INTEGER NOT NULL, http_status INTEGER NOT NULL,"
    " num_ctx INTEGER, num_batch INTEGER, num_predict INTEGER, ttft_ns INTEGER, ttfc_ns INTEGER, wall_ns INTEGER,"
    " total_ns INTEGER, load_ns INTEGER, prompt_eval_ns INTEGER, eval_ns INTEGER, prompt_eval_count INTEGER,"
    " eval_count INTEGER, queue_ns INTEGER, size_bytes INTEGER, vram_bytes INTEGER, decode_tps REAL, prefill_tps REAL,"
    " tpot_s REAL, detail TEXT NOT NULL);"
    "CREATE INDEX sample_by_time ON sample (wall_ms); CREATE INDEX sample_by_model ON sample (model_id, wall_ms);"
    "CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL, wall_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE event (id INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL, name TEXT NOT NULL, model TEXT NOT NULL,"
    " json TEXT NOT NULL);"
    "CREATE INDEX event_by_time ON event (wall_ms);"
    "PRAGMA application_id=1865634627; PRAGMA user_version=1;";

static void make_version_1(void) {
    set_by_hand(SCHEMA_1);
    set_by_hand(
        "INSERT INTO model VALUES (1, 'a', 'd1'), (2, 'b', 'd2');"
        "INSERT INTO sample VALUES"
        " (3, 1000, 7, 1, 0, 0, 32, 200, 4096, NULL, 16, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, NULL, 37.5, NULL,"
        " 0.02, 'x'),"
        " (9, 2000, 8, 2, 2, 4, 0, 0, NULL, 512, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
        " NULL, NULL, NULL, NULL, 1e300, NULL, '');"
        "INSERT INTO state VALUES ('k', 'v', 5);"
        "INSERT INTO event (wall_ms, name, model, json) VALUES (4, 'started', '', '{}');");
}

static void an_old_store_is_migrated_without_loss(void **state) {
    (void)state;
    make_version_1();
    struct o3_store *s = open_store();
    struct o3_sample *out, look = sample("a", 3000);
    size_t n;
    look.kind = O3_PROBE_LOOK;
    assert_int_equal(o3_store_add_samples(s, &look, 1, NULL), 0);
    assert_int_equal(o3_store_samples(s, "", 0, 10, &out, &n, NULL), 0);
    assert_int_equal(n, 3);
    assert_string_equal(out[0].model, "a");
    assert_string_equal(out[0].digest, "d1");
    assert_string_equal(out[0].detail, "x");
    assert_int_equal(out[0].kind, O3_PROBE_DECODE);
    assert_int_equal(out[0].flags, 32);
    assert_int_equal(out[0].http_status, 200);
    const int64_t numbers[] = {out[0].num_ctx,        out[0].num_batch,  out[0].num_predict,       out[0].ttft_ns,
                               out[0].ttfc_ns,        out[0].wall_ns,    out[0].total_ns,          out[0].load_ns,
                               out[0].prompt_eval_ns, out[0].eval_ns,    out[0].prompt_eval_count, out[0].eval_count,
                               out[0].queue_ns,       out[0].size_bytes, out[0].vram_bytes};
    static const int64_t EXPECTED[] = {4096, -1, 16, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, -1};
    assert_memory_equal(numbers, EXPECTED, sizeof EXPECTED);
    assert_true(out[0].decode_tps == 37.5 && isnan(out[0].prefill_tps) && out[0].tpot_s == 0.02);
    assert_int_equal(out[0].around.parallel, -1);
    assert_int_equal(out[0].around.n_loads, 0);
    assert_string_equal(out[0].around.version, "");
    assert_string_equal(out[1].model, "b");
    assert_int_equal(out[1].kind, O3_PROBE_EMBED);
    assert_int_equal(out[1].outcome, O3_OUTCOME_REFUSED);
    assert_int_equal(out[1].num_batch, 512);
    assert_true(isnan(out[1].decode_tps) && out[1].prefill_tps == 1e300);
    assert_int_equal(out[2].kind, O3_PROBE_LOOK);
    free(out);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 100);
    assert_int_equal(o3_store_get(s, "k", &b, NULL), 0);
    assert_string_equal(o3_buf_str(&b), "v");
    int n_events = 0;
    assert_int_equal(o3_store_each_event(s, 0, 10, collect_name, &n_events, NULL), 0);
    assert_int_equal(n_events, 1);
    o3_store_close(s);
    o3_store_close(open_store()); /* the second time there is nothing left to do */
}

/* Whatever stops it, a migration is done as a whole or not at all. */
static void a_migration_that_fails_changes_nothing(void **state) {
    (void)state;
    make_version_1();
    set_by_hand("ALTER TABLE sample ADD COLUMN pressure_io");
    struct o3_store *s = NULL;
    struct o3_err e;
    assert_int_equal(o3_store_open(path, &s, &e), O3_E_STORE);
    set_by_hand("ALTER TABLE sample DROP COLUMN pressure_io; INSERT INTO sample (id, wall_ms, mono_ns, model_id, kind, "
                "outcome, flags,"
                " http_status, detail) VALUES (10, 1, 1, 1, 2, 0, 0, 0, '')");
    s = open_store();
    struct o3_sample *out;
    size_t n;
    assert_int_equal(o3_store_samples(s, "", 0, 10, &out, &n, NULL), 0);
    assert_int_equal(n, 3);
    free(out);
    o3_store_close(s);
}

static void readers_do_not_disturb_the_writer(void **state) {
    (void)state;
    struct o3_store *writer = open_store(), *reader = NULL;
    struct o3_err e;
    struct o3_sample v = sample("a", 1), *out;
    size_t n;
    assert_int_equal(o3_store_add_samples(writer, &v, 1, NULL), 0);
    if (o3_store_open_read(path, &reader, &e) < 0) fail_msg("%s", e.text);
    assert_int_equal(o3_store_samples(reader, "", 0, 10, &out, &n, NULL), 0);
    assert_int_equal(n, 1);
    free(out);
    assert_int_equal(o3_store_add_samples(writer, &v, 1, NULL), 0);
    /* What is read belongs together: nothing of later. */
    assert_int_equal(o3_store_samples(reader, "", 0, 10, &out, &n, NULL), 0);
    assert_int_equal(n, 1);
    free(out);
    assert_true(o3_store_put(reader, "k", "v", 1, 1, &e) < 0);
    assert_true(o3_store_add_samples(reader, &v, 1, &e) < 0);
    o3_store_close(reader);
    o3_store_close(writer);
    assert_int_equal(o3_store_open_read(path, &reader, &e), 0); /* nobody writes */
    assert_int_equal(o3_store_samples(reader, "", 0, 10, &out, &n, NULL), 0);
    assert_int_equal(n, 2);
    free(out);
    o3_store_close(reader);
}

static void readers_are_told_what_is_wrong(void **state) {
    (void)state;
    struct o3_store *s = NULL;
    struct o3_err e;
    assert_int_equal(o3_store_open_read(path, &s, &e), O3_E_NOT_FOUND);
    assert_int_equal(access(path, F_OK), -1);
    make_version_1();
    assert_int_equal(o3_store_open_read(path, &s, &e), O3_E_STORE);
    assert_non_null(strstr(e.text, "o3 serve"));
    o3_store_close(open_store());
    set_by_hand("PRAGMA user_version=1000");
    assert_int_equal(o3_store_open_read(path, &s, &e), O3_E_STORE_NEWER);
    assert_null(s);
}

#define NOBODY 65534

/* Root may write everywhere, so that it has to be somebody else for a moment. */
static void become_nobody(void) {
    if (geteuid() != 0) return;
    assert_int_equal(chown(dir, NOBODY, NOBODY), 0);
    assert_int_equal(chown(path, NOBODY, NOBODY), 0);
    assert_int_equal(seteuid(NOBODY), 0);
}

static void become_oneself(void) {
    if (getuid() == 0) assert_int_equal(seteuid(0), 0);
}

static void a_store_that_cannot_be_written_to_is_read(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    struct o3_sample v = sample("a", 1), *out = NULL;
    size_t n = 0;
    struct o3_err e;
    assert_int_equal(o3_store_add_samples(s, &v, 1, NULL), 0);
    o3_store_close(s);
    chmod(dir, 0555);
    become_nobody();
    int r = o3_store_open_read(path, &s, &e);
    int read = r < 0 ? r : o3_store_samples(s, "", 0, 10, &out, &n, NULL);
    become_oneself();
    chmod(dir, 0755);
    if (r < 0) fail_msg("%s", e.text);
    assert_int_equal(read, 0);
    assert_int_equal(n, 1);
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
    set_by_hand("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6500)"
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
    assert_int_equal(o3_store_open("/proc/none/o3.db", &s, &e), O3_E_NOT_FOUND); /* where nobody makes folders */
}

static void a_newer_store_is_refused(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    o3_store_close(s);
    set_by_hand("PRAGMA user_version = 1000");
    expect_refusal(O3_E_STORE_NEWER);
    set_by_hand("PRAGMA user_version = 2");
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

/* ---- what belongs together, and the order in which it came ---- */

static void a_batch_is_whole_or_not_there(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    struct o3_err e;
    struct o3_sample v[2] = {sample("m:1", 1000), sample("m:1", 2000)};
    char old_key[] = "old", key[] = "new", value[] = "state";
    assert_int_equal(o3_store_put(s, "old", "x", 1, 1, NULL), 0);
    const struct o3_store_state states[2] = {{.key = key, .value = value, .n = 5}, {.key = old_key, .value = value}};
    const struct o3_store_event ev = {.wall_ms = 7, .name = "told", .json = "{}"};
    struct o3_store_batch b = {
        .samples = v, .states = states, .events = &ev, .n_samples = 2, .n_states = 2, .n_events = 1};
    struct o3_sample *out;
    size_t n;
    v[1].kind = O3_PROBE_KIND_COUNT; /* the second one is refused, and with it everything */
    assert_true(o3_store_write(s, &b, &e) < 0);
    assert_int_equal(o3_store_samples(s, "", 0, 10, &out, &n, NULL), 0);
    assert_int_equal(n, 0);
    O3_AUTO_BUF text;
    o3_buf_init(&text, 100);
    assert_int_equal(o3_store_get(s, "new", &text, &e), O3_E_NOT_FOUND);
    assert_int_equal(o3_store_get(s, "old", &text, &e), 0);
    v[1].kind = O3_PROBE_LOOK;
    assert_int_equal(o3_store_write(s, &b, &e), 0);
    assert_int_equal(o3_store_samples(s, "", 0, 10, &out, &n, NULL), 0);
    assert_int_equal(n, 2);
    free(out);
    assert_int_equal(o3_store_get(s, "new", &text, &e), 0);
    assert_string_equal(o3_buf_str(&text), "xstate");
    assert_int_equal(o3_store_get(s, "old", &text, &e), O3_E_NOT_FOUND);
    assert_int_equal(o3_store_write(s, &(struct o3_store_batch){.n_samples = 0}, &e), 0);
    o3_store_close(s);
}

struct listed {
    char text[400];
    int n_more; /* until it says stop; below 0: never */
};

static bool list_model(void *ctx, const char *model) {
    struct listed *l = ctx;
    snprintf(l->text + strlen(l->text), sizeof l->text - strlen(l->text), "%s ", model);
    return --l->n_more != 0;
}

static bool list_sample(void *ctx, int64_t place, const struct o3_sample *v) {
    struct listed *l = ctx;
    snprintf(l->text + strlen(l->text), sizeof l->text - strlen(l->text), "%lld:%s@%lld ", (long long)place, v->model,
             (long long)v->wall_ms);
    return --l->n_more != 0;
}

static const char *listed_after(struct o3_store *s, int64_t place, size_t max, int n) {
    static struct listed l;
    l = (struct listed){.n_more = n};
    assert_int_equal(o3_store_each_after(s, place, max, list_sample, &l, NULL), 0);
    return l.text;
}

static int64_t place_of(struct o3_store *s, const char *model, int64_t wall_ms, int64_t mono_ns) {
    int64_t place = -1;
    assert_int_equal(o3_store_place(s, model, wall_ms, mono_ns, &place, NULL), 0);
    return place;
}

static void samples_in_the_order_of_storing(void **state) {
    (void)state;
    struct o3_store *s = open_store();
    assert_string_equal(listed_after(s, 0, 10, -1), "");
    assert_int_equal(place_of(s, "a", 5, 5), 0);
    /* The clock was set back after the second one. */
    struct o3_sample v[] = {sample("a", 1000), sample("b", 3000), sample("a", 2000), sample("c", 500)};
    for (int i = 0; i < 4; i++)
        v[i].mono_ns = 10 + i;
    snprintf(v[2].digest, sizeof v[2].digest, "another");
    assert_int_equal(o3_store_add_samples(s, v, 4, NULL), 0);
    assert_string_equal(listed_after(s, 0, 10, -1), "1:a@1000 2:b@3000 3:a@2000 4:c@500 ");
    assert_string_equal(listed_after(s, 0, 2, -1), "3:a@2000 4:c@500 ");
    assert_string_equal(listed_after(s, 2, 10, -1), "3:a@2000 4:c@500 ");
    assert_string_equal(listed_after(s, 0, 10, 2), "1:a@1000 2:b@3000 ");
    assert_int_equal(place_of(s, "a", 1000, 10), 1);
    assert_int_equal(place_of(s, "a", 2000, 12), 3);
    assert_int_equal(place_of(s, "a", 2500, 99), 3);
    assert_int_equal(place_of(s, "a", 999, 10), 0);
    assert_int_equal(place_of(s, "b", 1000, 10), 0);
    struct listed l = {.n_more = -1};
    assert_int_equal(o3_store_each_model(s, list_model, &l, NULL), 0);
    assert_string_equal(l.text, "b a c ");
    l = (struct listed){.n_more = 1};
    assert_int_equal(o3_store_each_model(s, list_model, &l, NULL), 0);
    assert_string_equal(l.text, "b ");
    o3_store_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(memory_stays_small),
        TEST(samples_come_back_as_they_were),
        TEST(what_is_unknown_comes_back_unknown),
        TEST(samples_are_told_one_by_one),
        TEST(an_old_store_is_migrated_without_loss),
        TEST(a_migration_that_fails_changes_nothing),
        TEST(readers_do_not_disturb_the_writer),
        TEST(readers_are_told_what_is_wrong),
        TEST(a_store_that_cannot_be_written_to_is_read),
        TEST(newest_samples_come_last),
        TEST(a_bad_sample_takes_none_in),
        TEST(every_kind_and_outcome_has_room),
        TEST(a_batch_is_whole_or_not_there),
        TEST(samples_in_the_order_of_storing),
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
