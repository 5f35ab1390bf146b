/* SPDX-License-Identifier: Apache-2.0 */
/* How often the server is asked and at what cost, that a suspicion makes it quicker for a while, what is seen without
 * asking, and what a sample tells of its surroundings. */
#include <limits.h>
#include "o3/gate.h"
#include "sim/rig.h"

#define MODEL "sim-small:latest"
#define OTHER "sim-think:latest"
#define DAY_S 86400.0

/* A GPU on which the tokens and not the time are the limit. */
static struct o3_world_params quick_gpu(void) {
    return (struct o3_world_params){.seed = 1, .noise_cv = 0.03, .has_gpu = true, .bandwidth = 1008e9};
}

static double tokens(const struct rig *r, const char *model) {
    double prompt = rig_metric(r, O3_M_PROBE_TOKENS, O3_L(model, "prompt"));
    double output = rig_metric(r, O3_M_PROBE_TOKENS, O3_L(model, "output"));
    return (isfinite(prompt) ? prompt : 0) + (isfinite(output) ? output : 0);
}

static int64_t when(const struct rig *r, enum o3_event_id id, const char *signal) {
    const struct rig_event *e = rig_find_event(r, id, signal);
    if (!e) fail_msg("no such event of %s", signal);
    return e->mono_ns / 1000000;
}

/* ---- the usual cadence ---- */

static void test_a_minute_within_the_days_tokens(void **state) {
    (void)state;
    struct o3_world_params gpu = quick_gpu();
    struct rig *r = rig_new("probe: {linger: 30d}\n", &gpu);
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, RIG_HOUR_MS);
    int least = INT_MAX;
    for (int h = 2; h <= 24; h++) {
        int before = r->n_samples;
        rig_run_until(r, h * RIG_HOUR_MS);
        int n = r->n_samples - before;
        if (n < least) least = n;
        O3_ASSERT_NEAR(rig_metric(r, O3_M_PROBE_INTERVAL_SECONDS, O3_L(MODEL)), 60, 1.5);
    }
    if (least < 58) fail_msg("%d probes in an hour", least);
    assert_true(r->n_samples <= 1500);
    assert_true(tokens(r, MODEL) <= 50000);
    assert_true(rig_metric(r, O3_M_PROBES, O3_L(MODEL, "prefill", "ok")) >= 40);
    assert_true(isnan(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L(MODEL, "budget"))));
    assert_true(rig_metric(r, O3_M_PROBE_BUSY_SECONDS, O3_L(MODEL)) <= 0.005 * DAY_S);
    assert_int_equal(r->n_looks, 0); /* each probe looked */
    rig_free(r);
}

/* The constant prompt lies in the runner's cache: only its last token is evaluated again. */
static void test_a_cached_prompt_costs_one_token(void **state) {
    (void)state;
    struct rig *r = rig_new("probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 0, linger: 30d}\n", NULL);
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 5 * RIG_MINUTE_MS);
    double n = rig_metric(r, O3_M_PROBES, O3_L(MODEL, "decode", "ok"));
    double prompt = (double)r->last_sample.prompt_eval_count;
    assert_true(n >= 25);
    assert_true(prompt > 10);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_PROBE_TOKENS, O3_L(MODEL, "prompt")), prompt + (n - 1), 0);
    rig_user_generate(r, MODEL, 10, "\"num_ctx\":8192"); /* another prompt */
    rig_run_until(r, 8 * RIG_MINUTE_MS);
    n = rig_metric(r, O3_M_PROBES, O3_L(MODEL, "decode", "ok"));
    O3_ASSERT_NEAR(rig_metric(r, O3_M_PROBE_TOKENS, O3_L(MODEL, "prompt")), 2 * prompt + (n - 2), 0);
    rig_free(r);
}

/* Where somebody's prompt comes between again and again, that costs tokens: the day's still last the day. */
static void test_prompts_that_are_not_cached_are_paced(void **state) {
    (void)state;
    struct o3_world_params gpu = quick_gpu();
    struct rig *r = rig_new("probe: {keep_conversation: 0s}\n", &gpu);
    rig_preload(r, MODEL, 8192);
    for (int64_t ms = 45000; ms < 24 * RIG_HOUR_MS; ms += 61000) {
        rig_run_until(r, ms);
        rig_user_generate(r, MODEL, 20, "\"num_ctx\":8192");
    }
    assert_true(r->n_samples > 600);
    assert_true(tokens(r, MODEL) <= 50000);
    assert_true(isnan(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L(MODEL, "budget"))));
    assert_true(rig_metric(r, O3_M_PROBE_INTERVAL_SECONDS, O3_L(MODEL)) > 75);
    rig_free(r);
}

/* ---- a suspicion ---- */

#define NEVER_SURE "drift: {confirm_samples: 1000}\n"

static void test_suspicion_is_settled_in_minutes(void **state) {
    (void)state;
    struct o3_world_params gpu = quick_gpu();
    gpu.seed = 2; /* one in which nothing else is suspected by chance */
    struct rig *quick = rig_new("probe: {linger: 30d}\n", &gpu);
    struct rig *usual = rig_new("probe: {linger: 30d, suspect_tokens_per_day: 0}\n", &gpu);
    struct rig *both[] = {quick, usual};
    int64_t took_ms[2];
    for (int i = 0; i < 2; i++) {
        rig_world_event(both[i], "at 3h decode -30 %");
        rig_preload(both[i], MODEL, 8192);
        rig_run_until(both[i], 5 * RIG_HOUR_MS);
        took_ms[i] = when(both[i], O3_EV_DRIFT_CONFIRMED, "decode_rate") -
                     when(both[i], O3_EV_DRIFT_SUSPECT, "decode_rate");
    }
    if (took_ms[0] > 4 * RIG_MINUTE_MS) fail_msg("%lld ms", (long long)took_ms[0]);
    assert_true(took_ms[1] > 2 * took_ms[0]);
    /* Then as before. */
    int n = quick->n_samples, n_suspected = rig_count_events(quick, O3_EV_DRIFT_SUSPECT);
    rig_run_until(quick, 6 * RIG_HOUR_MS);
    assert_int_equal(rig_count_events(quick, O3_EV_DRIFT_SUSPECT), n_suspected);
    assert_true(quick->n_samples - n <= 64);
    assert_true(quick->n_samples - n >= 55);
    O3_ASSERT_NEAR((double)quick->last_sample.around.interval_ms, 60000, 1500);
    rig_free(quick);
    rig_free(usual);
}

/* What is suspected for ever is not probed quicker for ever. */
static void test_haste_has_its_own_tokens(void **state) {
    (void)state;
    struct o3_world_params gpu = quick_gpu();
    struct rig *r = rig_new("probe: {linger: 30d, suspect_tokens_per_day: 400}\n" NEVER_SURE, &gpu);
    rig_world_event(r, "at 3h decode -30 %");
    rig_preload(r, MODEL, 8192);
    while (!rig_find_event(r, O3_EV_DRIFT_SUSPECT, "decode_rate"))
        rig_run_until(r, r->c->now_ns / 1000000 + 1000);
    int before = r->n_samples;
    int64_t from_ms = r->c->now_ns / 1000000;
    rig_run_until(r, from_ms + 3 * RIG_MINUTE_MS);
    assert_in_range(r->n_samples - before, 10, 13);
    O3_ASSERT_NEAR((double)r->last_sample.around.interval_ms, 60000, 1500); /* whatever the haste */
    rig_restart_sidecar(r);                                                 /* the budget is the day's */
    rig_run_until(r, from_ms + 12 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_DRIFT_CONFIRMED), 0);
    int n_extra = r->n_samples - before - 12;
    if (n_extra < 12 || n_extra > 400 / 20) fail_msg("%d extra probes", n_extra);
    before = r->n_samples;
    rig_run_until(r, from_ms + 15 * RIG_MINUTE_MS);
    assert_in_range(r->n_samples - before, 2, 4); /* spent */
    assert_true(isnan(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L(MODEL, "budget"))));
    rig_free(r);
}

static void test_haste_is_no_hurry_for_slow_machines(void **state) {
    (void)state;
    struct o3_world_params cpu = {.seed = 1, .noise_cv = 0.03, .bandwidth = 10e9, .keep_alive_ms = -1};
    struct rig *r = rig_new("probe: {linger: 30d}\n" NEVER_SURE, &cpu);
    rig_world_event(r, "at 12h decode -40 %");
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 12 * RIG_HOUR_MS);
    double base = rig_metric(r, O3_M_PROBE_INTERVAL_SECONDS, O3_L(MODEL));
    assert_true(base > 90);
    rig_run_until(r, 24 * RIG_HOUR_MS);
    assert_true(rig_count_events(r, O3_EV_DRIFT_SUSPECT) >= 1);
    double busy = rig_metric(r, O3_M_PROBE_BUSY_SECONDS, O3_L(MODEL));
    if (busy > 2 * 0.005 * DAY_S) fail_msg("busy %.0f s a day", busy);
    rig_free(r);
}

static void test_suspected_prefill_is_asked_for_again(void **state) {
    (void)state;
    struct o3_world_params gpu = quick_gpu();
    struct rig *r = rig_new("probe: {linger: 30d}\n", &gpu);
    rig_world_event(r, "at 20h prefill -60 %");
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 30 * RIG_HOUR_MS);
    int64_t suspected = when(r, O3_EV_DRIFT_SUSPECT, "prefill_rate");
    int64_t confirmed = when(r, O3_EV_DRIFT_CONFIRMED, "prefill_rate");
    if (confirmed - suspected > 3 * RIG_HOUR_MS) /* ten samples of the usual cadence are five hours */
        fail_msg("%lld minutes", (long long)((confirmed - suspected) / RIG_MINUTE_MS));
    rig_free(r);
}

/* ---- looks ---- */

static void test_looks_where_no_probe_is_sent(void **state) {
    (void)state;
    struct o3_world_params gpu = quick_gpu();
    gpu.keep_alive_ms = 24 * RIG_HOUR_MS;
    struct rig *r = rig_new("probe: {linger: 10m}\n", &gpu);
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 10 * RIG_MINUTE_MS);
    assert_int_equal(r->n_looks, 0);
    int n = r->n_samples;
    rig_run_until(r, 70 * RIG_MINUTE_MS); /* idle */
    assert_int_equal(r->n_samples, n);
    assert_in_range(r->n_looks, 48, 55); /* every 66 s, at a look at the list */
    const struct o3_sample *s = &r->last_look;
    assert_string_equal(s->model, MODEL);
    assert_int_equal(s->outcome, O3_OUTCOME_OK);
    assert_int_equal(s->num_ctx, 8192);
    assert_true(s->size_bytes > 0 && s->vram_bytes == s->size_bytes);
    assert_int_equal(s->eval_count, -1);
    assert_true(isnan(s->decode_tps) && isnan(s->prefill_tps) && s->ttft_ns == -1);
    assert_true(isnan(rig_metric(r, O3_M_PROBES, O3_L(MODEL, "look", "ok"))));
    rig_world_event(r, "at 71m unload");
    rig_run_until(r, 72 * RIG_MINUTE_MS);
    n = r->n_looks;
    rig_run_until(r, 90 * RIG_MINUTE_MS); /* nothing is loaded */
    assert_int_equal(r->n_looks, n);
    rig_free(r);
}

static void test_looks_when_probes_are_off_and_none_when_the_server_is_down(void **state) {
    (void)state;
    struct o3_world_params gpu = quick_gpu();
    gpu.keep_alive_ms = -1;
    struct rig *r = rig_new("probe: {enabled: false}\n", &gpu);
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 30 * RIG_MINUTE_MS);
    assert_int_equal(r->n_samples, 0);
    assert_in_range(r->n_looks, 22, 28);
    r->c->is_server_gone = true;
    rig_run_until(r, 31 * RIG_MINUTE_MS);
    int n = r->n_looks;
    rig_run_until(r, 60 * RIG_MINUTE_MS);
    assert_int_equal(r->n_looks, n);
    r->c->is_server_gone = false;
    rig_run_until(r, 61 * RIG_MINUTE_MS);
    assert_int_equal(r->n_looks, n + 1); /* the first after the pause */
    assert_true(r->last_look.flags & O3_SAMPLE_AFTER_GAP);
    rig_run_until(r, 62 * RIG_MINUTE_MS);
    assert_int_equal(r->n_looks, n + 2);
    assert_false(r->last_look.flags & O3_SAMPLE_AFTER_GAP);
    rig_free(r);
}

static void test_looks_while_users_are_served(void **state) {
    (void)state;
    struct o3_world_params slow = {.seed = 1, .noise_cv = 0.03, .bandwidth = 4e9, .keep_alive_ms = -1};
    struct rig *r = rig_new(NULL, &slow);
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 2 * RIG_MINUTE_MS);
    int n = r->n_samples;
    for (int i = 0; i < 12; i++) /* one after the other */
        rig_user_generate(r, MODEL, 2000, "\"num_ctx\":8192");
    rig_run_until(r, 8 * RIG_MINUTE_MS);
    assert_true(r->n_users > 0);
    assert_true(r->n_samples <= n + 1);
    assert_in_range(r->n_looks, 4, 6);
    rig_free(r);
}

/* ---- gaps ---- */

static void test_the_first_sample_has_no_predecessor(void **state) {
    (void)state;
    struct o3_world_params gpu = quick_gpu();
    struct rig *r = rig_new("probe: {linger: 30d}\n", &gpu);
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 10000);
    assert_int_equal(r->n_samples, 1);
    assert_true(r->last_sample.flags & O3_SAMPLE_AFTER_GAP);
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    assert_false(r->last_sample.flags & O3_SAMPLE_AFTER_GAP);
    rig_restart_sidecar(r);
    rig_run_until(r, 20 * RIG_MINUTE_MS + 10000);
    assert_true(r->last_sample.flags & O3_SAMPLE_AFTER_GAP);
    rig_run_until(r, 22 * RIG_MINUTE_MS);
    assert_false(r->last_sample.flags & O3_SAMPLE_AFTER_GAP);
    int n = r->n_samples;
    r->c->wall_shift_ms = -3 * RIG_HOUR_MS;
    while (r->n_samples == n)
        rig_run_until(r, r->c->now_ns / 1000000 + 1000);
    assert_true(r->last_sample.flags & O3_SAMPLE_AFTER_GAP);
    rig_run_until(r, 25 * RIG_MINUTE_MS);
    assert_false(r->last_sample.flags & O3_SAMPLE_AFTER_GAP);
    rig_free(r);
}

static void test_a_long_pause_is_a_gap_for_probes(void **state) {
    (void)state;
    struct o3_world_params gpu = quick_gpu();
    gpu.keep_alive_ms = 24 * RIG_HOUR_MS;
    struct rig *r = rig_new("probe: {linger: 10m, prefill_interval: 7d}\n", &gpu);
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 60 * RIG_MINUTE_MS);
    assert_true(r->n_looks > 5);
    assert_false(r->last_look.flags & O3_SAMPLE_AFTER_GAP);
    int n = r->n_samples;
    rig_user_generate(r, MODEL, 10, "\"num_ctx\":8192");
    while (r->n_samples == n)
        rig_run_until(r, r->c->now_ns / 1000000 + 1000);
    assert_true(r->last_sample.flags & O3_SAMPLE_AFTER_GAP);
    n = r->n_samples;
    while (r->n_samples == n)
        rig_run_until(r, r->c->now_ns / 1000000 + 1000);
    assert_false(r->last_sample.flags & O3_SAMPLE_AFTER_GAP);
    rig_free(r);
}

/* ---- what is no disturbance ---- */

static void ask_long(struct rig *r, const char *model, int n_words) {
    O3_AUTO_BUF body;
    o3_buf_init(&body, 1 << 20);
    o3_buf_addf(&body, "{\"model\":\"%s\",\"options\":{\"num_predict\":20,\"num_ctx\":32768},\"prompt\":\"%d", model,
                n_words);
    for (int i = 0; i < n_words; i++)
        o3_buf_adds(&body, " word");
    o3_buf_adds(&body, "\"}");
    uint64_t id = o3_world_request(r->c->world, r->c->now_ns, "POST", "/api/generate", o3_buf_str(&body), body.len);
    r->users[r->n_users++] = id;
    r->c->n_foreign_sockets = r->n_users;
}

/* To put a user's long state aside takes longer than an idle server's answer; nobody was before the probe. */
static void test_a_state_put_aside_is_no_queue(void **state) {
    (void)state;
    struct o3_world_params gpu = quick_gpu();
    struct rig *r = rig_new("probe: {linger: 30d, prefill_interval: 7d}\n", &gpu);
    rig_preload(r, MODEL, 32768);
    int n_slow = 0, n_busy = 0;
    for (int i = 1; i <= 20; i++) {
        rig_run_until(r, i * 3 * RIG_MINUTE_MS);
        ask_long(r, MODEL, 12000 + i);
        while (r->n_users > 0)
            rig_run_until(r, r->c->now_ns / 1000000 + 1000);
        int n = r->n_samples;
        while (r->n_samples == n)
            rig_run_until(r, r->c->now_ns / 1000000 + 1000);
        n_slow += r->last_sample.queue_ns > O3_GATE_QUEUE_WAIT_NS;
        n_busy += (r->last_sample.flags & O3_SAMPLE_BUSY) != 0;
        assert_true(r->last_sample.flags & O3_SAMPLE_AFTER_OTHER);
    }
    if (n_slow < 10 || n_busy > 2) fail_msg("%d slow, %d busy", n_slow, n_busy);
    rig_free(r);
}

/* Each probe says whether the machine slowed itself down; what to make of it is the judge's. */
static void test_throttled_probes_say_so(void **state) {
    (void)state;
    struct o3_world_params cpu = {.seed = 1, .noise_cv = 0.03, .cores = 8};
    struct rig *r = rig_new("probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 0, linger: 30d}\n", &cpu);
    rig_world_event(r, "at 20m quota 4 cores");
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 20 * RIG_MINUTE_MS);
    assert_false(r->last_sample.flags & O3_SAMPLE_THROTTLED);
    assert_int_equal(r->last_sample.around.n_throttled, 0);
    int n = r->n_samples;
    while (r->n_samples == n)
        rig_run_until(r, r->c->now_ns / 1000000 + 1000);
    rig_run_until(r, r->c->now_ns / 1000000 + 15000);
    assert_true(r->last_sample.flags & O3_SAMPLE_THROTTLED);
    assert_true(r->last_sample.around.n_throttled > 0);
    rig_run_until(r, 25 * RIG_MINUTE_MS);
    assert_true(r->last_sample.flags & O3_SAMPLE_THROTTLED);
    assert_true(r->last_sample.around.n_throttled > 0);
    rig_free(r);
}

/* A runner that lost its GPU is well again after the next load: probes do not keep it. */
static void test_a_changed_model_is_hardly_held(void **state) {
    (void)state;
    struct o3_world_params gpu = quick_gpu();
    gpu.keep_alive_ms = 24 * RIG_HOUR_MS;
    struct rig *r = rig_new("probe: {linger: 10m, prefill_interval: 7d, keep_conversation: 0s}\n", &gpu);
    rig_world_event(r, "at 90m decode -30 %");
    rig_preload(r, MODEL, 8192);
    int n[2] = {0};
    for (int m = 6; m <= 150; m += 6) {
        rig_run_until(r, m * RIG_MINUTE_MS);
        int before = r->n_samples;
        rig_user_generate(r, MODEL, 10, "\"num_ctx\":8192");
        rig_run_until(r, (m + 6) * RIG_MINUTE_MS - 1000);
        n[m > 120] = r->n_samples - before;
        if (m == 84) assert_in_range(n[0], 5, 6);
    }
    assert_non_null(rig_find_event(r, O3_EV_DRIFT_CONFIRMED, "decode_rate"));
    assert_in_range(n[1], 1, 2);
    rig_free(r);
}

/* ---- surroundings ---- */

static int64_t file_bytes(struct rig *r, const char *model) {
    O3_AUTO_BUF body;
    o3_buf_init(&body, 1 << 20);
    struct o3_world_output o;
    uint64_t id = o3_world_request(r->c->world, r->c->now_ns, "GET", "/api/tags", "", 0);
    while (o3_world_poll(r->c->world, r->c->now_ns + 1000000, &o))
        if (o.id == id && o.kind == O3_WORLD_DATA) assert_int_equal(o3_buf_add(&body, o.bytes, o.n), 0);
    struct o3_ollama_models *list;
    assert_int_equal(o3_ollama_parse_models(o3_buf_str(&body), body.len, &list, NULL), 0);
    int64_t bytes = -1;
    for (size_t i = 0; i < list->n; i++)
        if (!strcmp(list->v[i].name, model)) bytes = list->v[i].size_bytes;
    o3_ollama_models_free(list);
    return bytes;
}

static void test_a_sample_tells_its_surroundings(void **state) {
    (void)state;
    struct o3_world_params gpu = quick_gpu();
    gpu.vram_bytes = 48LL << 30;
    struct rig *r = rig_new("probe: {linger: 30d, keep_conversation: 0s}\nollama: {memory_bandwidth: 1008}\n", &gpu);
    int64_t bytes = file_bytes(r, MODEL);
    assert_true(bytes > 0);
    rig_run_until(r, 10000);
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 20000);
    const struct o3_surroundings *a = &r->last_sample.around;
    assert_int_equal(r->n_samples, 1);
    assert_string_equal(a->version, "0.32.15");
    assert_int_equal(a->parallel, -1);
    assert_int_equal(a->preset_num_ctx, -1);
    assert_in_range(a->loaded_wall_ms, RIG_START_WALL_MS + 10000, RIG_START_WALL_MS + 16000);
    assert_int_equal(a->weight_bytes, bytes);
    O3_ASSERT_NEAR(a->bandwidth_bytes_per_s, 1008e9, 1);
    assert_int_equal(a->interval_ms, 60000);
    assert_int_equal(a->n_models, 1);
    assert_int_equal(a->n_loads, 1);
    assert_int_equal(a->n_user_requests, 0);
    assert_int_equal(a->other_vram_bytes, 0);
    rig_show_runner(r, MODEL, 8192, 1024, 40001); /* as it was loaded */
    rig_run_until(r, 40 * RIG_MINUTE_MS);
    assert_int_equal(a->parallel, 1);
    assert_int_equal(a->preset_num_ctx, 8192);
    assert_int_equal(a->n_loads, 0);
    int64_t loaded_ms = a->loaded_wall_ms;
    int n = r->n_samples;
    while (r->n_samples == n)
        rig_run_until(r, r->c->now_ns / 1000000 + 1000);
    int64_t now_ms = r->c->now_ns / 1000000;
    for (int i = 1; i <= 3; i++) { /* three users before the next probe */
        rig_user_generate(r, MODEL, 5, "\"num_ctx\":8192");
        rig_run_until(r, now_ms + i * 11000);
    }
    n = r->n_samples;
    while (r->n_samples == n)
        rig_run_until(r, r->c->now_ns / 1000000 + 1000);
    assert_int_equal(a->n_user_requests, 3);
    assert_int_equal(a->loaded_wall_ms, loaded_ms);
    rig_preload(r, OTHER, 4096);
    rig_run_until(r, 45 * RIG_MINUTE_MS);
    struct o3_sample last[2] = {r->last_sample};
    while (!strcmp(r->last_sample.model, last[0].model))
        rig_run_until(r, r->c->now_ns / 1000000 + 1000);
    last[1] = r->last_sample;
    assert_int_equal(last[1].around.n_models, 2);
    assert_int_equal(last[0].around.other_vram_bytes, last[1].vram_bytes);
    assert_int_equal(last[1].around.other_vram_bytes, last[0].vram_bytes);
    rig_free(r);
}

static void test_a_reload_is_counted_and_begins_anew(void **state) {
    (void)state;
    struct o3_world_params gpu = quick_gpu();
    struct rig *r = rig_new("probe: {linger: 30d, keep_conversation: 0s}\n", &gpu);
    rig_preload(r, MODEL, 8192);
    rig_run_until(r, 10 * RIG_MINUTE_MS);
    int64_t loaded_ms = r->last_sample.around.loaded_wall_ms;
    rig_user_generate(r, MODEL, 5, "\"num_ctx\":4096");
    int n = r->n_samples;
    while (r->n_samples == n)
        rig_run_until(r, r->c->now_ns / 1000000 + 1000);
    assert_int_equal(r->last_sample.num_ctx, 4096);
    assert_int_equal(r->last_sample.around.n_loads, 1);
    assert_true(r->last_sample.around.loaded_wall_ms > loaded_ms + 9 * RIG_MINUTE_MS);
    assert_true(r->last_sample.flags & O3_SAMPLE_AFTER_GAP);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_minute_within_the_days_tokens),
        cmocka_unit_test(test_a_cached_prompt_costs_one_token),
        cmocka_unit_test(test_prompts_that_are_not_cached_are_paced),
        cmocka_unit_test(test_suspicion_is_settled_in_minutes),
        cmocka_unit_test(test_haste_has_its_own_tokens),
        cmocka_unit_test(test_haste_is_no_hurry_for_slow_machines),
        cmocka_unit_test(test_suspected_prefill_is_asked_for_again),
        cmocka_unit_test(test_looks_where_no_probe_is_sent),
        cmocka_unit_test(test_looks_when_probes_are_off_and_none_when_the_server_is_down),
        cmocka_unit_test(test_looks_while_users_are_served),
        cmocka_unit_test(test_the_first_sample_has_no_predecessor),
        cmocka_unit_test(test_a_long_pause_is_a_gap_for_probes),
        cmocka_unit_test(test_a_state_put_aside_is_no_queue),
        cmocka_unit_test(test_throttled_probes_say_so),
        cmocka_unit_test(test_a_changed_model_is_hardly_held),
        cmocka_unit_test(test_a_sample_tells_its_surroundings),
        cmocka_unit_test(test_a_reload_is_counted_and_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
