/* SPDX-License-Identifier: Apache-2.0 */
/* A model whose name stands for something else than what is loaded: the next request would load it, and a probe never
 * does. */
#include "sim/rig.h"

#define MODEL "sim-small:latest"
#define FAST "probe: {interval: 10s, max_busy_ratio: 1, max_tokens_per_day: 0, linger: 30d}\n"

static struct rig *rig_for_hours(void) {
    struct rig *r = rig_new(FAST, &(struct o3_world_params){.seed = 1, .noise_cv = 0.03, .keep_alive_ms = -1});
    rig_preload(r, MODEL, 4096);
    return r;
}

static int64_t n_loads(struct rig *r) {
    struct o3_world_truth t;
    o3_world_truth(r->c->world, r->c->now_ns, &t);
    return t.n_loads;
}

static int64_t minutes(int64_t n) {
    return n * RIG_MINUTE_MS;
}

static bool is_paused_for_update(const struct rig *r) {
    return rig_metric(r, O3_M_PROBE_PAUSED, O3_L(MODEL, "updated")) == 1;
}

static void create(struct rig *r, const char *parameters) {
    char body[300];
    snprintf(body, sizeof body, "{\"model\":\"sim-small\",\"from\":\"sim-small\",\"parameters\":{%s}}", parameters);
    o3_world_request(r->c->world, r->c->now_ns, "POST", "/api/create", body, strlen(body));
}

static void test_update_waits_for_a_user(void **state) {
    (void)state;
    struct rig *r = rig_for_hours();
    rig_world_event(r, "at 10m update sim-small");
    rig_run_until(r, minutes(10));
    int n_before = r->n_samples;
    rig_run_until(r, minutes(30));
    assert_int_equal(n_loads(r), 1);
    assert_true(r->n_samples - n_before <= 1); /* what was under way */
    assert_true(is_paused_for_update(r));
    assert_true(rig_metric(r, O3_M_PROBES_SKIPPED, O3_L(MODEL, "updated")) >= 10);
    assert_int_equal(rig_count_events(r, O3_EV_MODEL_SKIPPED), 1);
    assert_string_equal(rig_find_event(r, O3_EV_MODEL_SKIPPED, NULL)->reason, "updated");
    n_before = r->n_samples;
    rig_user_generate(r, MODEL, 20, "\"num_ctx\":4096");
    rig_run_until(r, minutes(40));
    assert_int_equal(n_loads(r), 2);
    assert_true(r->n_samples - n_before >= 20);
    assert_false(is_paused_for_update(r));
    assert_int_equal(rig_count_events(r, O3_EV_INDUCED_RELOAD), 0);
    assert_int_equal(rig_count_events(r, O3_EV_EPOCH_CHANGED), 1);
    rig_free(r);
}

static void test_update_before_our_start_waits_too(void **state) {
    (void)state;
    struct rig *r = rig_for_hours();
    rig_world_event(r, "at 10m update sim-small");
    rig_run_until(r, minutes(10) + 1000);
    rig_restart_sidecar(r);
    int n_before = r->n_samples;
    rig_run_until(r, minutes(30));
    assert_int_equal(r->n_samples, n_before);
    assert_int_equal(n_loads(r), 1);
    assert_true(is_paused_for_update(r));
    rig_free(r);
}

static void test_new_texts_need_no_load(void **state) {
    (void)state;
    struct rig *r = rig_for_hours();
    rig_run_until(r, minutes(10));
    create(r, "\"temperature\":0.5");
    int n_before = r->n_samples;
    rig_run_until(r, minutes(30));
    assert_true(r->n_samples - n_before >= 40);
    assert_int_equal(n_loads(r), 1);
    assert_int_equal(rig_count_events(r, O3_EV_MODEL_SKIPPED), 0);
    rig_free(r);
}

static void test_new_options_of_the_runner_need_a_load(void **state) {
    (void)state;
    struct rig *r = rig_for_hours();
    rig_run_until(r, minutes(10));
    create(r, "\"num_batch\":256");
    rig_run_until(r, minutes(30));
    assert_true(is_paused_for_update(r));
    assert_int_equal(n_loads(r), 1);
    rig_free(r);
}

static void copy(struct rig *r, const char *from, const char *to) {
    char body[200];
    snprintf(body, sizeof body, "{\"source\":\"%s\",\"destination\":\"%s\"}", from, to);
    o3_world_request(r->c->world, r->c->now_ns, "POST", "/api/copy", body, strlen(body));
}

/* The old one came back under the name: nothing would be loaded. */
static void test_update_that_is_undone(void **state) {
    (void)state;
    struct rig *r = rig_for_hours();
    copy(r, "sim-small", "kept");
    rig_run_until(r, minutes(10));
    create(r, "\"num_batch\":256");
    rig_run_until(r, minutes(20));
    assert_true(is_paused_for_update(r));
    copy(r, "kept", "sim-small");
    int n_before = r->n_samples;
    rig_run_until(r, minutes(30));
    assert_false(is_paused_for_update(r));
    assert_true(r->n_samples - n_before >= 20);
    assert_int_equal(n_loads(r), 1);
    rig_free(r);
}

static void test_probing_goes_on_without_the_list(void **state) {
    (void)state;
    struct rig *r = rig_for_hours();
    r->c->too_long_path = "/api/tags";
    rig_run_until(r, minutes(10));
    assert_true(r->n_samples >= 40);
    assert_int_equal(rig_count_events(r, O3_EV_OLLAMA_DOWN), 0);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update_waits_for_a_user), cmocka_unit_test(test_update_before_our_start_waits_too),
        cmocka_unit_test(test_new_texts_need_no_load),  cmocka_unit_test(test_new_options_of_the_runner_need_a_load),
        cmocka_unit_test(test_update_that_is_undone),   cmocka_unit_test(test_probing_goes_on_without_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
