/* SPDX-License-Identifier: Apache-2.0 */
/* The sidecar's promises on a virtual clock against the simulated Ollama: it harms nobody, it sees a change, it says so
 * once, it keeps the presets, it forgets nothing over a restart. */
#include "sim/rig.h"

#define MODEL "sim-small:latest"
/* Budget lifted, so that a test needs minutes and not days. */
#define FAST "probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 0, linger: 30d}\n"

static int64_t loads_after_first(struct rig *r) {
    struct o3_world_truth t;
    o3_world_truth(r->world, r->now_ns, &t);
    return t.n_loads - 1;
}

static void test_quiet_day_is_quiet(void **state) {
    (void)state;
    struct rig *r = rig_new("probe: {linger: 30d}\n", NULL);
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 24 * RIG_HOUR_MS);
    assert_int_equal(rig_count_events(r, O3_EV_DRIFT_CONFIRMED), 0);
    assert_int_equal(rig_count_events(r, O3_EV_OLLAMA_DOWN), 0);
    assert_int_equal(loads_after_first(r), 0);
    assert_true(r->n_samples > 200);
    double busy = rig_metric(r, O3_M_PROBE_BUSY_SECONDS, O3_L(MODEL));
    if (!(busy > 0 && busy <= 0.005 * 86400 * 1.1)) fail_msg("busy %.1f s a day", busy);
    assert_true(rig_metric(r, O3_M_PROBE_TOKENS, O3_L(MODEL, "output")) +
                    rig_metric(r, O3_M_PROBE_TOKENS, O3_L(MODEL, "prompt")) <=
                50000);
    assert_true(rig_metric(r, O3_M_PROBES, O3_L(MODEL, "prefill", "ok")) >= 20);
    assert_int_equal(r->n_writes, 2); /* decode and TTFT baselines in one, prefill later */
    rig_free(r);
}

static void test_slowdown_is_confirmed_and_published(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_world_event(r, "at 30m decode -40 %");
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 25 * RIG_MINUTE_MS);
    int n_before = r->n_writes;
    assert_true(n_before >= 1);
    assert_null(strstr(r->preset, "previous"));
    assert_int_equal(rig_count_events(r, O3_EV_DRIFT_SUSPECT), 0);
    rig_run_until(r, 40 * RIG_MINUTE_MS);
    const struct rig_event *e = rig_find_event(r, O3_EV_DRIFT_CONFIRMED, "decode_rate");
    assert_non_null(e);
    O3_ASSERT_NEAR(e->change_ratio, -0.40, 0.03);
    assert_true(e->mono_ns < 35 * RIG_MINUTE_MS * 1000000);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_DRIFT_DETECTED, O3_L(MODEL, "decode_rate")), 1, 0);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_DRIFT_CHANGE_RATIO, O3_L(MODEL, "decode_rate")), -0.40, 0.03);
    assert_true(r->n_writes > n_before);
    assert_non_null(strstr(r->preset, "previous"));
    assert_non_null(strstr(r->preset, "num_ctx: 8192"));
    assert_non_null(strstr(r->preset, "batch_source: assumed"));
    int n_after = r->n_writes;
    rig_run_until(r, 3 * RIG_HOUR_MS);
    assert_true(r->n_writes <= n_after + 1); /* the prefill baseline may follow; nothing is rewritten without a cause */
    rig_free(r);
}

static void test_suspicion_writes_nothing(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST "drift: {confirm_samples: 40}\n", NULL);
    rig_world_event(r, "at 30m decode -40 % for 90s");
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 29 * RIG_MINUTE_MS);
    int n = r->n_writes;
    rig_run_until(r, 60 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_DRIFT_CONFIRMED), 0);
    assert_true(rig_count_events(r, O3_EV_DRIFT_SUSPECT) >= 1);
    assert_true(rig_count_events(r, O3_EV_DRIFT_WENT_AWAY) >= 1);
    assert_int_equal(r->n_writes, n);
    rig_free(r);
}

static void test_recovery_is_told_and_published(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_world_event(r, "at 30m decode -40 % for 30m");
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 55 * RIG_MINUTE_MS);
    int n = r->n_writes;
    assert_non_null(rig_find_event(r, O3_EV_DRIFT_CONFIRMED, "decode_rate"));
    rig_run_until(r, 90 * RIG_MINUTE_MS);
    assert_non_null(rig_find_event(r, O3_EV_DRIFT_RECOVERED, "decode_rate"));
    assert_true(r->n_writes > n);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_DRIFT_DETECTED, O3_L(MODEL, "decode_rate")), 0, 0);
    rig_free(r);
}

static void test_idle_model_may_unload(void **state) {
    (void)state;
    struct rig *r = rig_new(NULL, NULL);
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 30 * RIG_MINUTE_MS);
    struct o3_world_truth t;
    o3_world_truth(r->world, r->now_ns, &t);
    assert_int_equal(t.n_loaded, 0); /* 10 minutes of linger + 5 of keep-alive */
    assert_int_equal(t.n_loads, 1);
    assert_int_equal(rig_count_events(r, O3_EV_MODEL_UNLOADED), 1);
    assert_true(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L(MODEL, "idle")) >= 1);
    assert_true(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L(MODEL, "not_loaded")) >= 1);
    assert_true(isnan(rig_metric(r, O3_M_PROBE_DECODE_TOKENS_PER_SECOND, O3_L(MODEL))));
    rig_free(r);
}

static void test_users_keep_it_alive_and_are_seen(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST "", NULL);
    rig_preload(r, MODEL, 4096);
    double last = 0;
    for (int m = 1; m <= 60; m++) {
        rig_run_until(r, m * RIG_MINUTE_MS + 13000);
        rig_user_generate(r, MODEL, 100, "\"num_ctx\":4096");
        rig_run_until(r, m * RIG_MINUTE_MS + 40000);
        double seen = rig_metric(r, O3_M_MODEL_LAST_ACTIVITY_TIMESTAMP_SECONDS, O3_L(MODEL));
        if (m > 3) assert_true(seen > last);
        last = seen;
    }
    assert_int_equal(loads_after_first(r), 0);
    assert_true(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L(MODEL, "busy")) >= 1);
    assert_int_equal(rig_count_events(r, O3_EV_DRIFT_CONFIRMED), 0);
    rig_free(r);
}

static void test_own_probes_are_not_users(void **state) {
    (void)state;
    struct rig *r = rig_new("probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 0, linger: 10m}\n", NULL);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 30 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_MODEL_LAST_ACTIVITY_TIMESTAMP_SECONDS, O3_L(MODEL)),
                   (double)RIG_START_WALL_MS / 1000, 2);
    assert_int_equal(rig_count_events(r, O3_EV_MODEL_UNLOADED), 1);
    rig_free(r);
}

/* The user's num_batch is not visible: the first probe reloads the model, and it is the last one. */
static void test_one_induced_reload_and_never_again(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_run_until(r, 1000);
    rig_user_generate(r, MODEL, 20, "\"num_ctx\":8192,\"num_batch\":256");
    rig_run_until(r, 30 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_PROBE_INDUCED_RELOADS, O3_L(MODEL)), 1, 0);
    assert_int_equal(rig_count_events(r, O3_EV_INDUCED_RELOAD), 1);
    int n = r->n_samples;
    assert_true(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L(MODEL, "options_unknown")) >= 1);
    rig_restart_sidecar(r); /* the strike is remembered */
    rig_user_generate(r, MODEL, 20, "\"num_ctx\":8192,\"num_batch\":256");
    rig_run_until(r, 60 * RIG_MINUTE_MS);
    assert_int_equal(r->n_samples, n);
    rig_free(r);
}

static void test_options_of_the_runner_are_replayed(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_run_until(r, 1000);
    rig_user_generate(r, MODEL, 20, "\"num_ctx\":8192,\"num_batch\":256");
    /* What a readable command line shows; the blob is learned from /api/show. */
    char body[] = "{\"model\":\"" MODEL "\"}";
    uint64_t id = o3_world_request(r->world, r->now_ns, "POST", "/api/show", body, strlen(body));
    struct o3_world_output o;
    struct o3_ollama_show show = {0};
    while (o3_world_poll(r->world, r->now_ns + 1000000, &o)) {
        if (o.id == id && o.kind == O3_WORLD_DATA)
            assert_int_equal(o3_ollama_parse_show(o.bytes, o.n, &show, NULL), 0);
        else
            rig_take_output(r, &o);
    }
    struct o3_runner_cmdline c = {
        .ctx_total = 8192, .parallel = 1, .batch = 256, .threads = -1, .gpu_layers = INT64_MIN, .port = 40001};
    o3_str_copy(c.blob, sizeof c.blob, show.blob);
    r->runners[0] = c;
    r->n_runners = 1;
    rig_run_until(r, 30 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_INDUCED_RELOAD), 0);
    assert_int_equal(loads_after_first(r), 0);
    assert_true(r->n_samples > 50);
    assert_non_null(strstr(r->preset, "batch: 256"));
    assert_non_null(strstr(r->preset, "batch_source: runner"));
    rig_free(r);
}

static void test_hung_runner_is_found(void **state) {
    (void)state;
    struct rig *r = rig_new("probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 0, linger: 30d}\n", NULL);
    rig_world_event(r, "at 10m hang for 40m");
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 10 * RIG_MINUTE_MS + 1000);
    rig_user_generate(r, MODEL, 100, "\"num_ctx\":4096"); /* waits for ever */
    rig_run_until(r, 30 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_RUNNER_STUCK), 1);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_STUCK, O3_L(MODEL)), 1, 0);
    assert_true(rig_metric(r, O3_M_PROBES, O3_L(MODEL, "decode", "stuck")) >= 1);
    rig_run_until(r, 90 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_STUCK, O3_L(MODEL)), 0, 0);
    rig_free(r);
}

static void test_pooled_connections_are_not_work(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    r->n_pooled_sockets = 5; /* there before us */
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 5 * RIG_MINUTE_MS);
    assert_true(r->n_samples >= 20);
    rig_free(r);
}

static void test_server_that_comes_and_goes(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    r->is_server_gone = true;
    rig_run_until(r, 5 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_UP, O3_NO_LABELS), 0, 0);
    assert_int_equal(rig_count_events(r, O3_EV_OLLAMA_DOWN), 1); /* told once */
    r->is_server_gone = false;
    rig_run_until(r, 6 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_UP, O3_NO_LABELS), 1, 0);
    assert_int_equal(rig_count_events(r, O3_EV_NO_MODEL), 1);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    int n = r->n_samples;
    assert_true(n > 30);
    r->is_server_gone = true;
    rig_run_until(r, 25 * RIG_MINUTE_MS);
    assert_true(r->n_samples <= n + 1);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_UP, O3_NO_LABELS), 0, 0);
    rig_free(r);
}

static void test_restart_keeps_baselines(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    double value = rig_metric(r, O3_M_BASELINE_VALUE, O3_L(MODEL, "decode_rate"));
    double n = rig_metric(r, O3_M_BASELINE_SAMPLES, O3_L(MODEL, "decode_rate"));
    assert_true(value > 0 && n >= 30);
    int n_writes = r->n_writes;
    rig_restart_sidecar(r);
    rig_run_until(r, 20 * RIG_MINUTE_MS + 5000);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_BASELINE_VALUE, O3_L(MODEL, "decode_rate")), value, value * 0.02);
    rig_run_until(r, 25 * RIG_MINUTE_MS);
    assert_int_equal(r->n_writes, n_writes); /* nothing changed: nothing is written */
    rig_free(r);
}

static void test_failed_write_is_tried_again(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    r->writes_fail = true;
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    assert_true(rig_count_events(r, O3_EV_PRESET_WRITE_FAILED) >= 3);
    assert_int_equal(rig_count_events(r, O3_EV_PRESET_WRITTEN), 0);
    r->writes_fail = false;
    rig_run_until(r, 40 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_PRESET_WRITTEN), 1);
    rig_free(r);
}

static void test_mode_off_writes_no_preset(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST "tune: {mode: 'off'}\n", NULL);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 30 * RIG_MINUTE_MS);
    assert_int_equal(r->n_writes, 0);
    assert_true(r->n_samples > 100);
    rig_free(r);
}

static void test_clock_jump_taints_nothing_else(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    r->wall_shift_ms = -3 * RIG_HOUR_MS;
    rig_run_until(r, 40 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_CLOCK_JUMPED), 1);
    assert_int_equal(rig_count_events(r, O3_EV_DRIFT_CONFIRMED), 0);
    assert_int_equal(loads_after_first(r), 0);
    rig_free(r);
}

static void test_budget_stops_probing(void **state) {
    (void)state;
    struct rig *r = rig_new("probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 1000, linger: 30d}\n", NULL);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 6 * RIG_MINUTE_MS);
    double spent = rig_metric(r, O3_M_PROBE_TOKENS, O3_L(MODEL, "output")) +
                   rig_metric(r, O3_M_PROBE_TOKENS, O3_L(MODEL, "prompt"));
    assert_true(spent <= 1100);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_PROBE_PAUSED, O3_L(MODEL, "budget")), 1, 0);
    rig_free(r);
}

static void test_embedding_and_thinking_models(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_preload(r, "sim-embed:latest", 0);
    rig_preload(r, "sim-think:latest", 4096);
    rig_run_until(r, 30 * RIG_MINUTE_MS);
    assert_true(rig_metric(r, O3_M_PROBES, O3_L("sim-embed:latest", "embed", "ok")) > 30);
    assert_true(rig_metric(r, O3_M_PROBES, O3_L("sim-think:latest", "decode", "ok")) > 30);
    assert_true(rig_metric(r, O3_M_BASELINE_VALUE, O3_L("sim-embed:latest", "ttft")) > 0);
    rig_free(r);
}

static void test_old_server_is_not_probed(void **state) {
    (void)state;
    struct o3_world_params wp = {.seed = 1, .noise_cv = 0.03, .version = "0.9.6"};
    struct rig *r = rig_new(FAST, &wp);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 4 * RIG_MINUTE_MS);
    assert_int_equal(r->n_samples, 0);
    assert_true(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L(MODEL, "options_unknown")) >= 1);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quiet_day_is_quiet),
        cmocka_unit_test(test_slowdown_is_confirmed_and_published),
        cmocka_unit_test(test_suspicion_writes_nothing),
        cmocka_unit_test(test_recovery_is_told_and_published),
        cmocka_unit_test(test_idle_model_may_unload),
        cmocka_unit_test(test_users_keep_it_alive_and_are_seen),
        cmocka_unit_test(test_own_probes_are_not_users),
        cmocka_unit_test(test_one_induced_reload_and_never_again),
        cmocka_unit_test(test_options_of_the_runner_are_replayed),
        cmocka_unit_test(test_hung_runner_is_found),
        cmocka_unit_test(test_pooled_connections_are_not_work),
        cmocka_unit_test(test_server_that_comes_and_goes),
        cmocka_unit_test(test_restart_keeps_baselines),
        cmocka_unit_test(test_failed_write_is_tried_again),
        cmocka_unit_test(test_mode_off_writes_no_preset),
        cmocka_unit_test(test_clock_jump_taints_nothing_else),
        cmocka_unit_test(test_budget_stops_probing),
        cmocka_unit_test(test_embedding_and_thinking_models),
        cmocka_unit_test(test_old_server_is_not_probed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
