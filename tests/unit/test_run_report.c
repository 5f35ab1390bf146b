/* SPDX-License-Identifier: Apache-2.0 */
/* The reports of rehearsals, on runs made by hand. */
#include "o3_test.h"
#include <jansson.h>
#include "o3/rand.h"
#include "o3/run.h"
#include "o3/text.h"

#define DAY_NS (86400 * O3_NS_PER_S)
#define HOSTILE "<b>&\"'\x1b[31m\xff"

/* ---- runs ---- */

static struct o3_run *empty_run(uint64_t seed, int64_t days) {
    struct o3_run *o = calloc(1, sizeof *o);
    assert_non_null(o);
    o3_run_init(o);
    o->seed = seed;
    o->simulated_ns = days * DAY_NS;
    return o;
}

static void add_probes(struct o3_run *o, int n_models) {
    o->n_probes = 1000 * o->simulated_ns / DAY_NS;
    o->n_failed_probes = 3;
    o->n_probe_tokens = 40 * o->n_probes;
    o->busy_seconds = 0.4 * (double)o->n_probes;
    o->n_loads = 12;
    o->n_models = n_models;
    for (int i = 0; i < n_models; i++) {
        struct o3_run_model *m = &o->models[i];
        snprintf(m->name, sizeof m->name, "sim-%d:latest", i);
        m->n_probes = o->n_probes / n_models;
    }
}

static void add_series(struct o3_run *o, struct o3_rand *r) {
    for (int i = 0; i < o->n_models; i++) {
        struct o3_run_series *s[] = {&o->models[i].decode_rate, &o->models[i].ttft_seconds};
        for (int k = 0; k < 2; k++) {
            s[k]->step_ns = o->simulated_ns / O3_RUN_POINTS_MAX;
            s[k]->n = O3_RUN_POINTS_MAX;
            for (int j = 0; j < s[k]->n; j++) {
                double level = (k ? 0.2 : 40.0) * (1 + 0.02 * o3_rand_normal(r));
                if (j > 430 && j < 560) level *= k ? 1.2 : 0.85;
                s[k]->value[j] = j % 97 > 80 ? NAN : (float)level;
            }
        }
    }
}

static void add_change(struct o3_run *o, int64_t at_ns, double ratio, bool is_told) {
    struct o3_run_change *c = &o->changes[o->n_changes++];
    *c = (struct o3_run_change){.at_ns = at_ns, .until_ns = at_ns + 5 * DAY_NS, .ratio = ratio, .told_ns = INT64_MAX};
    o3_str_copy(c->signal, sizeof c->signal, "decode_rate");
    if (!is_told) return;
    c->told_ns = at_ns + 840 * O3_NS_PER_S;
    o3_spread_add(&o->delay_seconds, 840);
}

static void add_alarm(struct o3_run *o, int64_t at_ns, double ratio, double true_ratio, bool is_true) {
    struct o3_run_alarm *a = &o->alarms[o->n_alarms++];
    *a = (struct o3_run_alarm){.at_ns = at_ns,
                               .since_ns = at_ns - 600 * O3_NS_PER_S,
                               .ratio = ratio,
                               .true_ratio = true_ratio,
                               .is_true = is_true};
    o3_str_copy(a->signal, sizeof a->signal, "decode_rate");
    o->n_false_alarms += !is_true;
}

/* Takes the newest alarm in. */
static void add_incident(struct o3_run *o, const char *cause, const char *expected) {
    struct o3_run_incident *i = &o->incidents[o->n_incidents++];
    struct o3_run_alarm *a = &o->alarms[o->n_alarms - 1];
    *i = (struct o3_run_incident){.id = o->n_incidents, .opened_ns = a->at_ns, .closed_ns = INT64_MAX, .weight = 0.75};
    o3_str_copy(i->cause, sizeof i->cause, cause);
    o3_str_copy(i->expected, sizeof i->expected, expected);
    o3_str_copy(i->evidence, sizeof i->evidence, "<fans> & \"heat\"");
    a->incident = i->id;
}

static void add_users(struct o3_run *o, struct o3_rand *r, bool has_twin) {
    o->has_twin = has_twin;
    o->n_requests = 2000;
    o->n_failed_requests = 4;
    for (int i = 0; i < o->n_requests; i++) {
        double ttft = 0.3 * exp(0.8 * o3_rand_normal(r)), total = ttft + 4 * exp(0.5 * o3_rand_normal(r));
        uint64_t luck = o3_rand_below(r, 100);
        double added = luck == 0 ? 0.5 * o3_rand_uniform(r) : luck == 1 ? -3 * o3_rand_uniform(r) : 0;
        o3_spread_add(&o->ttft, ttft + fmax(added, 0));
        o3_spread_add(&o->total, total + fmax(added, 0));
        if (!has_twin) continue;
        o3_spread_add(&o->twin_ttft, ttft - fmin(added, 0));
        o3_spread_add(&o->twin_total, total - fmin(added, 0));
        o3_spread_add(&o->added_ttft, added);
        o3_spread_add(&o->added_total, added);
    }
    o->n_twin_failed_requests = has_twin ? 3 : 0;
    o->n_prefixes_swapped = 7;
}

static void break_expectation(struct o3_run *o, uint32_t line, const char *text, const char *found) {
    o3_str_copy(o->failures[o->n_broken].text, sizeof o->failures[0].text, text);
    o3_str_copy(o->failures[o->n_broken].found, sizeof o->failures[0].found, found);
    o->failures[o->n_broken++].line = line;
}

/* A run with everything in it. */
static struct o3_run *full_run(uint64_t seed) {
    struct o3_rand r;
    struct o3_run *o = empty_run(seed, 30);
    o3_rand_seed(&r, seed);
    add_probes(o, 3);
    add_series(o, &r);
    add_users(o, &r, true);
    add_change(o, 18 * DAY_NS, -0.15, true);
    add_change(o, 25 * DAY_NS, -0.06, false);
    add_alarm(o, 18 * DAY_NS + 840 * O3_NS_PER_S, -0.162, -0.15, true);
    if (seed % 3 == 1) add_alarm(o, 8 * DAY_NS, 0.06, 0, false);
    o->n_preset_writes = 5;
    o->n_restarts = 1;
    o->n_expects = 3;
    return o;
}

/* ---- reading ---- */

typedef int form_fn(const struct o3_runs *t, bool has_wall_times, struct o3_buf *out);

static char *report_with(form_fn *form, const char *name, const struct o3_run *runs, size_t n, bool has_wall_times) {
    struct o3_runs *t = o3_runs_new(name);
    assert_non_null(t);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(o3_runs_add(t, &runs[i]), 0);
    struct o3_buf out;
    o3_buf_init(&out, 8u << 20);
    assert_int_equal(form(t, has_wall_times, &out), 0);
    assert_int_equal(strlen(o3_buf_str(&out)), out.len);
    o3_runs_free(t);
    return o3_buf_take(&out);
}

static char *report(form_fn *form, const char *name, const struct o3_run *runs, size_t n) {
    return report_with(form, name, runs, n, false);
}

static json_t *json_of(const struct o3_run *runs, size_t n) {
    char *text = report(o3_runs_json, "t", runs, n);
    json_error_t e;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &e);
    if (!root) fail_msg("%s at %d: %s", e.text, e.position, text);
    free(text);
    return root;
}

/* By a path of keys: "summary.users.failed.count"; NULL when absent. */
static const json_t *at(const json_t *o, const char *path) {
    while (o && *path) {
        char key[64];
        size_t n = strcspn(path, ".");
        o3_str_copy_n(key, sizeof key, path, n);
        o = json_object_get(o, key);
        path += n + (path[n] == '.');
    }
    return o;
}

static double number_at(const json_t *o, const char *path) {
    const json_t *v = at(o, path);
    if (!json_is_number(v)) fail_msg("no number at %s", path);
    return json_number_value(v);
}

static void assert_has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void assert_lacks(const char *text, const char *part) {
    if (strstr(text, part)) fail_msg("\"%s\" is in:\n%s", part, text);
}

static size_t count_of(const char *text, const char *part) {
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, part)); p += strlen(part))
        n++;
    return n;
}

/* ---- tests ---- */

static void good_means_nothing_broken_torn_or_reloaded(void **state) {
    (void)state;
    struct o3_run *o = full_run(1);
    assert_true(o3_run_is_good(o));
    o->n_broken = 1;
    assert_false(o3_run_is_good(o));
    o->n_broken = 0;
    o->n_torn_files = 1;
    assert_false(o3_run_is_good(o));
    o->n_torn_files = 0;
    o->n_induced_reloads = 1;
    assert_false(o3_run_is_good(o));
    free(o);
}

static void table_tells_what_was_counted(void **state) {
    (void)state;
    struct o3_run *o = full_run(1);
    char *text = report(o3_runs_text, "night.o3s", o, 1);
    assert_has(text, "night.o3s: 30 d, seed 1\nGOOD: every expectation met");
    /* one false alarm in 30 days: Garwood's 0.025 to 5.57 */
    assert_has(text, "  False alarms                 1\n");
    assert_has(text, "    per 30 days                1                     95 %: 0.025 to 5.6\n");
    assert_has(text, "  Changes told                 1 of 2                95 %: 9.5 to 91 %\n");
    assert_has(text, "  Detection delay, median      14 min                p90 14 min\n");
    assert_has(text, "  Size error of true alarms    median 1.2 points     p90 1.2 percentage points\n");
    assert_has(text, "  Probes failed                3 of 30,000 ");
    assert_has(text, "  Share of time busy by probes 0.46 %\n");
    assert_has(text, "  Probe tokens per day         40,000\n");
    assert_has(
        text,
        "  Reloads by probes            0\n    per day                    0                     95 %: 0 to 0.12\n");
    assert_has(text, "  Requests failed              4 of 2,000            3\n");
    assert_has(text, "  Added to first token, p50    0 ms\n");
    assert_has(text, "  Expectations met             3 of 3\n");
    assert_has(text, "  18d 00:00:00  sim-0:latest decode_rate -15.0 %, told after 14 min\n");
    assert_has(text, "  25d 00:00:00  sim-0:latest decode_rate -6.0 %, MISSED\n");
    assert_has(text, "  18d 00:14:00  sim-0:latest decode_rate -16.2 %, in truth -15.0 %: true\n");
    assert_has(text, "  8d 00:00:00   sim-0:latest decode_rate +6.0 %, in truth +0.0 %: FALSE\n");
    free(text);
    free(o);
}

static void lines_fit_into_80_columns(void **state) {
    (void)state;
    struct o3_run *runs = calloc(100, sizeof *runs);
    assert_non_null(runs);
    char longest[200];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    for (size_t i = 0; i < 100; i++) {
        struct o3_run *o = full_run(1000 + i);
        o->n_requests = 123456789012;
        o->n_failed_requests = 123456789;
        o->n_probes = 98765432109;
        o->n_failed_probes = 12345678;
        o->n_skipped_probes = 1234567890;
        break_expectation(
            o, 3, "by 18h20 expect confirmed slower of a model whose name goes on and on model=sim-medium:latest",
            "nothing");
        break_expectation(o, 1000, longest, longest);
        runs[i] = *o;
        free(o);
    }
    char *text = report(o3_runs_text, longest, runs, 100);
    for (char *p = text, *end; *p; p = end + 1) {
        end = strchr(p, '\n');
        assert_non_null(end);
        if (end - p > 80) fail_msg("%d columns: %.*s", (int)(end - p), (int)(end - p), p);
    }
    assert_has(text, "NOT GOOD: 200 broken expectations");
    assert_has(text, "in 100 of 100 runs, first with seed 1000\n");
    assert_has(text, "\nSeeds of the runs that are not good\n  1000 1001 1002 ");
    free(text);
    free(runs);
}

/* Only a machine with a GPU can have less of it than a load wants. */
static void spilled_loads_are_told_of_a_gpu(void **state) {
    (void)state;
    struct o3_run *o = full_run(1);
    char *text = report(o3_runs_text, "t", o, 1);
    assert_lacks(text, "pilled");
    free(text);
    json_t *root = json_of(o, 1);
    assert_null(at(root, "summary.spilled_loads"));
    assert_null(json_object_get(json_array_get(json_object_get(root, "runs"), 0), "spilled_loads"));
    json_decref(root);
    o->has_gpu = true;
    o->n_spilled_loads = 3;
    text = report(o3_runs_text, "t", o, 1);
    assert_has(text, "  Loads spilled to the CPU     3 of 12               95 %: 8.9 to 53 %\n");
    free(text);
    root = json_of(o, 1);
    O3_ASSERT_NEAR(number_at(root, "summary.spilled_loads.count"), 3, 0);
    O3_ASSERT_NEAR(number_at(root, "summary.spilled_loads.ratio"), 0.25, 1e-12);
    O3_ASSERT_NEAR(number_at(json_array_get(json_object_get(root, "runs"), 0), "spilled_loads"), 3, 0);
    json_decref(root);
    free(o);
}

/* What was not exercised has no row, no field and no picture: never a 0. */
static void what_was_not_exercised_is_absent(void **state) {
    (void)state;
    static const char *const WORDS[] = {"Changes", "delay",   "Size error",      "Users", "irst token", "without",
                                        "Presets", "Restart", "xpectations met", "Seeds", "cause",      "regret"};
    static const char *const FIELDS[] = {
        "summary.changes",     "summary.changes_told", "summary.detection_delay_seconds", "summary.users",
        "summary.presets",     "summary.restarts",     "summary.size_error_ratio",        "summary.expectations",
        "broken_expectations", "summary.wall_seconds"};
    struct o3_run *o = empty_run(4, 30);
    add_probes(o, 1);
    o->wall_seconds = 12.5;
    char *text = report(o3_runs_text, "t", o, 1), *page = report(o3_runs_html, "t", o, 1);
    json_t *root = json_of(o, 1);
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        assert_lacks(text, WORDS[i]);
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++)
        if (at(root, FIELDS[i])) fail_msg("%s is there", FIELDS[i]);
    assert_lacks(page, "<svg");
    assert_lacks(page, "Users");
    assert_has(text, "False alarms"); /* probes there were: this 0 is one */
    assert_int_equal(number_at(root, "summary.false_alarms.count"), 0);
    json_decref(root);
    free(text);
    free(page);
    free(o);
}

static void incidents_are_told_with_their_causes(void **state) {
    (void)state;
    struct o3_run *runs = calloc(2, sizeof *runs);
    for (size_t i = 0; i < 2; i++) {
        struct o3_run *o = empty_run(i + 1, 1);
        add_probes(o, 1);
        add_alarm(o, 3600 * O3_NS_PER_S, -0.2, -0.2, true);
        add_incident(o, "throttling", i == 0 ? "throttling" : "swapping");
        add_alarm(o, 7200 * O3_NS_PER_S, -0.3, -0.3, true);
        add_incident(o, "unknown", "");
        o->incidents[1].closed_ns = 9000 * O3_NS_PER_S;
        runs[i] = *o;
        free(o);
    }
    char *text = report(o3_runs_text, "x", runs, 1);
    assert_has(text, "  Incidents                    2\n");
    assert_has(text, "    told with the named cause  1 of 1 ");
    assert_has(text, "incident 1, throttling");
    assert_has(text, "  01:00:00      1, open at the end: throttling (75 %): <fans>");
    assert_has(text, " names it\n");
    assert_has(text, "02:00:00      2, settled 02:30:00: unknown");
    free(text);
    text = report(o3_runs_text, "x", runs + 1, 1);
    assert_has(text, "swapping: WRONG\n");
    free(text);
    text = report(o3_runs_text, "x", runs, 2);
    assert_has(text, "  Incidents                    4\n");
    assert_has(text, "    told with the named cause  1 of 2 ");
    free(text);
    json_t *root = json_of(runs, 2);
    assert_int_equal(number_at(root, "summary.incidents"), 4);
    assert_int_equal(number_at(root, "summary.causes_right.count"), 1);
    O3_ASSERT_NEAR(number_at(root, "summary.causes_right.ratio"), 0.5, 1e-12);
    assert_int_equal(number_at(json_array_get(at(root, "runs"), 1), "causes_right"), 0);
    assert_int_equal(number_at(json_array_get(at(root, "first_run.alarms"), 1), "incident"), 2);
    const json_t *first = json_array_get(at(root, "first_run.incidents"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "cause")), "throttling");
    assert_string_equal(json_string_value(json_object_get(first, "expected_cause")), "throttling");
    assert_null(json_object_get(first, "closed_seconds"));
    json_decref(root);
    text = report(o3_runs_html, "x", runs, 1);
    assert_has(text, "&lt;fans&gt; &amp; &quot;heat&quot;");
    assert_has(text, "1: throttling");
    assert_null(strstr(text, "<fans>"));
    free(text);
    free(runs);
}

static void without_probes_nothing_is_said_of_alarms(void **state) {
    (void)state;
    struct o3_run *o = empty_run(4, 1);
    char *text = report(o3_runs_text, "t", o, 1);
    json_t *root = json_of(o, 1);
    assert_lacks(text, "larms");
    assert_lacks(text, "Reloads by probes");
    assert_null(at(root, "summary.false_alarms"));
    assert_null(at(root, "summary.induced_reloads"));
    json_decref(root);
    free(text);
    free(o);
}

static void without_a_twin_no_wait_is_added(void **state) {
    (void)state;
    struct o3_rand r;
    struct o3_run *o = empty_run(4, 1);
    o3_rand_seed(&r, 4);
    add_probes(o, 1);
    add_users(o, &r, false);
    char *text = report(o3_runs_text, "t", o, 1), *page = report(o3_runs_html, "t", o, 1);
    json_t *root = json_of(o, 1);
    assert_has(text, "First token after, p50");
    assert_lacks(text, "Added");
    assert_lacks(text, "without");
    assert_lacks(page, "Wait added");
    assert_lacks(page, "path class=\"line without\"");
    assert_non_null(at(root, "summary.users.ttft_seconds.p99"));
    assert_null(at(root, "summary.users.without_sidecar"));
    assert_null(at(root, "summary.users.added_ttft_seconds"));
    json_decref(root);
    free(text);
    free(page);
    free(o);
}

static void json_has_the_same_facts(void **state) {
    (void)state;
    struct o3_run *runs = calloc(4, sizeof *runs);
    assert_non_null(runs);
    for (size_t i = 0; i < 4; i++) {
        struct o3_run *o = full_run(1 + i);
        if (i == 2) break_expectation(o, 7, "never expect x", "x at 3h");
        runs[i] = *o;
        free(o);
    }
    json_t *root = json_of(runs, 4);
    assert_true(json_is_false(at(root, "is_good")));
    assert_int_equal(json_array_size(at(root, "failing_seeds")), 1);
    assert_int_equal(json_integer_value(json_array_get(at(root, "failing_seeds"), 0)), 3);
    assert_int_equal(json_array_size(at(root, "runs")), 4);
    assert_int_equal(number_at(json_array_get(at(root, "runs"), 3), "false_alarms"), 1);
    assert_int_equal(number_at(root, "summary.false_alarms.count"), 2); /* seeds 1 and 4 */
    O3_ASSERT_NEAR(number_at(root, "summary.false_alarms.per_30_days"), 0.5, 1e-12);
    O3_ASSERT_NEAR(number_at(root, "summary.false_alarms.hi95"), 7.2247 / 4, 1e-4);
    O3_ASSERT_NEAR(number_at(root, "summary.changes_told.ratio"), 0.5, 0);
    O3_ASSERT_NEAR(number_at(root, "summary.detection_delay_seconds.p50"), 840, 0);
    O3_ASSERT_NEAR(number_at(root, "summary.induced_reloads.hi95"), 3.6889 / 120, 1e-6);
    O3_ASSERT_NEAR(number_at(root, "summary.good_runs.ratio"), 0.75, 0);
    assert_int_equal(number_at(root, "summary.users.added_ttft_seconds.count"), 8000);
    assert_int_equal(number_at(root, "summary.expectations.met"), 11);
    const json_t *broken = json_array_get(at(root, "broken_expectations"), 0);
    assert_string_equal(json_string_value(at(broken, "text")), "never expect x");
    assert_int_equal(number_at(broken, "first_seed"), 3);
    assert_int_equal(json_array_size(at(root, "first_run.alarms")), 2);
    json_decref(root);
    free(runs);
}

static void outside_text_is_escaped(void **state) {
    (void)state;
    struct o3_run *o = full_run(2);
    break_expectation(o, 7, HOSTILE, HOSTILE);
    o3_str_copy(o->models[0].name, sizeof o->models[0].name, HOSTILE);
    char *page = report(o3_runs_html, HOSTILE, o, 1), *text = report(o3_runs_text, HOSTILE, o, 1);
    assert_lacks(page, "<b>&\"");
    assert_has(page, "&lt;b&gt;&amp;&quot;&#39; [31m\xef\xbf\xbd");
    assert_lacks(page, "\x1b");
    assert_lacks(text, "\x1b");
    json_t *root = json_of(o, 1); /* parses */
    assert_string_equal(json_string_value(at(json_array_get(at(root, "broken_expectations"), 0), "text")),
                        "<b>&\"'\x1b[31m\xef\xbf\xbd");
    json_decref(root);
    free(page);
    free(text);
    free(o);
}

static void page_is_self_contained_and_has_its_plots(void **state) {
    (void)state;
    struct o3_run *runs = calloc(2, sizeof *runs);
    assert_non_null(runs);
    for (size_t i = 0; i < 2; i++) {
        struct o3_run *o = full_run(1 + i);
        runs[i] = *o;
        free(o);
    }
    char *page = report(o3_runs_html, "t", runs, 2);
    static const char *const REFERENCES[] = {"http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link"};
    for (size_t i = 0; i < sizeof REFERENCES / sizeof *REFERENCES; i++)
        assert_lacks(page, REFERENCES[i]);
    /* 4 of users, 2 of each of 3 models, 2 by seed */
    assert_int_equal(count_of(page, "<svg "), 12);
    assert_int_equal(count_of(page, "role=\"img\" aria-label=\""), 12);
    assert_int_equal(count_of(page, "<g class=\"true\">"), 1);
    assert_int_equal(count_of(page, "<g class=\"false\">"), 1);
    assert_int_equal(count_of(page, "<rect class=\"change\""), 4); /* two changes, in two plots of a model */
    assert_int_equal(count_of(page, "<svg "), count_of(page, "</svg>"));
    assert_lacks(page, "nan");
    free(page);
    free(runs);
}

static void same_runs_same_bytes(void **state) {
    (void)state;
    form_fn *const forms[] = {o3_runs_text, o3_runs_json, o3_runs_html};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct o3_run *a = full_run(5), *b = full_run(5);
        a->wall_seconds = 1;
        b->wall_seconds = 2; /* no part of it */
        char *first = report(forms[i], "t", a, 1), *second = report(forms[i], "t", b, 1);
        assert_string_equal(first, second);
        char *timed = report_with(forms[i], "t", a, 1, true);
        assert_string_not_equal(timed, first); /* unless asked for */
        free(timed);
        free(first);
        free(second);
        free(a);
        free(b);
    }
}

/* Rows and sums alone: thousands of runs are no matter of memory, and the page stays small. */
static void many_runs_stay_small(void **state) {
    (void)state;
    struct o3_runs *t = o3_runs_new("t");
    struct o3_run *o = full_run(1);
    assert_non_null(t);
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        o->seed = seed;
        o->n_broken = 0;
        if (seed % 50 == 0) break_expectation(o, 9, "by 3h expect x", "no x");
        assert_int_equal(o3_runs_add(t, o), 0);
    }
    assert_int_equal(o3_runs_count(t), 2000);
    assert_int_equal(o3_runs_count_bad(t), 40);
    O3_AUTO_BUF page;
    o3_buf_init(&page, 1u << 20);
    assert_int_equal(o3_runs_html(t, false, &page), 0);
    assert_has(o3_buf_str(&page), "in 40 of 2000 runs, first with seed 50");
    o3_buf_clear(&page);
    assert_int_equal(o3_runs_text(t, false, &page), 0);
    assert_has(o3_buf_str(&page), "\n  50 100 150 200 ");
    o3_runs_free(t);
    free(o);
}

static void more_runs_than_fit_are_refused(void **state) {
    (void)state;
    struct o3_runs *t = o3_runs_new("t");
    struct o3_run *o = empty_run(1, 1);
    for (int i = 0; i < O3_RUNS_MAX; i++)
        assert_int_equal(o3_runs_add(t, o), 0);
    assert_int_equal(o3_runs_add(t, o), O3_E_LIMIT);
    o3_runs_free(t);
    free(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_means_nothing_broken_torn_or_reloaded),
        cmocka_unit_test(table_tells_what_was_counted),
        cmocka_unit_test(lines_fit_into_80_columns),
        cmocka_unit_test(spilled_loads_are_told_of_a_gpu),
        cmocka_unit_test(what_was_not_exercised_is_absent),
        cmocka_unit_test(incidents_are_told_with_their_causes),
        cmocka_unit_test(without_probes_nothing_is_said_of_alarms),
        cmocka_unit_test(without_a_twin_no_wait_is_added),
        cmocka_unit_test(json_has_the_same_facts),
        cmocka_unit_test(outside_text_is_escaped),
        cmocka_unit_test(page_is_self_contained_and_has_its_plots),
        cmocka_unit_test(same_runs_same_bytes),
        cmocka_unit_test(many_runs_stay_small),
        cmocka_unit_test(more_runs_than_fit_are_refused),
    };
    return cmocka_run_group_tests_name("run_report", tests, NULL, NULL);
}
