/* SPDX-License-Identifier: Apache-2.0 */
/* When a probe may take the place of a user's conversation in the runner's cache. */
#include "sim/rig.h"

#define MODEL "sim-small:latest"

static struct rig *new_rig(const char *config, int64_t keep_alive_ms) {
    struct o3_world_params gpu = {.seed = 1, .noise_cv = 0.03, .has_gpu = true, .bandwidth = 1008e9};
    gpu.keep_alive_ms = keep_alive_ms;
    struct rig *r = rig_new(config, &gpu);
    rig_preload(r, MODEL, 8192);
    return r;
}

static void ask(struct rig *r) {
    rig_user_generate(r, MODEL, 10, "\"num_ctx\":8192");
}

static int64_t now_ms(const struct rig *r) {
    return r->c->now_ns / 1000000;
}

static int64_t ms_to_next_sample(struct rig *r) {
    int64_t from_ms = now_ms(r);
    int n = r->n_samples;
    while (r->n_samples == n && now_ms(r) - from_ms < RIG_HOUR_MS)
        rig_run_until(r, now_ms(r) + 1000);
    return now_ms(r) - from_ms;
}

static void ask_each(struct rig *r, int64_t step_ms, int64_t until_ms) {
    while (now_ms(r) < until_ms) {
        ask(r);
        rig_run_until(r, now_ms(r) + step_ms);
    }
}

static void test_a_probe_waits_until_the_user_has_gone(void **state) {
    (void)state;
    struct rig *r = new_rig("probe: {prefill_interval: 7d}\n", -1);
    rig_run_until(r, RIG_HOUR_MS);
    ask(r);
    assert_in_range(ms_to_next_sample(r), 150000, 240000);
    assert_in_range(ms_to_next_sample(r), 10000, 20000); /* catching up costs him nothing more */
    assert_true(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L(MODEL, "conversation")) >= 1);
    rig_free(r);
}

static void test_it_does_not_wait_where_that_is_not_wanted(void **state) {
    (void)state;
    struct rig *r = new_rig("probe: {prefill_interval: 7d, keep_conversation: 0s}\n", -1);
    rig_run_until(r, RIG_HOUR_MS);
    ask(r);
    assert_in_range(ms_to_next_sample(r), 2000, 130000);
    assert_true(isnan(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L(MODEL, "conversation"))));
    rig_free(r);
}

/* He who never goes is disturbed after 40 requests, or half an hour, at the latest. */
static void test_who_never_goes_is_disturbed_rarely(void **state) {
    (void)state;
    struct rig *often = new_rig("probe: {prefill_interval: 7d}\n", -1);
    struct rig *seldom = new_rig("probe: {prefill_interval: 7d}\n", -1);
    ask_each(often, 20000, RIG_HOUR_MS);
    ask_each(seldom, 100000, RIG_HOUR_MS);
    int before[2] = {often->n_samples, seldom->n_samples};
    ask_each(often, 20000, 3 * RIG_HOUR_MS);
    ask_each(seldom, 100000, 3 * RIG_HOUR_MS);
    assert_in_range(often->n_samples - before[0], 9, 16); /* of 360 requests */
    assert_in_range(seldom->n_samples - before[1], 4, 24);
    rig_free(often);
    rig_free(seldom);
}

/* Few samples raise the suspicion, which then waits for nobody. */
static void test_a_suspicion_waits_for_nobody(void **state) {
    (void)state;
    struct rig *r = new_rig("probe: {prefill_interval: 7d}\n", -1);
    rig_world_event(r, "at 4h decode -60 %");
    rig_run_until(r, 3 * RIG_HOUR_MS);
    ask_each(r, 30000, 6 * RIG_HOUR_MS);
    const struct rig_event *suspect = rig_find_event(r, O3_EV_DRIFT_SUSPECT, "decode_rate");
    const struct rig_event *confirmed = rig_find_event(r, O3_EV_DRIFT_CONFIRMED, "decode_rate");
    assert_true(suspect && confirmed);
    assert_true(confirmed->mono_ns - suspect->mono_ns < 10 * 60 * O3_NS_PER_S);
    assert_true(confirmed->mono_ns < 5 * 3600 * O3_NS_PER_S);
    rig_free(r);
}

/* Half of a longer wait would be spent without the model. */
static void test_a_short_keep_alive_leaves_time_for_a_probe(void **state) {
    (void)state;
    struct rig *r = new_rig("probe: {prefill_interval: 7d}\n", 90000);
    ask_each(r, 5 * RIG_MINUTE_MS, 2 * RIG_HOUR_MS);
    assert_true(r->n_samples >= 24);
    rig_free(r);
}

/* Nobody is known to have used what was there before us. */
static void test_the_start_does_not_wait(void **state) {
    (void)state;
    struct rig *r = new_rig(NULL, -1);
    assert_in_range(ms_to_next_sample(r), 0, 10000);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_probe_waits_until_the_user_has_gone),
        cmocka_unit_test(test_it_does_not_wait_where_that_is_not_wanted),
        cmocka_unit_test(test_who_never_goes_is_disturbed_rarely),
        cmocka_unit_test(test_a_suspicion_waits_for_nobody),
        cmocka_unit_test(test_a_short_keep_alive_leaves_time_for_a_probe),
        cmocka_unit_test(test_the_start_does_not_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
