/* SPDX-License-Identifier: Apache-2.0 */
/* The sidecar's promises on a virtual clock against the simulated Ollama: it harms nobody, it sees a change, it says so
 * once, it keeps the presets, it forgets nothing over a restart. */
#include "o3/rand.h"
#include "sim/rig.h"

#define MODEL "sim-small:latest"
/* Budget lifted, so that a test needs minutes and not days. */
#define FAST "probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 0, linger: 30d, keep_conversation: 0s}\n"

static int64_t loads_after_first(struct rig *r) {
    struct o3_world_truth t;
    o3_world_truth(r->c->world, r->c->now_ns, &t);
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
    assert_int_equal(r->c->n_writes, 3); /* one for each baseline: TTFT needs two probes more, prefill comes later */
    rig_free(r);
}

static void test_slowdown_is_confirmed_and_published(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_world_event(r, "at 30m decode -40 %");
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 25 * RIG_MINUTE_MS);
    int64_t n_before = r->c->n_writes;
    assert_true(n_before >= 1);
    assert_null(strstr(rig_preset(r, MODEL), "previous"));
    assert_int_equal(rig_count_events(r, O3_EV_DRIFT_SUSPECT), 0);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_DRIFT_EVENTS, O3_L(MODEL, "decode_rate", "down")), 0, 0);
    rig_run_until(r, 40 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_DRIFT_EVENTS, O3_L(MODEL, "decode_rate", "down")), 1, 0);
    const struct rig_event *e = rig_find_event(r, O3_EV_DRIFT_CONFIRMED, "decode_rate");
    assert_non_null(e);
    O3_ASSERT_NEAR(e->change_ratio, -0.40, 0.03);
    assert_true(e->mono_ns < 35 * RIG_MINUTE_MS * 1000000);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_DRIFT_DETECTED, O3_L(MODEL, "decode_rate")), 1, 0);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_DRIFT_CHANGE_RATIO, O3_L(MODEL, "decode_rate")), -0.40, 0.03);
    assert_true(r->c->n_writes > n_before);
    assert_non_null(strstr(rig_preset(r, MODEL), "previous"));
    assert_non_null(strstr(rig_preset(r, MODEL), "num_ctx: 8192"));
    assert_non_null(strstr(rig_preset(r, MODEL), "batch_source: assumed"));
    int64_t n_after = r->c->n_writes;
    rig_run_until(r, 3 * RIG_HOUR_MS);
    assert_true(r->c->n_writes <=
                n_after + 1); /* the prefill baseline may follow; nothing is rewritten without a cause */
    rig_free(r);
}

static void test_suspicion_writes_nothing(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST "drift: {confirm_samples: 40}\n", NULL);
    rig_world_event(r, "at 30m decode -40 % for 90s");
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 29 * RIG_MINUTE_MS);
    int64_t n = r->c->n_writes;
    rig_run_until(r, 60 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_DRIFT_CONFIRMED), 0);
    assert_true(rig_count_events(r, O3_EV_DRIFT_SUSPECT) >= 1);
    assert_true(rig_count_events(r, O3_EV_DRIFT_WENT_AWAY) >= 1);
    assert_int_equal(r->c->n_writes, n);
    rig_free(r);
}

static void test_recovery_is_told_and_published(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_world_event(r, "at 30m decode -40 % for 30m");
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 55 * RIG_MINUTE_MS);
    int64_t n = r->c->n_writes;
    assert_non_null(rig_find_event(r, O3_EV_DRIFT_CONFIRMED, "decode_rate"));
    rig_run_until(r, 90 * RIG_MINUTE_MS);
    assert_non_null(rig_find_event(r, O3_EV_DRIFT_RECOVERED, "decode_rate"));
    assert_true(r->c->n_writes > n);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_DRIFT_DETECTED, O3_L(MODEL, "decode_rate")), 0, 0);
    rig_free(r);
}

static void test_idle_model_may_unload(void **state) {
    (void)state;
    struct rig *r = rig_new(NULL, NULL);
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 30 * RIG_MINUTE_MS);
    struct o3_world_truth t;
    o3_world_truth(r->c->world, r->c->now_ns, &t);
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
    rig_show_runner(r, MODEL, 8192, 256, 40001);
    rig_run_until(r, 30 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_INDUCED_RELOAD), 0);
    assert_int_equal(loads_after_first(r), 0);
    assert_true(r->n_samples > 50);
    assert_non_null(strstr(rig_preset(r, MODEL), "batch: 256"));
    assert_non_null(strstr(rig_preset(r, MODEL), "batch_source: runner"));
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
    r->c->n_pooled_sockets = 5; /* there before us */
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 5 * RIG_MINUTE_MS);
    assert_true(r->n_samples >= 20);
    rig_free(r);
}

static void test_server_that_comes_and_goes(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    r->c->is_server_gone = true;
    rig_run_until(r, 5 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_UP, O3_NO_LABELS), 0, 0);
    assert_int_equal(rig_count_events(r, O3_EV_OLLAMA_DOWN), 1); /* told once */
    r->c->is_server_gone = false;
    rig_run_until(r, 6 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_UP, O3_NO_LABELS), 1, 0);
    assert_int_equal(rig_count_events(r, O3_EV_NO_MODEL), 1);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    int n = r->n_samples;
    assert_true(n > 30);
    r->c->is_server_gone = true;
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
    int64_t n_writes = r->c->n_writes;
    rig_restart_sidecar(r);
    rig_run_until(r, 20 * RIG_MINUTE_MS + 5000);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_BASELINE_VALUE, O3_L(MODEL, "decode_rate")), value, value * 0.02);
    rig_run_until(r, 25 * RIG_MINUTE_MS);
    assert_int_equal(r->c->n_writes, n_writes); /* nothing changed: nothing is written */
    rig_free(r);
}

static void test_failed_write_is_tried_again(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    o3_memory_files_set_full(r->c->files, true);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    assert_true(rig_count_events(r, O3_EV_PRESET_WRITE_FAILED) >= 3);
    assert_int_equal(rig_count_events(r, O3_EV_PRESET_WRITTEN), 0);
    o3_memory_files_set_full(r->c->files, false);
    rig_run_until(r, 40 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_PRESET_WRITTEN), 1);
    rig_free(r);
}

/* What is published beside the files: with every preset that is decided, and after a restart what was known. */
static void test_presets_are_offered(void **state) {
    (void)state;
    struct rig *r = rig_new(
        FAST "models: {include: [\"none:1b\", \"sim-*\"]}\npublish: {primary_model: \"" MODEL "\"}\n", NULL);
    rig_world_event(r, "at 30m decode -40 %");
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 25 * RIG_MINUTE_MS);
    int n = r->n_offers;
    assert_true(n >= 1 && n <= r->c->n_writes);
    assert_string_equal(r->offered.model, MODEL);
    assert_string_equal(r->offer_primary, MODEL);
    assert_int_equal(r->offered.presets[O3_PRESET_BALANCED].num_ctx, 8192);
    rig_run_until(r, 60 * RIG_MINUTE_MS);
    assert_true(r->n_offers > n);
    assert_true(r->offered.presets[0].performance.tokens_per_sec < r->offered.presets[0].previous.tokens_per_sec);
    struct o3_preset_doc before = r->offered;
    n = r->n_offers;
    rig_restart_sidecar(r);
    rig_run_until(r, 61 * RIG_MINUTE_MS);
    assert_true(r->n_offers > n);
    assert_string_equal(r->offer_reason, "what was known at the start");
    assert_true(o3_preset_doc_equal(&before, &r->offered));
    rig_free(r);
}

/* The file that others read is written once in an hour here: what comes in between waits, and the newest arrives. */
static void test_the_published_file_keeps_its_budget(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST "publish: {writes_per_hour: 1}\n", NULL);
    rig_world_event(r, "at 30m decode -40 % for 30m");
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 55 * RIG_MINUTE_MS);
    assert_true(r->c->n_writes >= 3);
    assert_int_equal(r->c->n_file_writes, 1);
    assert_string_not_equal(rig_preset_file(r), rig_preset(r, MODEL));
    rig_run_until(r, 3 * RIG_HOUR_MS);
    assert_in_range(r->c->n_file_writes, 2, 3);
    assert_string_equal(rig_preset_file(r), rig_preset(r, MODEL));
    int64_t n = r->c->n_file_writes;
    rig_restart_sidecar(r);
    rig_run_until(r, 3 * RIG_HOUR_MS + RIG_MINUTE_MS);
    assert_int_equal(r->c->n_file_writes, n); /* it is compared first */
    rig_free(r);
}

static void test_mode_off_writes_no_preset(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST "tune: {mode: 'off'}\n", NULL);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 30 * RIG_MINUTE_MS);
    assert_int_equal(r->c->n_writes, 0);
    assert_int_equal(r->n_offers, 0);
    assert_true(r->n_samples > 100);
    rig_free(r);
}

static void test_clock_jump_taints_nothing_else(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    r->c->wall_shift_ms = -3 * RIG_HOUR_MS;
    rig_run_until(r, 40 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_CLOCK_JUMPED), 1);
    assert_int_equal(rig_count_events(r, O3_EV_DRIFT_CONFIRMED), 0);
    assert_int_equal(loads_after_first(r), 0);
    rig_free(r);
}

static void test_budget_stops_probing(void **state) {
    (void)state;
    struct rig *r = rig_new("probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 200, linger: 30d}\n", NULL);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 6 * RIG_MINUTE_MS);
    double spent = rig_metric(r, O3_M_PROBE_TOKENS, O3_L(MODEL, "output")) +
                   rig_metric(r, O3_M_PROBE_TOKENS, O3_L(MODEL, "prompt"));
    assert_true(spent > 100 && spent <= 200);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_PROBE_PAUSED, O3_L(MODEL, "budget")), 1, 0);
    rig_restart_sidecar(r); /* the budget is the day's, not the process's */
    int n = r->n_samples;
    rig_run_until(r, 7 * RIG_MINUTE_MS);
    assert_true(r->n_samples <= n + 1);
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

/* ---- whose doing was it? ---- */

/* /api/ps is empty while a model loads: a load of many seconds must not look like an unload and a user's load. */
static void test_slow_induced_reload_is_a_strike(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_run_until(r, 1000);
    rig_user_generate(r, "sim-medium:latest", 20, "\"num_ctx\":8192,\"num_batch\":256");
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    const char *const *l = O3_L("sim-medium:latest");
    O3_ASSERT_NEAR(rig_metric(r, O3_M_PROBE_INDUCED_RELOADS, l), 1, 0);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_MODEL_RELOADS, O3_L("sim-medium:latest", "induced")), 1, 0);
    assert_true(isnan(rig_metric(r, O3_M_MODEL_RELOADS, O3_L("sim-medium:latest", "foreign_load"))));
    assert_int_equal(loads_after_first(r), 1);
    assert_int_equal(rig_count_events(r, O3_EV_MODEL_LOADED), 1);
    rig_free(r);
}

/* The load takes longer than our patience, and Ollama gives it up with our request: the user's model is gone. */
static void test_induced_load_that_was_given_up_is_a_strike(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_world_event(r, "at 10s load-time +1500 %");
    rig_run_until(r, 1000);
    for (int i = 1; i <= 6; i++) {
        rig_user_generate(r, "sim-medium:latest", 20, "\"num_ctx\":8192,\"num_batch\":256");
        rig_run_until(r, i * 10 * RIG_MINUTE_MS);
    }
    O3_ASSERT_NEAR(rig_metric(r, O3_M_PROBE_INDUCED_RELOADS, O3_L("sim-medium:latest")), 1, 0);
    rig_free(r);
}

/* The command line shows num_batch, but not what really differs. */
static void test_runner_options_that_did_not_help_are_not_tried_again(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_run_until(r, 1000);
    rig_user_generate(r, MODEL, 20, "\"num_ctx\":8192,\"num_batch\":256,\"num_gpu\":0");
    rig_show_runner(r, MODEL, 8192, 256, 40001);
    for (int i = 1; i <= 10; i++) {
        rig_run_until(r, i * 5 * RIG_MINUTE_MS);
        rig_user_generate(r, MODEL, 20, "\"num_ctx\":8192,\"num_batch\":256,\"num_gpu\":0");
    }
    O3_ASSERT_NEAR(rig_metric(r, O3_M_PROBE_INDUCED_RELOADS, O3_L(MODEL)), 1, 0);
    rig_free(r);
}

static void test_strike_outlives_another_version(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_world_event(r, "at 30m version 0.33.0");
    rig_world_event(r, "at 60m version 0.32.15");
    for (int i = 0; i < 90; i++) {
        rig_run_until(r, i * RIG_MINUTE_MS + 1000);
        rig_user_generate(r, MODEL, 20, "\"num_ctx\":8192,\"num_batch\":256");
    }
    rig_run_until(r, 90 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_PROBE_INDUCED_RELOADS, O3_L(MODEL)), 2, 0); /* one a version */
    rig_free(r);
}

static void test_foreign_reload_is_no_strike(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_preload(r, MODEL, 4096);
    for (int i = 1; i <= 20; i++) {
        rig_run_until(r, i * RIG_MINUTE_MS + i * 700);
        rig_user_generate(r, MODEL, 20, i % 2 ? "\"num_ctx\":8192" : "\"num_ctx\":4096");
    }
    rig_run_until(r, 25 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_INDUCED_RELOAD), 0);
    assert_int_equal(loads_after_first(r), 20);
    assert_true(r->n_samples > 20);
    rig_free(r);
}

/* The process is gone, /api/ps still lists the model: a probe would load it. */
static void test_dead_runner_is_not_loaded_by_a_probe(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST "ollama: {poll_interval: 60s}\n", NULL);
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 1000);
    rig_show_runner(r, MODEL, 8192, 1024, 40001);
    rig_world_event(r, "at 10m runner killed");
    rig_run_until(r, 10 * RIG_MINUTE_MS - 1000);
    int n = r->n_samples;
    assert_true(n > 20);
    r->c->n_runners = 0;
    rig_run_until(r, 14 * RIG_MINUTE_MS + 20000);
    assert_true(r->n_samples <= n + 1);
    assert_int_equal(loads_after_first(r), 0);
    assert_true(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L(MODEL, "not_loaded")) >= 1);
    rig_user_generate(r, MODEL, 20, "\"num_ctx\":8192");
    rig_show_runner(r, MODEL, 8192, 1024, 40002);
    n = r->n_samples;
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_MODEL_RELOADS, O3_L(MODEL, "runner_lost")), 1, 0);
    assert_int_equal(rig_count_events(r, O3_EV_INDUCED_RELOAD), 0);
    assert_true(r->n_samples > n + 10);
    rig_free(r);
}

/* Without a view of processes the port that is gone tells of the death: it is no reload of our doing, and probing goes
 * on. At the default cadence, too, where the sockets are looked at seldom. */
static void test_death_shows_by_the_port(void **state) {
    (void)state;
    static const char *const CONFIGS[] = {FAST, "probe: {linger: 30d}\n"};
    for (int i = 0; i < 2; i++) {
        struct rig *r = rig_new(CONFIGS[i], NULL);
        rig_preload(r, MODEL, 8192);
        rig_world_event(r, "at 20m5s runner killed");
        rig_run_until(r, 30 * RIG_MINUTE_MS);
        int n = r->n_samples;
        assert_int_equal(rig_count_events(r, O3_EV_INDUCED_RELOAD), 0);
        O3_ASSERT_NEAR(rig_metric(r, O3_M_MODEL_RELOADS, O3_L(MODEL, "runner_lost")), 1, 0);
        rig_run_until(r, 60 * RIG_MINUTE_MS);
        /* At the default cadence the long probe makes the next ones so rare that the model may unload. */
        if (i == 0) assert_true(r->n_samples > n + 100);
        rig_free(r);
    }
}

/* Users whose options nobody sees load again and again: each time the port is another one, and nothing has died. */
static void test_foreign_loads_are_no_deaths(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_run_until(r, 1000);
    for (int i = 1; i <= 6; i++) {
        rig_user_generate(r, MODEL, 20, "\"num_ctx\":8192,\"num_batch\":256");
        rig_run_until(r, i * 5 * RIG_MINUTE_MS);
    }
    O3_ASSERT_NEAR(rig_metric(r, O3_M_PROBE_INDUCED_RELOADS, O3_L(MODEL)), 1, 0);
    assert_true(isnan(rig_metric(r, O3_M_MODEL_RELOADS, O3_L(MODEL, "runner_lost"))));
    rig_free(r);
}

/* Without a view of processes and sockets an idle death is not seen, and the blame is ours: better one probe too few.
 */
static void test_unseen_death_is_a_strike(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    r->c->sockets_unreadable = true;
    rig_preload(r, MODEL, 8192);
    rig_world_event(r, "at 10m5s runner killed");
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_INDUCED_RELOAD), 1);
    assert_true(isnan(rig_metric(r, O3_M_MODEL_RELOADS, O3_L(MODEL, "runner_lost"))));
    rig_free(r);
}

/* Probes that fail move expires_at, too; nobody used the model. */
static void test_failed_probes_are_not_users(void **state) {
    (void)state;
    struct rig *r = rig_new("probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 0}\n", NULL);
    rig_world_event(r, "at 2m hang for 70s");
    rig_world_event(r, "at 6m hang for 70s");
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 30 * RIG_MINUTE_MS);
    assert_true(rig_metric(r, O3_M_PROBES, O3_L(MODEL, "decode", "timeout")) >= 1);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_MODEL_LAST_ACTIVITY_TIMESTAMP_SECONDS, O3_L(MODEL)),
                   (double)RIG_START_WALL_MS / 1000, 2);
    assert_int_equal(rig_count_events(r, O3_EV_MODEL_UNLOADED), 1);
    rig_free(r);
}

static void test_unload_by_a_user(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_world_event(r, "at 10m unload " MODEL);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 12 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_MODEL_LOADED, O3_L(MODEL)), 0, 0);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_MODEL_UNLOADS, O3_L(MODEL)), 1, 0);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_PROBE_PAUSED, O3_L(MODEL, "not_loaded")), 1, 0);
    assert_true(isnan(rig_metric(r, O3_M_PROBE_DECODE_TOKENS_PER_SECOND, O3_L(MODEL))));
    assert_true(isnan(rig_metric(r, O3_M_PROBE_SUCCESS, O3_L(MODEL))));
    assert_int_equal(loads_after_first(r), 0);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 14 * RIG_MINUTE_MS);
    assert_true(isnan(rig_metric(r, O3_M_PROBE_PAUSED, O3_L(MODEL, "not_loaded"))));
    assert_true(rig_metric(r, O3_M_PROBE_DECODE_TOKENS_PER_SECOND, O3_L(MODEL)) > 0);
    rig_free(r);
}

/* ---- the server ---- */

/* With the defaults the model counts as idle before the gate has been busy for long: the waiting user is the sign of
 * life. */
static void test_hung_runner_is_found_with_the_defaults(void **state) {
    (void)state;
    struct rig *r = rig_new(NULL, NULL);
    rig_world_event(r, "at 8m hang for 60m");
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 6 * RIG_MINUTE_MS);
    rig_user_generate(r, MODEL, 20, "\"num_ctx\":4096");
    rig_run_until(r, 9 * RIG_MINUTE_MS);
    rig_user_generate(r, MODEL, 100, "\"num_ctx\":4096"); /* waits for ever */
    rig_run_until(r, 25 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_RUNNER_STUCK), 1);
    rig_free(r);
}

static void test_stuck_ends_with_the_runner(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_world_event(r, "at 10m hang");
    rig_world_event(r, "at 30m restart");
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 10 * RIG_MINUTE_MS + 1000);
    rig_user_generate(r, MODEL, 100, "\"num_ctx\":4096");
    rig_run_until(r, 29 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_STUCK, O3_L(MODEL)), 1, 0);
    rig_run_until(r, 35 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_STUCK, O3_L(MODEL)), 0, 0);
    rig_free(r);
}

static void test_too_long_description_takes_nothing_down(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    r->c->too_long_path = "/api/show";
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 5 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_OLLAMA_DOWN), 0);
    assert_true(r->n_samples >= 20);
    rig_free(r);
}

static double number_after(const struct o3_buf *b, const char *text) {
    const char *at = strstr(o3_buf_str(b), text);
    assert_non_null(at);
    return strtod(at + strlen(text), NULL);
}

static void expect_text(const struct o3_buf *b, const char *text) {
    if (!strstr(o3_buf_str(b), text)) fail_msg("%s is not in %s", text, o3_buf_str(b));
}

/* A time to the next probe that is known, of the one model; NaN: null. */
static double next_probe_seconds(struct rig *r) {
    O3_AUTO_BUF json;
    o3_buf_init(&json, 1 << 20);
    assert_int_equal(o3_sidecar_models_json(r->c->sidecar, rig_now(r), &json), 0);
    if (strstr(o3_buf_str(&json), "\"next_probe_seconds\": null")) return (double)NAN;
    return number_after(&json, "\"next_probe_seconds\": ");
}

static void test_next_probe_while_the_server_is_down(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 5 * RIG_MINUTE_MS);
    assert_true(next_probe_seconds(r) >= 0 && next_probe_seconds(r) <= 11);
    r->c->is_server_gone = true;
    for (int64_t t = 5 * RIG_MINUTE_MS; t <= 7 * RIG_MINUTE_MS; t += 500) {
        rig_run_until(r, t);
        double s = next_probe_seconds(r);
        bool is_down = rig_metric(r, O3_M_PROBE_PAUSED, O3_L(MODEL, "ollama_down")) > 0;
        if (is_down ? !isnan(s) : !(s >= 0)) fail_msg("%lld ms: %g s", (long long)t, s);
    }
    assert_true(isnan(next_probe_seconds(r)));
    r->c->is_server_gone = false;
    for (int64_t t = 7 * RIG_MINUTE_MS; t <= 9 * RIG_MINUTE_MS; t += 500) {
        rig_run_until(r, t);
        if (next_probe_seconds(r) < 0) fail_msg("%lld ms: %g s", (long long)t, next_probe_seconds(r));
    }
    assert_true(next_probe_seconds(r) >= 0);
    rig_free(r);
}

static void test_gauges_while_the_server_is_down(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 5 * RIG_MINUTE_MS);
    assert_true(rig_metric(r, O3_M_PROBE_DECODE_TOKENS_PER_SECOND, O3_L(MODEL)) > 0);
    r->c->is_server_gone = true;
    rig_run_until(r, 7 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_PROBE_PAUSED, O3_L(MODEL, "ollama_down")), 1, 0);
    assert_true(isnan(rig_metric(r, O3_M_PROBE_DECODE_TOKENS_PER_SECOND, O3_L(MODEL))));
    o3_sidecar_configure(r->c->sidecar, o3_config_values(r->c->config),
                         rig_now(r)); /* a reload must not make it spin */
    o3_coupling_run(r->c, r->c->now_ns);
    assert_true(o3_sidecar_deadline_ns(r->c->sidecar) > r->c->now_ns);
    r->c->is_server_gone = false;
    rig_run_until(r, 9 * RIG_MINUTE_MS);
    assert_true(isnan(rig_metric(r, O3_M_PROBE_PAUSED, O3_L(MODEL, "ollama_down"))));
    assert_true(rig_metric(r, O3_M_PROBE_DECODE_TOKENS_PER_SECOND, O3_L(MODEL)) > 0);
    rig_free(r);
}

static void test_new_version_begins_a_new_baseline(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_world_event(r, "at 20m version 0.33.0");
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    assert_true(rig_metric(r, O3_M_BASELINE_SAMPLES, O3_L(MODEL, "decode_rate")) >= 30);
    rig_run_until(r, 21 * RIG_MINUTE_MS);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 22 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_INFO, O3_L("0.33.0")), 1, 0);
    assert_true(isnan(rig_metric(r, O3_M_OLLAMA_INFO, O3_L("0.32.15"))));
    assert_true(isnan(rig_metric(r, O3_M_BASELINE_VALUE, O3_L(MODEL, "decode_rate"))));
    const struct rig_event *e = rig_find_event(r, O3_EV_EPOCH_CHANGED, NULL);
    assert_non_null(e);
    assert_string_equal(e->reason, "server_version");
    rig_free(r);
}

static void test_old_setting_that_comes_back_has_its_baseline(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    double value = rig_metric(r, O3_M_BASELINE_VALUE, O3_L(MODEL, "decode_rate"));
    assert_true(value > 0);
    /* More settings than are remembered as objects: the oldest go to the saved states and come back from there. */
    static const char *const OTHERS[] = {"\"num_ctx\":8192", "\"num_ctx\":2048", "\"num_ctx\":1024",
                                         "\"num_ctx\":16384", "\"num_ctx\":512"};
    for (int i = 0; i < 5; i++) {
        rig_user_generate(r, MODEL, 10, OTHERS[i]);
        rig_run_until(r, (22 + 2 * i) * RIG_MINUTE_MS);
        assert_true(isnan(rig_metric(r, O3_M_BASELINE_VALUE, O3_L(MODEL, "decode_rate"))));
    }
    rig_user_generate(r, MODEL, 10, "\"num_ctx\":4096");
    rig_run_until(r, 35 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_BASELINE_VALUE, O3_L(MODEL, "decode_rate")), value, value * 0.02);
    assert_int_equal(rig_count_events(r, O3_EV_INDUCED_RELOAD), 0);
    rig_free(r);
}

/* ---- incidents, and what a person says of them ---- */

static void test_incident_is_told_kept_and_accepted(void **state) {
    (void)state;
    O3_AUTO_BUF json;
    O3_AUTO_BUF answer;
    struct o3_err e = {0};
    o3_buf_init(&json, 1 << 20);
    o3_buf_init(&answer, 1 << 16);
    struct rig *r = rig_new(FAST, NULL);
    rig_world_event(r, "at 30m decode -40 %");
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 29 * RIG_MINUTE_MS);
    assert_int_equal(o3_sidecar_acknowledge(r->c->sidecar, MODEL, NULL, rig_now(r), &answer, &e), O3_E_NO_CHANGE);
    rig_run_until(r, 40 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_INCIDENTS_OPEN, O3_NO_LABELS), 1, 0);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_INCIDENTS, O3_NO_LABELS), 1, 0);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_DRIFT_DETECTED, O3_L(MODEL, "decode_rate")), 1, 0);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_DRIFT_DETECTED, O3_L(MODEL, "context")), 0, 0);
    assert_true(rig_metric(r, O3_M_DRIFT_CHANGE_TIMESTAMP_SECONDS, O3_L(MODEL, "decode_rate")) > 0);
    assert_true(isnan(rig_metric(r, O3_M_DRIFT_CHANGE_TIMESTAMP_SECONDS, O3_L(MODEL, "context"))));
    assert_int_equal(rig_count_events(r, O3_EV_INCIDENT_OPENED), 1);

    rig_restart_sidecar(r);
    rig_run_until(r, 41 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_INCIDENTS_OPEN, O3_NO_LABELS), 1, 0);
    assert_int_equal(o3_sidecar_incidents_json(r->c->sidecar, &json), 0);
    expect_text(&json, "\"open\": true");
    expect_text(&json, "\"signal\": \"decode_rate\"");
    O3_ASSERT_NEAR(number_after(&json, "decode_rate of " MODEL " fell by "), 40, 3);

    assert_int_equal(o3_sidecar_acknowledge(r->c->sidecar, "nobody", NULL, rig_now(r), &answer, &e), O3_E_NOT_FOUND);
    assert_int_equal(o3_sidecar_acknowledge(r->c->sidecar, MODEL, "speed", rig_now(r), &answer, &e), O3_E_USAGE);
    assert_int_equal(o3_sidecar_acknowledge(r->c->sidecar, MODEL, "memory", rig_now(r), &answer, &e), O3_E_NO_CHANGE);
    assert_int_equal(answer.len, 0);
    assert_int_equal(o3_sidecar_acknowledge(r->c->sidecar, MODEL, NULL, rig_now(r), &answer, &e), 0);
    expect_text(&answer, "\"decode_rate\"");
    double answered = number_after(&answer, "\"level\": ");
    rig_run_until(r, 42 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_find_event(r, O3_EV_DRIFT_ACKNOWLEDGED, "decode_rate")->value, answered, 0);
    assert_non_null(rig_find_event(r, O3_EV_DRIFT_ACKNOWLEDGED, "decode_rate"));
    assert_int_equal(rig_count_events(r, O3_EV_INCIDENT_CLOSED), 1);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_INCIDENTS_OPEN, O3_NO_LABELS), 0, 0);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_DRIFT_DETECTED, O3_L(MODEL, "decode_rate")), 0, 0);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_BASELINE_VALUE, O3_L(MODEL, "decode_rate")), 24, 1.5);
    rig_run_until(r, 80 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_INCIDENT_OPENED), 1);
    rig_free(r);
}

static void test_upgrade_is_compared_and_no_drift(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_preload(r, MODEL, 4096);
    rig_world_event(r, "at 30m version 0.33.0");
    rig_world_event(r, "at 30m decode -20 %");
    rig_run_until(r, 31 * RIG_MINUTE_MS);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 60 * RIG_MINUTE_MS);
    const struct rig_event *e = rig_find_event(r, O3_EV_RELEASE_COMPARED, "decode_rate");
    assert_non_null(e);
    assert_string_equal(e->reason, "server_version");
    O3_ASSERT_NEAR(e->change_ratio, -0.2, 0.02);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_RELEASE_CHANGE_RATIO, O3_L(MODEL, "decode_rate", "server_version")),
                   e->change_ratio, 0);
    assert_true(rig_metric(r, O3_M_RELEASE_TIMESTAMP_SECONDS, O3_L(MODEL)) > 0);
    assert_int_equal(rig_count_events(r, O3_EV_DRIFT_CONFIRMED), 0);
    rig_free(r);
}

static int n_of_old_version;

/* Counts what is measured after the restart and put down to the version before it. */
static void run_and_count_old(struct rig *r, int64_t until_ms) {
    n_of_old_version = 0;
    for (int n = r->n_samples; r->c->now_ns < until_ms * 1000000; n = r->n_samples) {
        rig_run_until(r, r->c->now_ns / 1000000 + 500);
        if (r->n_samples == n || r->last_sample.outcome != O3_OUTCOME_OK) continue;
        n_of_old_version += strcmp(r->last_sample.around.version, "0.33.0") != 0;
    }
}

/* A restart shows long before the version is asked for in its turn: the first sample is the new version's already. */
static void test_no_sample_of_a_new_version_is_the_old_ones(void **state) {
    (void)state;
    static const int BACK_AFTER_S[] = {2, 7, 40};
    for (size_t i = 0; i < sizeof BACK_AFTER_S / sizeof *BACK_AFTER_S; i++) {
        struct rig *r = rig_new(FAST, NULL);
        rig_preload(r, MODEL, 4096);
        rig_world_event(r, "at 32m version 0.33.0");
        rig_world_event(r, "at 32m decode -20 %");
        rig_run_until(r, 32 * RIG_MINUTE_MS + BACK_AFTER_S[i] * 1000);
        rig_preload(r, MODEL, 4096);
        run_and_count_old(r, 36 * RIG_MINUTE_MS);
        if (n_of_old_version) fail_msg("back after %d s: %d samples", BACK_AFTER_S[i], n_of_old_version);
        O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_INFO, O3_L("0.33.0")), 1, 0);
        rig_run_until(r, 60 * RIG_MINUTE_MS);
        assert_non_null(rig_find_event(r, O3_EV_RELEASE_COMPARED, "decode_rate"));
        assert_int_equal(rig_count_events(r, O3_EV_DRIFT_SUSPECT), 0);
        rig_free(r);
    }
}

/* While nothing is probed the new version is known as soon as the restart shows. */
static void test_a_new_version_is_told_when_its_model_goes(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_preload(r, MODEL, 4096);
    rig_world_event(r, "at 32m version 0.33.0");
    rig_run_until(r, 32 * RIG_MINUTE_MS + 10000);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_INFO, O3_L("0.33.0")), 1, 0);
    rig_free(r);
}

/* It is no drift, and is to be found all the same: also after a restart. */
static void test_a_release_is_shown_for_good(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_preload(r, MODEL, 4096);
    rig_world_event(r, "at 30m version 0.33.0");
    rig_world_event(r, "at 30m decode -20 %");
    rig_run_until(r, 31 * RIG_MINUTE_MS);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 60 * RIG_MINUTE_MS);
    double ratio = rig_metric(r, O3_M_RELEASE_CHANGE_RATIO, O3_L(MODEL, "decode_rate", "server_version"));
    double at = rig_metric(r, O3_M_RELEASE_TIMESTAMP_SECONDS, O3_L(MODEL));
    rig_restart_sidecar(r);
    assert_true(isnan(rig_metric(r, O3_M_RELEASE_TIMESTAMP_SECONDS, O3_L(MODEL))));
    rig_run_until(r, 62 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_RELEASE_CHANGE_RATIO, O3_L(MODEL, "decode_rate", "server_version")), ratio, 0);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_RELEASE_TIMESTAMP_SECONDS, O3_L(MODEL)), at, 0);
    O3_AUTO_BUF text;
    o3_buf_init(&text, 1 << 20);
    assert_int_equal(o3_sidecar_models_json(r->c->sidecar, rig_now(r), &text), 0);
    expect_text(&text, "\"reasons\": \"server_version 0.32.15 to 0.33.0\"");
    expect_text(&text, "\"in_force\": true");
    expect_text(&text, "\"worse\": true");
    rig_free(r);
}

/* ---- several models ---- */

/* On a quick machine the tokens, not the time, are the limit: they must last the day, or a change late in it is not
 * seen. */
static void test_tokens_last_the_day(void **state) {
    (void)state;
    struct o3_world_params gpu = {.seed = 1, .noise_cv = 0.03, .has_gpu = true, .bandwidth = 1008e9};
    struct rig *r = rig_new("probe: {linger: 30d}\n", &gpu);
    rig_preload(r, MODEL, 8192);
    int last = 0;
    for (int quarter = 1; quarter <= 8; quarter++) {
        rig_run_until(r, quarter * 6 * RIG_HOUR_MS);
        assert_true(r->n_samples - last > 60);
        last = r->n_samples;
    }
    assert_true(isnan(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L(MODEL, "budget"))));
    double tokens = rig_metric(r, O3_M_PROBE_TOKENS, O3_L(MODEL, "output")) +
                    rig_metric(r, O3_M_PROBE_TOKENS, O3_L(MODEL, "prompt"));
    assert_true(tokens > 50000 && tokens <= 2 * 50000);
    assert_true(rig_metric(r, O3_M_PROBES, O3_L(MODEL, "prefill", "ok")) > 40);
    rig_free(r);
}

static void test_models_share_the_budget(void **state) {
    (void)state;
    struct o3_world_params wp = {.seed = 3, .noise_cv = 0.03, .has_gpu = true, .vram_bytes = 48LL << 30};
    struct rig *r = rig_new("probe: {linger: 30d}\n", &wp);
    static const char *const NAMES[] = {MODEL, "sim-think:latest", "sim-embed:latest"};
    for (int i = 0; i < 3; i++)
        rig_preload(r, NAMES[i], i == 2 ? 0 : 4096);
    rig_run_until(r, 24 * RIG_HOUR_MS);
    double busy = 0, tokens = 0;
    for (int i = 0; i < 3; i++) {
        busy += rig_metric(r, O3_M_PROBE_BUSY_SECONDS, O3_L(NAMES[i]));
        tokens += rig_metric(r, O3_M_PROBE_TOKENS, O3_L(NAMES[i], "output")) +
                  rig_metric(r, O3_M_PROBE_TOKENS, O3_L(NAMES[i], "prompt"));
    }
    if (busy > 0.005 * 86400 * 1.1) fail_msg("busy %.1f s a day", busy);
    if (tokens > 50000) fail_msg("%.0f tokens a day", tokens);
    assert_int_equal(rig_count_events(r, O3_EV_DRIFT_CONFIRMED), 0);
    assert_int_equal(rig_count_events(r, O3_EV_INDUCED_RELOAD), 0);
    assert_int_equal(loads_after_first(r), 2);
    rig_free(r);
}

static void test_day_with_users_and_three_models(void **state) {
    (void)state;
    struct o3_world_params wp = {.seed = 5, .noise_cv = 0.03, .has_gpu = true, .vram_bytes = 48LL << 30};
    struct rig *r = rig_new(NULL, &wp);
    static const char *const NAMES[] = {MODEL, "sim-think:latest", "sim-medium:latest"};
    struct o3_rand rand;
    o3_rand_seed(&rand, 11);
    for (int64_t ms = 1000; ms < 24 * RIG_HOUR_MS; ms += 20000 + (int64_t)(o3_rand_uniform(&rand) * 400000)) {
        rig_run_until(r, ms);
        r->c->n_pooled_sockets = (int)(o3_rand_uniform(&rand) * 4); /* clients keep connections, and drop them */
        rig_user_generate(r, NAMES[(int)(o3_rand_uniform(&rand) * 3)], 10 + (int)(o3_rand_uniform(&rand) * 300),
                          "\"num_ctx\":4096");
    }
    rig_run_until(r, 24 * RIG_HOUR_MS);
    assert_int_equal(rig_count_events(r, O3_EV_INDUCED_RELOAD), 0);
    assert_int_equal(rig_count_events(r, O3_EV_DRIFT_CONFIRMED), 0);
    for (int i = 0; i < 3; i++) {
        assert_true(rig_metric(r, O3_M_BASELINE_VALUE, O3_L(NAMES[i], "decode_rate")) > 0);
        O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_STUCK, O3_L(NAMES[i])), 0, 0);
    }
    rig_free(r);
}

static void test_models_over_the_limit(void **state) {
    (void)state;
    struct o3_world_params wp = {
        .seed = 3, .noise_cv = 0.03, .has_gpu = true, .vram_bytes = 48LL << 30, .keep_alive_ms = -1};
    struct rig *r = rig_new(FAST "models: {max: 2}\n", &wp);
    rig_preload(r, MODEL, 4096);
    rig_preload(r, "sim-think:latest", 4096);
    rig_preload(r, "sim-medium:latest", 4096);
    rig_run_until(r, 15 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_MODELS_OVER_LIMIT, O3_NO_LABELS), 1, 0);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_MODELS_LOADED, O3_NO_LABELS), 3, 0);
    assert_int_equal(rig_count_events(r, O3_EV_MODELS_OVER_LIMIT), 1);
    /* One leaves, the third takes its place; what was learned of the first is not lost. */
    bool is_first_in = rig_metric(r, O3_M_BASELINE_VALUE, O3_L(MODEL, "decode_rate")) > 0;
    const char *leaving = is_first_in ? MODEL : "sim-think:latest";
    double value = rig_metric(r, O3_M_BASELINE_VALUE, O3_L(leaving, "decode_rate"));
    char line[100];
    snprintf(line, sizeof line, "at 15m1s unload %s", leaving);
    rig_world_event(r, line);
    rig_run_until(r, 17 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_MODELS_OVER_LIMIT, O3_NO_LABELS), 0, 0);
    assert_true(isnan(rig_metric(r, O3_M_MODEL_LOADED, O3_L(leaving))));
    rig_world_event(r, "at 17m1s unload");
    rig_run_until(r, 18 * RIG_MINUTE_MS);
    rig_preload(r, leaving, 4096);
    rig_run_until(r, 19 * RIG_MINUTE_MS);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_BASELINE_VALUE, O3_L(leaving, "decode_rate")), value, value * 0.05);
    rig_free(r);
}

static void test_model_that_is_excluded_later_has_no_series(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 5 * RIG_MINUTE_MS);
    struct o3_config *other = NULL;
    struct o3_err e = {0};
    static const char TEXT[] = FAST "models: {exclude: ['sim-*']}\n";
    struct o3_conf_sources src = {.file_name = "test", .file_text = TEXT, .file_len = sizeof TEXT - 1};
    assert_int_equal(o3_config_load(&src, NULL, NULL, &other, &e), 0);
    o3_sidecar_configure(r->c->sidecar, o3_config_values(other), rig_now(r));
    o3_config_free(r->c->config);
    r->c->config = other;
    int n = r->n_samples;
    rig_run_until(r, 10 * RIG_MINUTE_MS);
    assert_true(r->n_samples <= n + 1);
    assert_true(isnan(rig_metric(r, O3_M_MODEL_LOADED, O3_L(MODEL))));
    assert_true(isnan(rig_metric(r, O3_M_PROBE_PAUSED, O3_L(MODEL, "not_loaded"))));
    assert_int_equal(rig_count_events(r, O3_EV_MODEL_UNLOADED), 0); /* it was not */
    rig_free(r);
}

static void test_odd_names(void **state) {
    (void)state;
    static const char *const NAMES[] = {"hf.co/a/B-\\u00e9\\u4e2d:Q4_K_M", "a\\\"b{c}=d", "x/../../y"};
    struct rig *r = rig_new(FAST "models: {exclude: ['x*']}\n", NULL);
    for (int i = 0; i < 3; i++) {
        char body[300];
        snprintf(body, sizeof body, "{\"model\":\"%s\",\"from\":\"sim-small\",\"stream\":false}", NAMES[i]);
        (void)o3_world_request(r->c->world, r->c->now_ns, "POST", "/api/create", body, strlen(body));
        rig_run_until(r, (3 * i + 1) * RIG_MINUTE_MS);
        rig_user_generate(r, NAMES[i], 10, "\"num_ctx\":4096");
        rig_run_until(r, (3 * i + 3) * RIG_MINUTE_MS);
    }
    O3_AUTO_BUF text;
    o3_buf_init(&text, 1u << 20);
    o3_sidecar_show_metrics(r->c->sidecar);
    assert_int_equal(o3_metrics_render(r->c->metrics, O3_OPENMETRICS_1_0_0, &text), 0);
    assert_null(strstr(o3_buf_str(&text), "x/../"));
    assert_null(strstr(o3_buf_str(&text), "a\"b"));
    o3_buf_clear(&text);
    assert_int_equal(o3_sidecar_models_json(r->c->sidecar, rig_now(r), &text), 0);
    assert_int_equal(rig_count_events(r, O3_EV_OLLAMA_DOWN), 0);
    rig_free(r);
}

/* ---- presets ---- */

static void test_write_that_cannot_begin_is_tried_again(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    r->c->writes_refused = true;
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    assert_int_equal(r->c->n_writes, 0);
    assert_true(rig_count_events(r, O3_EV_PRESET_WRITE_FAILED) >= 3);
    r->c->writes_refused = false;
    rig_run_until(r, 40 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_PRESET_WRITTEN), 1);
    rig_free(r);
}

static void test_presets_are_there_after_a_restart(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_preload(r, "sim-think:latest", 4096);
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    rig_world_event(r, "at 20m1s unload");
    rig_run_until(r, 21 * RIG_MINUTE_MS);
    rig_restart_sidecar(r);
    O3_AUTO_BUF text;
    o3_buf_init(&text, 1u << 20);
    assert_int_equal(o3_sidecar_preset_json(r->c->sidecar, "sim-think", O3_PRESET_BALANCED, &text),
                     0); /* before anything is loaded */
    O3_ASSERT_NEAR(rig_metric(r, O3_M_PRESET_CONTEXT_TOKENS, O3_L("sim-think:latest", "balanced")), 4096, 0);
    int64_t n = r->c->n_writes;
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 40 * RIG_MINUTE_MS);
    assert_true(r->c->n_writes > n);
    assert_non_null(strstr(rig_preset_file(r), "model: sim-think:latest")); /* also in the file of all models */
    assert_non_null(strstr(rig_preset_file(r), "model: " MODEL));
    assert_true(isnan(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L("sim-think:latest", "not_loaded"))));
    n = r->c->n_writes;
    o3_sidecar_publish_again(r->c->sidecar, "test", rig_now(r));
    rig_run_until(r, 41 * RIG_MINUTE_MS);
    assert_int_equal(r->c->n_writes, n + 2);
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
        cmocka_unit_test(test_presets_are_offered),
        cmocka_unit_test(test_the_published_file_keeps_its_budget),
        cmocka_unit_test(test_mode_off_writes_no_preset),
        cmocka_unit_test(test_clock_jump_taints_nothing_else),
        cmocka_unit_test(test_budget_stops_probing),
        cmocka_unit_test(test_embedding_and_thinking_models),
        cmocka_unit_test(test_old_server_is_not_probed),
        cmocka_unit_test(test_slow_induced_reload_is_a_strike),
        cmocka_unit_test(test_induced_load_that_was_given_up_is_a_strike),
        cmocka_unit_test(test_runner_options_that_did_not_help_are_not_tried_again),
        cmocka_unit_test(test_strike_outlives_another_version),
        cmocka_unit_test(test_foreign_reload_is_no_strike),
        cmocka_unit_test(test_dead_runner_is_not_loaded_by_a_probe),
        cmocka_unit_test(test_death_shows_by_the_port),
        cmocka_unit_test(test_foreign_loads_are_no_deaths),
        cmocka_unit_test(test_unseen_death_is_a_strike),
        cmocka_unit_test(test_failed_probes_are_not_users),
        cmocka_unit_test(test_unload_by_a_user),
        cmocka_unit_test(test_hung_runner_is_found_with_the_defaults),
        cmocka_unit_test(test_stuck_ends_with_the_runner),
        cmocka_unit_test(test_too_long_description_takes_nothing_down),
        cmocka_unit_test(test_gauges_while_the_server_is_down),
        cmocka_unit_test(test_next_probe_while_the_server_is_down),
        cmocka_unit_test(test_new_version_begins_a_new_baseline),
        cmocka_unit_test(test_old_setting_that_comes_back_has_its_baseline),
        cmocka_unit_test(test_incident_is_told_kept_and_accepted),
        cmocka_unit_test(test_upgrade_is_compared_and_no_drift),
        cmocka_unit_test(test_no_sample_of_a_new_version_is_the_old_ones),
        cmocka_unit_test(test_a_new_version_is_told_when_its_model_goes),
        cmocka_unit_test(test_a_release_is_shown_for_good),
        cmocka_unit_test(test_tokens_last_the_day),
        cmocka_unit_test(test_models_share_the_budget),
        cmocka_unit_test(test_day_with_users_and_three_models),
        cmocka_unit_test(test_models_over_the_limit),
        cmocka_unit_test(test_model_that_is_excluded_later_has_no_series),
        cmocka_unit_test(test_odd_names),
        cmocka_unit_test(test_write_that_cannot_begin_is_tried_again),
        cmocka_unit_test(test_presets_are_there_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
