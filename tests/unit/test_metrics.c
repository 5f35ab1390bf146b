/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include <time.h>
#include "o3/metrics.h"
#include "o3/rand.h"

static struct o3_metrics *M;

static int setup(void **state) {
    (void)state;
    M = o3_metrics_new(100000);
    return M ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    o3_metrics_free(M);
    return 0;
}

static char *render(enum o3_exposition f) {
    struct o3_buf b;
    o3_buf_init(&b, 64 << 20);
    assert_int_equal(o3_metrics_render(M, f, &b), 0);
    return o3_buf_take(&b);
}

static void assert_has(enum o3_exposition f, const char *part) {
    char *text = render(f);
    if (!strstr(text, part)) fail_msg("not found:\n%s\nin:\n%s", part, text);
    free(text);
}

static void assert_lacks(enum o3_exposition f, const char *part) {
    char *text = render(f);
    if (strstr(text, part)) fail_msg("found:\n%s\nin:\n%s", part, text);
    free(text);
}

/* One allowed value for each label, the same for every metric where the label is open. */
static void fill_labels(enum o3_metric id, const char *model, size_t choice, const char **out) {
    const struct o3_metric_row *row = o3_metric_row(id);
    for (int i = 0; i < row->n_labels; i++) {
        size_t n;
        const char *const *set = o3_label_values(id, row->labels[i], &n);
        out[i] = set ? set[choice % n] : !strcmp(row->labels[i], "model") ? model : "x";
    }
}

static void touch(enum o3_metric id, const char *const *labels, double v) {
    enum o3_metric_kind kind = o3_metric_row(id)->kind;
    if (kind == O3_HISTOGRAM)
        o3_metric_observe(M, id, labels, v);
    else if (kind == O3_COUNTER)
        o3_metric_add(M, id, labels, v);
    else
        o3_metric_set(M, id, labels, v);
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static void test_table(void **state) {
    (void)state;
    for (int id = 0; id < O3_METRIC_COUNT; id++) {
        const struct o3_metric_row *row = o3_metric_row((enum o3_metric)id);
        bool is_ours = !strncmp(row->name, "o3_", 3) || !strncmp(row->name, "process_", 8);
        assert_true(is_ours && !strchr(row->name, ':'));
        assert_int_equal(row->kind == O3_COUNTER, ends_with(row->name, "_total"));
        assert_int_equal(row->kind == O3_INFO, ends_with(row->name, "_info"));
        assert_int_equal(row->kind == O3_HISTOGRAM, row->n_buckets > 0);
        char end[64];
        snprintf(end, sizeof end, "_%s%s", row->unit, row->kind == O3_COUNTER ? "_total" : "");
        if (*row->unit && !ends_with(row->name, end)) fail_msg("%s does not end in %s", row->name, end);
        if (row->kind != O3_INFO)
            for (int i = 0; i < row->n_labels; i++)
                assert_true(strcmp(row->labels[i], "digest") && strcmp(row->labels[i], "version"));
        assert_true(strlen(row->help) > 10 && !ends_with(row->help, ".") && row->help[0] >= 'A' && row->help[0] <= 'Z');
        for (int other = 0; other < id; other++) {
            assert_string_not_equal(row->help, o3_metric_row((enum o3_metric)other)->help);
            assert_string_not_equal(row->name, o3_metric_row((enum o3_metric)other)->name);
        }
    }
}

/* At most 300 series per model; a model generates (decode, prefill) or embeds, never both. */
/* Of a model, at the same time: one kind of usual probe and the prefill probe, the detector that is configured, one
 * reason of a pause, the likeliest cause of an incident. gpu_ratio and context go on when the setting changes; readings
 * (these and memory, and the share of successes) have no spread. No version tunes yet, in windows or at all; only a
 * usual probe finds a runner stuck. */
static size_t values_at_once(enum o3_metric id, const char *label, size_t n_values) {
    if (!strcmp(label, "kind")) return 2;
    bool is_cause = !strcmp(label, "cause") ||
                    !strcmp(label, "stratum"); /* of a signal, under the first of the conditions */
    if (!strcmp(label, "detector") || is_cause || id == O3_M_PROBE_PAUSED) return 1;
    if (id == O3_M_RELEASE_CHANGE_RATIO) return strcmp(label, "signal") ? 1 : n_values - 2;
    if (id == O3_M_PROBES_SKIPPED) return n_values - 2;
    return id == O3_M_BASELINE_STDDEV ? n_values - 4 : n_values;
}

static void test_series_per_model(void **state) {
    (void)state;
    size_t total = 0;
    for (int id = 0; id < O3_METRIC_COUNT; id++) {
        const struct o3_metric_row *row = o3_metric_row((enum o3_metric)id);
        if (row->is_later || !row->n_labels || strcmp(row->labels[0], "model")) continue;
        size_t n = row->kind == O3_HISTOGRAM ? (size_t)row->n_buckets + 3 : 1;
        for (int i = 1; i < row->n_labels; i++) {
            size_t values;
            if (!o3_label_values((enum o3_metric)id, row->labels[i], &values)) continue;
            n *= values_at_once((enum o3_metric)id, row->labels[i], values);
        }
        total += id == O3_M_PROBES ? n - 1 : n;
    }
    print_message("at most %zu series per model\n", total);
    assert_true(total <= 300);
}

static void test_gauge_and_counter(void **state) {
    (void)state;
    assert_true(isnan(o3_metric_get(M, O3_M_OLLAMA_UP, O3_NO_LABELS)));
    o3_metric_set(M, O3_M_OLLAMA_UP, O3_NO_LABELS, 1);
    o3_metric_add(M, O3_M_PROBES, O3_L("m", "decode", "ok"), 1);
    o3_metric_add(M, O3_M_PROBES, O3_L("m", "decode", "ok"), 2);
    o3_metric_add(M, O3_M_PROBES, O3_L("m", "decode", "ok"), -5);
    o3_metric_add(M, O3_M_PROBES, O3_L("m", "decode", "ok"), NAN);
    o3_metric_add(M, O3_M_PROBES, O3_L("m", "decode", "timeout"), 0);
    O3_ASSERT_NEAR(o3_metric_get(M, O3_M_PROBES, O3_L("m", "decode", "ok")), 3, 0);
    assert_int_equal(o3_metrics_series(M), 3);
    assert_has(O3_TEXT_0_0_4, "# TYPE o3_probes_total counter\n"
                              "o3_probes_total{model=\"m\",kind=\"decode\",result=\"ok\"} 3\n"
                              "o3_probes_total{model=\"m\",kind=\"decode\",result=\"timeout\"} 0\n# HELP");
    assert_has(O3_OPENMETRICS_1_0_0,
               "# TYPE o3_probes counter\no3_probes_total{model=\"m\",kind=\"decode\",result=\"ok\"} 3\n");
    assert_has(O3_TEXT_0_0_4, "\no3_ollama_up 1\n");
    o3_metric_set(M, O3_M_PROCESS_CPU_SECONDS, O3_NO_LABELS, 1.25);
    o3_metric_set(M, O3_M_PROCESS_CPU_SECONDS, O3_NO_LABELS, NAN);
    assert_has(O3_OPENMETRICS_1_0_0, "# TYPE process_cpu_seconds counter\n# UNIT process_cpu_seconds seconds\n"
                                     "process_cpu_seconds_total 1.25\n");
}

static void test_numbers(void **state) {
    (void)state;
    struct {
        double v;
        const char *text;
    } cases[] = {
        {0, "0"},       {-1, "-1"},         {0.1, "0.1"},        {1e15, "1e+15"}, {8589934592.0, "8589934592"},
        {-0.4, "-0.4"}, {INFINITY, "+Inf"}, {-INFINITY, "-Inf"}, {NAN, "NaN"},    {1.0 / 3, "0.3333333333333333"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        o3_metric_set(M, O3_M_HOST_MEMORY_AVAILABLE_BYTES, O3_NO_LABELS, cases[i].v);
        char line[128];
        snprintf(line, sizeof line, "\no3_host_memory_available_bytes %s\n", cases[i].text);
        assert_has(O3_TEXT_0_0_4, line);
    }
}

static void test_histogram(void **state) {
    (void)state;
    const double values[] = {0.00005, 0.0001, 0.2, 1, 7, NAN, INFINITY};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        o3_metric_observe(M, O3_M_LOOP_LAG_SECONDS, O3_NO_LABELS, values[i]);
    O3_ASSERT_NEAR(o3_metric_get(M, O3_M_LOOP_LAG_SECONDS, O3_NO_LABELS), 5, 0);
    assert_has(O3_TEXT_0_0_4, "o3_loop_lag_seconds_bucket{le=\"0.0001\"} 2\n");
    assert_has(O3_TEXT_0_0_4, "o3_loop_lag_seconds_bucket{le=\"0.25\"} 3\no3_loop_lag_seconds_bucket{le=\"1\"} 4\n"
                              "o3_loop_lag_seconds_bucket{le=\"+Inf\"} 5\no3_loop_lag_seconds_sum 8.20015\n"
                              "o3_loop_lag_seconds_count 5\n");
    assert_has(O3_OPENMETRICS_1_0_0, "o3_loop_lag_seconds_bucket{le=\"1.0\"} 4\n");
    o3_metric_observe(M, O3_M_PROBE_TIME_TO_FIRST_TOKEN_SECONDS, O3_L("m", "decode"), 0.3);
    assert_has(O3_OPENMETRICS_1_0_0,
               "o3_probe_time_to_first_token_seconds_bucket{model=\"m\",kind=\"decode\",le=\"10.0\"} 1\n");
}

static void test_info_and_escaping(void **state) {
    (void)state;
    o3_metric_set(M, O3_M_OLLAMA_INFO, O3_L("a\"b\\c\nd\xff\xc3\xa9"), 42);
    assert_has(O3_TEXT_0_0_4, "# TYPE o3_ollama_info gauge\no3_ollama_info{version=\"a\\\"b\\\\c\\nd?\xc3\xa9\"} 1\n");
    assert_has(O3_OPENMETRICS_1_0_0, "# TYPE o3_ollama info\no3_ollama_info{");
    o3_metric_drop_matching(M, O3_M_OLLAMA_INFO, NULL, 0);
    assert_lacks(O3_TEXT_0_0_4, "o3_ollama_info");
    /* An open value is cut at a character, and both spellings reach the same series. */
    char longer[200];
    memset(longer, 'x', sizeof longer);
    memcpy(longer + 127, "\xc3\xa9", 2);
    longer[199] = '\0';
    o3_metric_set(M, O3_M_OLLAMA_INFO, O3_L(longer), 1);
    longer[127] = '\0';
    O3_ASSERT_NEAR(o3_metric_get(M, O3_M_OLLAMA_INFO, O3_L(longer)), 1, 0);
}

static void test_order_and_drop(void **state) {
    (void)state;
    const char *models[] = {"b", "a:2", "a", "ab", "c"};
    for (size_t i = 0; i < 5; i++) {
        o3_metric_set(M, O3_M_MODEL_LOADED, O3_L(models[i]), 1);
        o3_metric_add(M, O3_M_PROBES, O3_L(models[i], "decode", "ok"), 1);
        o3_metric_add(M, O3_M_PROBES, O3_L(models[i], "prefill", "ok"), 1);
    }
    assert_has(O3_TEXT_0_0_4, "o3_model_loaded{model=\"a\"} 1\no3_model_loaded{model=\"a:2\"} 1\n"
                              "o3_model_loaded{model=\"ab\"} 1\no3_model_loaded{model=\"b\"} 1\n");
    o3_metric_drop(M, O3_M_MODEL_LOADED, O3_L("a"));
    o3_metric_drop(M, O3_M_MODEL_LOADED, O3_L("nobody"));
    assert_lacks(O3_TEXT_0_0_4, "o3_model_loaded{model=\"a\"}");
    assert_has(O3_TEXT_0_0_4, "o3_model_loaded{model=\"a:2\"} 1\n");
    o3_metric_drop_matching(M, O3_M_PROBES, (const char *const[]){NULL, "decode"}, 2);
    assert_lacks(O3_TEXT_0_0_4, "kind=\"decode\"");
    assert_has(O3_TEXT_0_0_4, "o3_probes_total{model=\"a\",kind=\"prefill\",result=\"ok\"} 1\n");
    o3_metrics_drop_label(M, "model", "a:2");
    assert_lacks(O3_TEXT_0_0_4, "a:2");
    assert_int_equal(o3_metrics_series(M), 3 + 4);
}

static void test_limit(void **state) {
    (void)state;
    struct o3_metrics *small = o3_metrics_new(2);
    for (int i = 0; i < 5; i++)
        o3_metric_set(small, O3_M_MODEL_LOADED, O3_L((const char[]){(char)('a' + i), '\0'}), 1);
    assert_int_equal(o3_metrics_series(small), 2);
    assert_int_equal(o3_metrics_dropped(small), 3);
    o3_metrics_free(M);
    M = small;
    assert_has(O3_TEXT_0_0_4, "o3_series_dropped_total 3\n");
}

/* Whatever the order of the calls, the same state gives the same bytes. */
static void test_same_state_same_bytes(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(7));
    char *first = NULL;
    for (int round = 0; round < 5; round++) {
        o3_metrics_free(M);
        M = o3_metrics_new(100000);
        int order[O3_METRIC_COUNT];
        for (int i = 0; i < O3_METRIC_COUNT; i++) {
            int j = (int)o3_rand_below(&r, (uint64_t)i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        for (int i = 0; i < O3_METRIC_COUNT; i++) {
            if (order[i] == O3_M_SERIES_DROPPED) continue;
            const char *labels[O3_METRIC_MAX_LABELS];
            for (size_t choice = 0; choice < 12; choice++) {
                size_t c = round % 2 ? 11 - choice : choice;
                fill_labels((enum o3_metric)order[i], c < 6 ? "one:1b" : "two:2b", c, labels);
                touch((enum o3_metric)order[i], labels, 1);
            }
        }
        char *text = render(O3_OPENMETRICS_1_0_0);
        assert_true(ends_with(text, "\n# EOF\n"));
        if (first) assert_string_equal(first, text);
        free(first);
        first = text;
    }
    free(first);
}

static void test_speed(void **state) {
    (void)state;
    for (int i = 0; i < 64; i++) {
        char model[32];
        snprintf(model, sizeof model, "model-%d:7b", i);
        for (int id = 0; id < O3_METRIC_COUNT; id++) {
            const char *labels[O3_METRIC_MAX_LABELS];
            fill_labels((enum o3_metric)id, model, 0, labels);
            if (id != O3_M_SERIES_DROPPED) touch((enum o3_metric)id, labels, 0.1 * i);
        }
    }
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    char *text = render(O3_OPENMETRICS_1_0_0);
    clock_gettime(CLOCK_MONOTONIC, &b);
    size_t lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    free(text);
    print_message("%zu series, %zu lines in %.2f ms\n", o3_metrics_series(M), lines,
                  (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) * 1e-6);
}

static void test_negotiation(void **state) {
    (void)state;
    const enum o3_exposition T = O3_TEXT_0_0_4, O = O3_OPENMETRICS_1_0_0;
    struct {
        const char *accept;
        enum o3_exposition expected;
    } cases[] = {
        {NULL, T},
        {"", T},
        {"*/*", T},
        {"text/html", T},
        {"text/plain", T},
        {"garbage;;;,,;q=", T},
        {"application/openmetrics-text", O},
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         O},
        {"application/openmetrics-text; version=\"1.0.0\"; "
         "escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
         O},
        {"application/openmetrics-text;q=0.3,text/plain;q=0.5", T},
        {"application/openmetrics-text;q=0.3,text/*;q=0.2,*/*;q=0.9", O},
        {"application/openmetrics-text;q=0", T},
        {"application/openmetrics-text;q=0,*/*", T},
        {"application/openmetrics-text;version=2.0.0,text/plain;q=0.1", T},
        {"application/openmetrics-text;q=1.001", T},
        {"application/openmetrics-text;q=0.0001", T},
        {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
         "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4",
         O},
        {"APPLICATION/OpenMetrics-Text ; Q=0.9 , text/plain;q=0.8", O},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (o3_exposition_negotiate(cases[i].accept) != cases[i].expected) fail_msg("wrong for %s", cases[i].accept);
    assert_non_null(strstr(o3_exposition_content_type(T), "text/plain; version=0.0.4"));
    assert_non_null(strstr(o3_exposition_content_type(O), "version=1.0.0"));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_table),
        TEST(test_series_per_model),
        TEST(test_gauge_and_counter),
        TEST(test_numbers),
        TEST(test_histogram),
        TEST(test_info_and_escaping),
        TEST(test_order_and_drop),
        TEST(test_limit),
        TEST(test_same_state_same_bytes),
        TEST(test_speed),
        TEST(test_negotiation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
