/* SPDX-License-Identifier: Apache-2.0 */
/* Stuck is a runner that serves nobody, though nobody is before us; it is told once. */
#include "sim/rig.h"

#define MODEL "sim-small:latest"
#define FAST "probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 0, linger: 30d}\n"

/* The server looks idle at each probe, and none is answered. */
static void test_silence_is_told_once(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    rig_world_event(r, "at 10m hang for 50m");
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 19 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_RUNNER_STUCK), 0); /* not before probe.max_busy */
    rig_run_until(r, 59 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_RUNNER_STUCK), 1);
    O3_ASSERT_NEAR(rig_metric(r, O3_M_OLLAMA_STUCK, O3_L(MODEL)), 1, 0);
    rig_run_until(r, 65 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_RUNNER_FREE), 1);
    rig_free(r);
}

/* Where no socket can be seen, a probe may be behind users. */
static void test_silence_without_sockets_is_no_proof(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    r->c->sockets_unreadable = true;
    rig_world_event(r, "at 10m hang for 50m");
    rig_preload(r, MODEL, 4096);
    rig_run_until(r, 59 * RIG_MINUTE_MS);
    assert_int_equal(rig_count_events(r, O3_EV_RUNNER_STUCK), 0);
    assert_true(rig_metric(r, O3_M_PROBES, O3_L(MODEL, "decode", "timeout")) >= 10);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silence_is_told_once),
        cmocka_unit_test(test_silence_without_sockets_is_no_proof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
