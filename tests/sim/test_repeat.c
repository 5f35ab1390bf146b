/* SPDX-License-Identifier: Apache-2.0 */
/* The same seed gives the same bytes: twice in a process, on a heap of other rubbish, and with the C library's
 * functions for an older processor. Everything that leaves the core in some busy hours is written down and compared.
 * With the argument "digest" this program prints the digest alone, for its own children. */
#include "o3_test.h"
#include <sys/wait.h>
#include <unistd.h>
#include "o3/rehearsal.h"
#include "o3/text.h"
#include "rehearsal/coupling.h"

#define HOUR_NS (3600 * O3_NS_PER_S)
#define RECORD_BYTES_MAX ((size_t)256 * 1024 * 1024)

static const char CONFIG[] = "probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 0, linger: 30d}\n";

/* ---- what leaves the sidecar ---- */

static void on_event(void *ctx, struct o3_now now, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    o3_event_encode_json(now.wall_ms, ev, f, n, ctx);
    o3_buf_addf(ctx, " %lld\n", (long long)now.mono_ns);
}

static void on_sample(void *ctx, const struct o3_sample *s) {
    o3_sample_encode_json(s, "run", ctx);
    o3_buf_adds(ctx, "\n");
}

static void record_states(const struct o3_coupling *c, struct o3_buf *out) {
    for (int i = 0; i < c->n_states; i++) {
        o3_buf_adds(out, c->states[i].key);
        o3_buf_add(out, c->states[i].value, c->states[i].n);
    }
}

static void record_end(const struct o3_coupling *c, struct o3_buf *out) {
    o3_sidecar_status_json(c->sidecar, o3_coupling_now(c), out);
    o3_sidecar_models_json(c->sidecar, o3_coupling_now(c), out);
    o3_sidecar_presets_json(c->sidecar, out);
    o3_sidecar_show_metrics(c->sidecar);
    o3_metrics_render(c->metrics, O3_OPENMETRICS_1_0_0, out);
    const char *file = o3_memory_files_read(c->files, O3_COUPLING_PRESET_FILE, NULL);
    if (!file) fail_msg("no preset file was written");
    o3_buf_adds(out, file);
    record_states(c, out);
}

static struct o3_world *busy_world(const char *version, uint64_t seed) {
    static const char *const EVENTS[] = {
        "at 20m neighbour 30 % for 20m",  "at 50m decode -30 %",      "at 70m http 503 for 2m",  "at 80m runner killed",
        "at 80m load sim-small ctx 8192", "at 100m malformed for 3m", "at 110m oom fill for 5m",
    };
    struct o3_world_params p = {
        .seed = seed,
        .version = version,
        .start_wall_ms = O3_REHEARSAL_START_WALL_MS,
        .has_gpu = true,
        .vram_bytes = (int64_t)24 << 30,
        .noise_cv = 0.08,
        .parallel = 2,
        .memory_noise_bytes = (int64_t)28 << 20,
        .memory_overhead_bytes = (int64_t)400 << 20,
        .memory_bias = 0.01,
    };
    struct o3_world_users u = o3_world_users_default(), bursts = u;
    o3_str_copy(u.model, sizeof u.model, "sim-small");
    o3_str_copy(bursts.model, sizeof bursts.model, "sim-think");
    u.conversations_per_hour = 30;
    u.num_ctx = 8192;
    bursts.burst = 3;
    bursts.daily = 0.5;
    struct o3_err e = {0};
    struct o3_world *w = o3_world_new(&p);
    assert_int_equal(o3_world_preload(w, "sim-small", 8192, 0, &e), 0);
    assert_int_equal(o3_world_add_users(w, &u, &e), 0);
    assert_int_equal(o3_world_add_users(w, &bursts, &e), 0);
    for (size_t i = 0; i < sizeof EVENTS / sizeof *EVENTS; i++)
        if (o3_world_add_event(w, EVENTS[i], &e) < 0) fail_msg("\"%s\": %s", EVENTS[i], e.text);
    return w;
}

static void record_sidecar(uint64_t seed, struct o3_buf *out) {
    struct o3_err e = {0};
    struct o3_config *config;
    struct o3_conf_sources sources = {.file_name = "test", .file_text = CONFIG, .file_len = strlen(CONFIG)};
    if (o3_config_load(&sources, NULL, NULL, &config, &e) < 0) fail_msg("%s", e.text);
    struct o3_coupling_hooks hooks = {.ctx = out, .event = on_event, .sample = on_sample};
    struct o3_coupling *c;
    struct o3_world *w = busy_world(NULL, seed);
    assert_int_equal(o3_coupling_new(config, w, seed, O3_REHEARSAL_START_WALL_MS, &hooks, &c, &e), 0);
    o3_coupling_run(c, HOUR_NS);
    o3_coupling_stop(c, true);
    assert_int_equal(o3_coupling_start(c, &e), 0);
    o3_coupling_run(c, 2 * HOUR_NS + HOUR_NS / 4);
    record_end(c, out);
    o3_coupling_free(c);
}

/* ---- what leaves the world ---- */

static void record_outputs(struct o3_world *w, int64_t until_ns, struct o3_buf *out) {
    struct o3_world_output o;
    while (o3_world_poll(w, until_ns, &o)) {
        o3_buf_addf(out, "%llu %d %lld ", (unsigned long long)o.id, (int)o.kind, (long long)o.mono_ns);
        if (o.kind == O3_WORLD_HEAD)
            o3_buf_addf(out, "%d %s %d", o.status, o.content_type ? o.content_type : "-", o.is_chunked);
        if (o.kind == O3_WORLD_DATA) o3_buf_add(out, o.bytes, o.n);
        o3_buf_adds(out, "\n");
    }
    struct o3_world_served s;
    while (o3_world_take_served(w, &s))
        o3_buf_addf(out, "%d %u %u %lld %lld %lld\n", s.group, s.conversation, s.turn, (long long)s.sent_ns,
                    (long long)s.ttft_ns, (long long)s.total_ns);
}

static void record_world(const char *version, uint64_t seed, struct o3_buf *out) {
    static const char *const REQUESTS[][3] = {
        {"GET", "/api/version", ""},
        {"GET", "/api/tags", ""},
        {"GET", "/api/ps", ""},
        {"POST", "/api/show", "{\"model\":\"sim-medium\"}"},
        {"POST", "/api/generate", "{\"model\":\"sim-medium\",\"prompt\":\"a story\",\"options\":{\"num_predict\":40}}"},
        {"POST", "/api/chat", "{\"model\":\"sim-think\",\"messages\":[{\"role\":\"user\",\"content\":\"why?\"}]}"},
        {"POST", "/api/generate", "{\"model\":\"sim-small\",\"prompt\":\"go on\",\"stream\":false}"},
        {"POST", "/api/embed", "{\"model\":\"sim-embed\",\"input\":[\"one\",\"another\"]}"},
        {"POST", "/api/create",
         "{\"model\":\"mine\",\"from\":\"sim-small\",\"parameters\":{\"top_p\":0.9,\"num_ctx\":4096}}"},
        {"POST", "/api/generate", "{\"model\":\"none\",\"prompt\":\"x\"}"},
    };
    struct o3_world *w = busy_world(version, seed);
    for (int i = 0; i < 60; i++) {
        const char *const *q = REQUESTS[(size_t)i % (sizeof REQUESTS / sizeof *REQUESTS)];
        int64_t now = (int64_t)i * HOUR_NS / 60;
        record_outputs(w, now, out);
        o3_world_request(w, now, q[0], q[1], *q[2] ? q[2] : NULL, strlen(q[2]));
    }
    record_outputs(w, HOUR_NS, out);
    o3_world_free(w);
}

/* ---- what is reported ---- */

static void record_report(uint64_t seed, struct o3_buf *out) {
    static const char SCENARIO[] =
        "world gpu 24GiB\nworld noise 6 % ar 0.4\nworld load-effect 1 %\nworld daily 10 %\n"
        "world thermal 75C\nworld ambient 22C\nworld warm-up 3 requests\nload sim-small ctx 8192\n"
        "users 40/h sim-small turns 4 ctx 8192\n"
        "at 1h ambient 50C\nat 90m decode -25 %\nat 100m sidecar killed\nrun for 3h\n";
    struct o3_err e = {0};
    struct o3_scenario *scenario;
    if (o3_scenario_parse("repeat", SCENARIO, strlen(SCENARIO), &scenario, &e) < 0)
        fail_msg("%u:%u: %s", e.line, e.col, e.text);
    struct o3_rehearsal_params p = {
        .scenario = scenario, .seed = seed, .has_twin = true, .on_event = on_event, .ctx = out};
    struct o3_rehearsal *r;
    assert_int_equal(o3_rehearsal_new(&p, &r, &e), 0);
    o3_rehearsal_run(r, scenario->duration_ns);
    struct o3_runs *runs = o3_runs_new("repeat");
    assert_int_equal(o3_runs_add(runs, o3_rehearsal_finish(r)), 0);
    assert_int_equal(o3_runs_json(runs, false, out), 0);
    assert_int_equal(o3_runs_html(runs, false, out), 0);
    o3_runs_free(runs);
    o3_rehearsal_free(r);
    o3_scenario_free(scenario);
}

static void record_all(uint64_t seed, struct o3_buf *out) {
    o3_buf_init(out, RECORD_BYTES_MAX);
    record_world(NULL, seed, out);
    record_world("0.23.4", seed, out);
    record_sidecar(seed, out);
    record_report(seed, out);
    assert_true(out->len > 1000000);
}

static void digest_of(uint64_t seed, char hex[65]) {
    O3_AUTO_BUF all;
    record_all(seed, &all);
    o3_sha256_hex(o3_buf_str(&all), all.len, hex);
}

/* ---- tests ---- */

/* Holes of many sizes, full of rubbish, for what is allocated next. */
static void litter_heap(void) {
    enum { N = 4000 };
    void **pieces = calloc(N, sizeof *pieces);
    for (size_t i = 0; i < N; i++) {
        size_t n = 16 + i * 37 % 5000;
        pieces[i] = malloc(n);
        if (pieces[i]) memset(pieces[i], 0x5a, n);
    }
    for (size_t i = 0; i < N; i++)
        free(pieces[i]);
    free(pieces);
}

static void same_seed_same_bytes(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(11);
    O3_AUTO_BUF a, b;
    record_all(seed, &a);
    litter_heap();
    record_all(seed, &b);
    assert_int_equal(a.len, b.len);
    const char *p = o3_buf_str(&a), *q = o3_buf_str(&b);
    for (size_t i = 0; i < a.len; i++)
        if (p[i] != q[i]) fail_msg("byte %zu differs: \"%.80s\", then \"%.80s\"", i, p + i, q + i);
}

static void another_seed_gives_others(void **state) {
    (void)state;
    char one[65], other[65];
    digest_of(1, one);
    digest_of(2, other);
    assert_string_not_equal(one, other);
}

/* The digest as a process of its own finds it, with one more environment variable. */
static void digest_of_child(const char *setting, char hex[65]) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        char copy[200];
        snprintf(copy, sizeof copy, "%s", setting);
        putenv(copy);
        dup2(ends[1], STDOUT_FILENO);
        execl("/proc/self/exe", "test_repeat", "digest", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; n < 64 && (got = read(ends[0], hex + n, 64 - n)) > 0;)
        n += (size_t)got;
    hex[n] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0 || n != 64) fail_msg("child with %s: status %d", setting, status);
}

static void environment_does_not_matter(void **state) {
    (void)state;
    static const char *const SETTINGS[] = {
        /* what malloc leaves in new memory: the C library's, then that of the sanitizer */
        "MALLOC_PERTURB_=90",
        "ASAN_OPTIONS=max_malloc_fill_size=16777216:malloc_fill_byte=90",
        "ASAN_OPTIONS=max_malloc_fill_size=16777216:malloc_fill_byte=255",
        /* the functions of the C library for a processor that lacks these; names it does not know are ignored */
        "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-FMA,-FMA_Usable,-AVX512F,-AVX,-SSE4_2,-ERMS,-BMI2,-EVEX",
        "TZ=Pacific/Kiritimati",
        "LC_ALL=de_DE.UTF-8",
    };
    char here[65], there[65];
    digest_of(1, here);
    for (size_t i = 0; i < sizeof SETTINGS / sizeof *SETTINGS; i++) {
        digest_of_child(SETTINGS[i], there);
        if (strcmp(here, there)) fail_msg("other bytes with %s", SETTINGS[i]);
    }
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "digest")) {
        char hex[65];
        digest_of(1, hex);
        puts(hex);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_bytes),
        cmocka_unit_test(another_seed_gives_others),
        cmocka_unit_test(environment_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
