/* SPDX-License-Identifier: Apache-2.0 */
/* Rehearsals: alarms against the truth, users with and without the sidecar, and a sidecar that dies at every step. */
#include "o3/rehearsal.h"
#include <math.h>
#include "o3/replace.h"
#include "o3_test.h"
#include "rehearsal/truth.h"

#define FAST                                                                                                           \
    "config probe.interval 10s\nconfig probe.max_busy_ratio 1\nconfig probe.max_tokens_per_day 0\n"                    \
    "config probe.linger 30d\nconfig probe.keep_conversation 0s\n"
#define QUIET "world noise 3 %\nload sim-small ctx 8192\n"
#define MINUTE_NS (60 * O3_NS_PER_S)

struct played {
    struct o3_scenario *scenario;
    struct o3_rehearsal *rehearsal;
    const struct o3_run *run;
};

static struct played play_for(const char *text, uint64_t seed, bool has_twin) {
    struct played p = {0};
    struct o3_err e = {0};
    if (o3_scenario_parse("test", text, strlen(text), &p.scenario, &e) < 0)
        fail_msg("%u:%u: %s", e.line, e.col, e.text);
    struct o3_rehearsal_params params = {.scenario = p.scenario, .seed = seed, .has_twin = has_twin};
    if (o3_rehearsal_new(&params, &p.rehearsal, &e) < 0) fail_msg("%u: %s", e.line, e.text);
    o3_rehearsal_run(p.rehearsal, p.scenario->duration_ns);
    p.run = o3_rehearsal_finish(p.rehearsal);
    return p;
}

static void done(struct played *p) {
    o3_rehearsal_free(p->rehearsal);
    o3_scenario_free(p->scenario);
}

static void test_change_is_found_and_told(void **state) {
    (void)state;
    struct played p = play_for(QUIET FAST "at 30m decode -40 %\nrun for 1h\n", 1, false);
    assert_int_equal(p.run->n_changes, 1);
    const struct o3_run_change *c = &p.run->changes[0];
    assert_int_equal(c->at_ns, 30 * MINUTE_NS);
    assert_string_equal(c->signal, "decode_rate");
    O3_ASSERT_NEAR(c->ratio, -0.4, 0.001);
    assert_true(c->until_ns == INT64_MAX);
    assert_true(c->told_ns > c->at_ns && c->told_ns < 40 * MINUTE_NS);
    assert_int_equal(p.run->delay_seconds.n, 1);
    assert_true(p.run->n_alarms >= 1);
    assert_int_equal(p.run->n_false_alarms, 0);
    O3_ASSERT_NEAR(p.run->alarms[0].true_ratio, -0.4, 0.02);
    assert_int_equal(p.run->n_induced_reloads, 0);
    assert_true(p.run->n_probes > 300 && p.run->busy_seconds > 100);
    assert_int_equal(p.run->simulated_ns, 60 * MINUTE_NS);
    done(&p);
}

/* The cause is that of the next line that expects one; the alarms name their incident. */
static void test_incidents_are_kept(void **state) {
    (void)state;
    static const char TEXT[] =
        "world gpu 24GiB\n" QUIET FAST
        "by 30m expect incident cause=swapping\nat 40m gpu lost\nat 40m load sim-small ctx 8192\n"
        "by 50m expect incident cause=gpu_share_fell\n"
        "by 60m expect incident cause=throttling\nrun for 1h\n";
    struct played p = play_for(TEXT, 1, false);
    assert_int_equal(p.run->n_incidents, 1);
    const struct o3_run_incident *i = &p.run->incidents[0];
    assert_int_equal(i->id, 1);
    assert_string_equal(i->cause, "gpu_share_fell");
    assert_string_equal(i->expected, "gpu_share_fell");
    assert_true(i->evidence[0] && i->weight > 0.5 && i->weight <= 1);
    assert_true(i->opened_ns > 40 * MINUTE_NS && i->closed_ns == INT64_MAX);
    assert_true(p.run->n_alarms >= 3);
    for (int64_t n = 0; n < p.run->n_alarms; n++)
        assert_int_equal(p.run->alarms[n].incident, 1);
    done(&p);
}

static void test_change_that_ends_is_closed(void **state) {
    (void)state;
    struct played p = play_for(QUIET FAST "at 30m decode -40 % for 20m\nrun for 80m\n", 1, false);
    assert_int_equal(p.run->n_changes, 1);
    assert_int_equal(p.run->changes[0].until_ns, 50 * MINUTE_NS);
    assert_int_equal(p.run->n_false_alarms, 0);
    done(&p);
}

static void test_small_change_is_none(void **state) {
    (void)state;
    struct played p = play_for(QUIET FAST "at 30m decode -3 %\nrun for 1h\n", 1, false);
    assert_int_equal(p.run->n_changes, 0);
    done(&p);
}

/* Alarms that the world gives no reason for, and one in the wrong direction. */
static void test_alarm_without_a_change_is_false(void **state) {
    (void)state;
    struct o3_world_params wp = {.seed = 1, .noise_cv = 0.03, .keep_alive_ms = -1};
    struct o3_world *w = o3_world_new(&wp);
    struct o3_err e;
    assert_int_equal(o3_world_preload(w, "sim-small", 8192, 0, &e), 0);
    assert_int_equal(o3_world_add_event(w, "at 40m decode -20 %", &e), 0);
    struct o3_truth *t = malloc(sizeof *t);
    struct o3_run *run = calloc(1, sizeof *run);
    o3_truth_init(t, w, 0.05, 30);
    struct o3_sample s = {.kind = O3_PROBE_DECODE, .model = "sim-small:latest", .prompt_eval_count = 20};
    for (int i = 0; i < 60; i++) {
        s.mono_ns = i * MINUTE_NS;
        struct o3_world_output o;
        while (o3_world_poll(w, s.mono_ns, &o))
            ;
        if (i == 30) o3_truth_baseline(t, run, s.model, "decode_rate", s.mono_ns);
        if (i == 35) o3_truth_alarm(t, run, s.model, "decode_rate", -0.2, 31 * MINUTE_NS, s.mono_ns);
        o3_truth_sample(t, run, &s);
    }
    assert_int_equal(run->n_false_alarms, 1);
    o3_truth_alarm(t, run, s.model, "decode_rate", 0.2, 41 * MINUTE_NS, s.mono_ns);
    assert_int_equal(run->n_false_alarms, 2);
    o3_truth_alarm(t, run, s.model, "decode_rate", -0.18, 41 * MINUTE_NS, s.mono_ns);
    assert_int_equal(run->n_alarms, 3);
    assert_int_equal(run->n_false_alarms, 2);
    O3_ASSERT_NEAR(run->alarms[2].true_ratio, -0.2, 0.001);
    free(run);
    free(t);
    o3_world_free(w);
}

/* Somebody's context is in force for half an hour; then the setting and its baseline are the old ones again. */
static void test_setting_that_returns_is_compared_with_its_own_baseline(void **state) {
    (void)state;
    struct played p = play_for(QUIET FAST "world keep-alive -1\n"
                                          "at 30m load sim-small ctx 4096\nat 1h load sim-small ctx 8192\n"
                                          "at 80m decode -40 %\nrun for 110m\n",
                               1, false);
    assert_int_equal(p.run->n_changes, 1);
    assert_int_equal(p.run->changes[0].at_ns, 80 * MINUTE_NS);
    O3_ASSERT_NEAR(p.run->changes[0].ratio, -0.4, 0.001);
    assert_true(p.run->changes[0].told_ns != INT64_MAX);
    assert_true(p.run->n_alarms >= 1);
    assert_int_equal(p.run->n_false_alarms, 0);
    done(&p);
}

/* The model is another one when the sidecar comes back, which no event of the sidecar tells. */
static void test_setting_that_changes_unseen_has_no_baseline_yet(void **state) {
    (void)state;
    struct played p = play_for(QUIET FAST "world keep-alive -1\nat 30m sidecar stopped for 5m\n"
                                          "at 31m load sim-small ctx 4096\nat 31m decode -40 %\nrun for 90m\n",
                               1, false);
    assert_int_equal(p.run->n_changes, 0);
    /* The speeds are not compared; that the context is another one is true, whatever it was before. */
    assert_int_equal(p.run->n_alarms, 1);
    assert_string_equal(p.run->alarms[0].signal, "context");
    assert_int_equal(p.run->n_false_alarms, 0);
    done(&p);
}

#define USERS "users 30/h sim-small turns 3 ctx 8192\n"

/* With the probes off both worlds must be the same to the nanosecond: then each difference else is ours. */
static void test_twin_worlds_are_equal_without_probes(void **state) {
    (void)state;
    struct played p = play_for(QUIET USERS "config probe.enabled false\nrun for 12h\n", 3, true);
    assert_true(p.run->n_requests > 500);
    assert_true(p.run->added_total.n > 500);
    assert_int_equal(p.run->added_total.n, p.run->added_total.n_zero);
    assert_int_equal(p.run->added_ttft.n, p.run->added_ttft.n_zero);
    assert_int_equal(p.run->n_unpaired, 0);
    assert_int_equal(p.run->n_probes, 0);
    done(&p);
}

static void test_disturbance_is_seen(void **state) {
    (void)state;
    struct played p = play_for(QUIET USERS FAST "config probe.idle_for 0s\nrun for 12h\n", 3, true);
    assert_true(p.run->n_probes > 500);
    assert_true(p.run->added_total.n > 500);
    assert_true(p.run->added_total.n_zero < p.run->added_total.n);
    assert_true(p.run->added_ttft.max > 0.01); /* somebody waited behind a probe */
    done(&p);
}

static void test_dies_at_every_step_of_a_write(void **state) {
    (void)state;
    for (int s = 0; s < O3_REPLACE_DISCARD; s++) {
        char text[1024];
        snprintf(
            text, sizeof text,
            "%sat 1m sidecar killed at %s\nby 20m expect preset_written\nnever expect induced_reload\nrun for 20m\n",
            QUIET FAST, O3_REPLACE_STEP_NAMES[s]);
        struct played p = play_for(text, 1, false);
        assert_int_equal(p.run->n_restarts, 1);
        assert_int_equal(p.run->n_torn_files, 0);
        assert_int_equal(p.run->n_broken, 0);
        assert_true(p.run->n_preset_writes >= 1);
        assert_true(o3_run_is_good(p.run));
        done(&p);
    }
}

/* An hour of it ends while the disk is full for good, or for another reason. */
static void test_fault_lasts_while_any_line_says_so(void **state) {
    (void)state;
    struct played p = play_for(QUIET FAST "at 1m disk full for 30m\nat 2m disk full for 1m\n"
                                          "at 1m disk read-only for 20m\nby 40m expect preset_written\n"
                                          "never expect preset_written before 30m\nrun for 40m\n",
                               1, false);
    assert_int_equal(p.run->n_broken, 0);
    assert_true(p.run->n_failed_writes > 0);
    done(&p);
}

static void test_only_what_lives_is_killed(void **state) {
    (void)state;
    struct played a = play_for(QUIET FAST "at 10m sidecar stopped for 40m\nrun for 1h\n", 1, false);
    struct played b = play_for(QUIET FAST "at 10m sidecar stopped for 40m\nat 15m sidecar killed\n"
                                          "at 20m sidecar stopped for 5m\nrun for 1h\n",
                               1, false);
    assert_int_equal(a.run->n_restarts, 1);
    assert_int_equal(b.run->n_restarts, 1);
    assert_int_equal(a.run->n_probes, b.run->n_probes);
    done(&a);
    done(&b);
}

static void test_spilled_loads_are_counted(void **state) {
    (void)state;
    struct played p = play_for("world gpu 6GiB\nload sim-medium ctx 32768\nrun for 1h\n", 1, false);
    assert_true(p.run->has_gpu);
    assert_int_equal(p.run->n_spilled_loads, 1);
    done(&p);
    p = play_for(QUIET "run for 1h\n", 1, false);
    assert_false(p.run->has_gpu);
    done(&p);
}

/* A new process holds no runner for stuck until it has seen that. */
static void test_state_of_things_ends_with_the_process(void **state) {
    (void)state;
    struct played p = play_for(
        QUIET FAST "users 240/h sim-small turns 1 prompt 50 answer 30 ctx 8192\n"
                   "at 30m hang for 40m\nby 1h expect runner_stuck\nat 69m sidecar killed\n"
                   "at 100m decode -40 %\nby 2h20 expect confirmed\nnever expect confirmed while stuck\nrun for 140m\n",
        1, false);
    for (int i = 0; i < p.run->n_broken; i++)
        print_message("%s: %s\n", p.run->failures[i].text, p.run->failures[i].found);
    assert_int_equal(p.run->n_broken, 0);
    done(&p);
}

/* Two writes wait for the new process, and it dies in the first: of the second it says and does nothing more. */
static void test_dead_process_says_nothing(void **state) {
    (void)state;
    struct played p = play_for(QUIET FAST "load sim-medium ctx 8192\nat 1m disk full for 20m\n"
                                          "at 25m sidecar killed at rename\nat 25m sidecar killed\n"
                                          "by 30m expect preset_written model=sim-small\n"
                                          "by 30m expect preset_written model=sim-medium\n"
                                          "never expect preset_write_failed after 25m\nrun for 40m\n",
                               1, false);
    for (int i = 0; i < p.run->n_broken; i++)
        print_message("%s: %s\n", p.run->failures[i].text, p.run->failures[i].found);
    assert_int_equal(p.run->n_broken, 0);
    assert_int_equal(p.run->n_restarts, 2);
    done(&p);
}

static void test_series_reach_to_the_end(void **state) {
    (void)state;
    struct played p = play_for(QUIET FAST "run for 1h\n", 1, false);
    const struct o3_run_series *s = &p.run->models[0].decode_rate;
    assert_int_equal(s->n, O3_RUN_POINTS_MAX);
    assert_true((double)s->step_ns * s->n >= (double)p.run->simulated_ns);
    done(&p);
}

static void test_broken_expectation_is_told(void **state) {
    (void)state;
    struct played p = play_for(QUIET FAST "at 30m decode -40 %\nnever expect confirmed slower\nrun for 50m\n", 1,
                               false);
    assert_int_equal(p.run->n_expects, 1);
    assert_int_equal(p.run->n_broken, 1);
    assert_true(p.run->failures[0].line > 0);
    assert_string_equal(p.run->failures[0].text, "never expect confirmed slower");
    assert_true(p.run->failures[0].found[0]);
    assert_false(o3_run_is_good(p.run));
    done(&p);
}

static void test_same_seed_same_run(void **state) {
    (void)state;
    const char *text = QUIET USERS FAST "at 90m decode -20 % for 1h\nat 2h sidecar killed\nrun for 4h\n";
    struct played a = play_for(text, 5, true), b = play_for(text, 5, true), c = play_for(text, 6, true);
    assert_memory_equal(a.run, b.run, sizeof *a.run);
    assert_memory_not_equal(a.run, c.run, sizeof *a.run);
    assert_int_equal(a.run->n_restarts, 1);
    done(&a);
    done(&b);
    done(&c);
}

static void test_jump_of_the_clock_is_no_change(void **state) {
    (void)state;
    struct played p = play_for(QUIET FAST "at 20m clock +2h\nat 40m clock -3h\n"
                                          "by 41m expect clock_jumped\nnever expect confirmed\nrun for 2h\n",
                               1, false);
    assert_int_equal(p.run->n_broken, 0);
    assert_true(p.run->n_probes > 400);
    done(&p);
}

/* A change is told with the time of the wall clock as it was then. */
static void test_jump_between_a_change_and_its_alarm(void **state) {
    (void)state;
    static const char *const TEXTS[] = {QUIET FAST "at 1h decode -15 %\nat 60m40 clock +6h\nrun for 2h\n",
                                        QUIET FAST "at 1h decode -15 %\nat 60m40 clock -6h\nrun for 2h\n"};
    for (int i = 0; i < 2; i++) {
        struct played p = play_for(TEXTS[i], 1, false);
        assert_true(p.run->n_alarms > 0);
        assert_int_equal(p.run->n_false_alarms, 0);
        assert_string_equal(p.run->alarms[0].signal, "decode_rate");
        O3_ASSERT_NEAR((double)p.run->alarms[0].since_ns / 60e9, 60, 0.5);
        O3_ASSERT_NEAR(p.run->alarms[0].true_ratio, -0.15, 0.02);
        done(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_change_is_found_and_told),
        cmocka_unit_test(test_incidents_are_kept),
        cmocka_unit_test(test_change_that_ends_is_closed),
        cmocka_unit_test(test_small_change_is_none),
        cmocka_unit_test(test_alarm_without_a_change_is_false),
        cmocka_unit_test(test_twin_worlds_are_equal_without_probes),
        cmocka_unit_test(test_disturbance_is_seen),
        cmocka_unit_test(test_dies_at_every_step_of_a_write),
        cmocka_unit_test(test_setting_that_returns_is_compared_with_its_own_baseline),
        cmocka_unit_test(test_setting_that_changes_unseen_has_no_baseline_yet),
        cmocka_unit_test(test_fault_lasts_while_any_line_says_so),
        cmocka_unit_test(test_only_what_lives_is_killed),
        cmocka_unit_test(test_state_of_things_ends_with_the_process),
        cmocka_unit_test(test_dead_process_says_nothing),
        cmocka_unit_test(test_series_reach_to_the_end),
        cmocka_unit_test(test_spilled_loads_are_counted),
        cmocka_unit_test(test_broken_expectation_is_told),
        cmocka_unit_test(test_same_seed_same_run),
        cmocka_unit_test(test_jump_of_the_clock_is_no_change),
        cmocka_unit_test(test_jump_between_a_change_and_its_alarm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
