/* SPDX-License-Identifier: Apache-2.0 */
/* What the simulated machine shows in /proc and /sys: each trouble in its own sensor, and in no other. */
#include "sim/client.h"
#include "o3/cause.h"
#include "o3/host.h"

#define SMALL "sim-small:latest"
#define CTX "\"num_ctx\":4096"

static struct o3_world *world(struct o3_world_params p, const char *event) {
    p.keep_alive_ms = -1;
    struct o3_world *w = client_world(p);
    if (event) client_event(w, event);
    assert_int_equal(o3_world_preload(w, SMALL, 4096, 0, NULL), 0);
    return w;
}

static double decode(struct o3_world *w, int64_t t) {
    struct figures f = client_generate(w, t, SMALL, 2, "", 32, CTX);
    return client_decode_tps(&f);
}

static struct o3_host_state host(const struct o3_world *w, int64_t t) {
    struct o3_host_state h;
    o3_world_host(w, t, &h);
    return h;
}

/* Asks once a minute; the state an hour later. */
static struct o3_host_state after_an_hour(struct o3_world *w, int64_t from) {
    for (int i = 0; i < 60; i++)
        decode(w, from + i * MIN);
    return host(w, from + HOUR);
}

static void a_sound_machine_shows_nothing(void **state) {
    (void)state;
    struct o3_world *w = world((struct o3_world_params){0}, NULL);
    struct o3_host_state h = after_an_hour(w, MIN);
    for (int i = 0; i < O3_HOST_RESOURCE_COUNT; i++)
        O3_ASSERT_NEAR(h.pressure[i].some + h.pressure[i].full, 0, 0);
    assert_int_equal(h.n_heat + h.n_quota + h.swapped_in_bytes, 0);
    assert_true(h.memory_limit_bytes == INT64_MAX && isinf(h.cpu_quota_cores));
    O3_ASSERT_NEAR((double)h.memory_available_bytes, (double)((32LL << 30) - client_ps(w, 2 * HOUR, "size")), 1e6);
    assert_string_equal(h.gpu, "");
    o3_world_free(w);
}

static void neighbours_and_disks_show_as_pressure(void **state) {
    (void)state;
    struct o3_world *w = world((struct o3_world_params){0}, "at 1h neighbour 50 %");
    client_event(w, "at 2h disk slow 5x");
    O3_ASSERT_NEAR(host(w, HOUR - S).pressure[O3_HOST_CPU].some, 0, 0);
    O3_ASSERT_NEAR(host(w, HOUR).pressure[O3_HOST_CPU].some, 0.5, 1e-12);
    O3_ASSERT_NEAR(host(w, HOUR).pressure[O3_HOST_IO].some, 0, 0);
    O3_ASSERT_NEAR(host(w, 2 * HOUR).pressure[O3_HOST_IO].some, 0.8, 1e-12);
    o3_world_free(w);
    /* One on the GPU does not. */
    w = world((struct o3_world_params){.has_gpu = true}, "at 1h neighbour 50 %");
    O3_ASSERT_NEAR(host(w, HOUR).pressure[O3_HOST_CPU].some, 0, 0);
    o3_world_free(w);
}

static void a_quota_is_counted_while_work_waits(void **state) {
    (void)state;
    struct o3_world *w = world((struct o3_world_params){0}, "at 0s quota 6 cores");
    O3_ASSERT_NEAR(host(w, S).cpu_quota_cores, 6, 0);
    assert_int_equal(host(w, HOUR).n_quota, 0); /* idle */
    int64_t before = HOUR;
    struct figures f = client_generate(w, before, SMALL, 2, "", 32, CTX);
    double busy_s = (double)(f.end_ns - before) / 1e9;
    O3_ASSERT_NEAR((double)host(w, 2 * HOUR).n_quota, 10 * busy_s, 1.5);
    o3_world_free(w);
    w = world((struct o3_world_params){0}, "at 0s quota 8 cores"); /* as many as threads */
    assert_int_equal(after_an_hour(w, MIN).n_quota, 0);
    o3_world_free(w);
    w = world((struct o3_world_params){.has_gpu = true}, "at 0s quota 2 cores");
    assert_int_equal(after_an_hour(w, MIN).n_quota, 0);
    client_event(w, "at 3h gpu lost unseen"); /* then it works on the processor */
    assert_true(after_an_hour(w, 3 * HOUR).n_quota > 100);
    o3_world_free(w);
}

static void heat_of_a_processor_is_counted(void **state) {
    (void)state;
    struct o3_world *w = world((struct o3_world_params){0}, "at 1h thermal 30C");
    assert_int_equal(after_an_hour(w, MIN).n_heat, 0);
    for (int i = 0; i < 10; i++)
        client_generate(w, 3 * HOUR + i * 30 * S, SMALL, 2, "", 800, CTX);
    assert_in_range(host(w, 4 * HOUR).n_heat, 30, 400);
    assert_int_equal(host(w, 5 * HOUR).n_heat, host(w, 4 * HOUR).n_heat);
    o3_world_free(w);
    w = world((struct o3_world_params){.has_gpu = true}, "at 0s thermal 30C");
    for (int i = 0; i < 10; i++)
        client_generate(w, HOUR + i * 30 * S, SMALL, 2, "", 800, CTX);
    assert_int_equal(host(w, 4 * HOUR).n_heat, 0);
    o3_world_free(w);
}

static void short_memory_is_swapped(void **state) {
    (void)state;
    struct o3_world *w = world((struct o3_world_params){.ram_bytes = 8LL << 30}, "at 1h tenant 6GiB");
    double alone = decode(w, MIN);
    struct o3_host_state h = host(w, HOUR);
    assert_int_equal(h.memory_available_bytes, 0);
    O3_ASSERT_NEAR(h.pressure[O3_HOST_MEMORY].some, 0.5, 0);
    double slow = decode(w, HOUR + MIN);
    assert_true(slow < alone / 2);
    O3_ASSERT_NEAR(o3_world_expected(w, SMALL, O3_WORLD_DECODE_RATE, HOUR + 2 * MIN) / slow, 1, 0.02);
    h = after_an_hour(w, HOUR + 10 * MIN);
    assert_true(h.swapped_in_bytes > 1LL << 30);
    o3_world_free(w);
    /* As long as there is room, nothing happens. */
    w = world((struct o3_world_params){.ram_bytes = 8LL << 30}, "at 1h tenant 4GiB");
    alone = decode(w, MIN);
    O3_ASSERT_NEAR(decode(w, HOUR + MIN) / alone, 1, 0.08);
    h = host(w, 2 * HOUR);
    assert_int_equal(h.swapped_in_bytes, 0);
    assert_in_range(h.memory_available_bytes, 1 << 20, 2LL << 30);
    o3_world_free(w);
}

static void gpus_are_named_by_their_bandwidth(void **state) {
    (void)state;
    static const double GB_PER_S[] = {300, 360, 864, 936, 1008, 1792, 2039, 3350, 4800};
    for (size_t i = 0; i < sizeof GB_PER_S / sizeof *GB_PER_S; i++) {
        struct o3_world *w = world((struct o3_world_params){.has_gpu = true, .bandwidth = GB_PER_S[i] * 1e9}, NULL);
        struct o3_host_state h = host(w, S);
        O3_ASSERT_NEAR(o3_gpu_bandwidth(h.gpu), GB_PER_S[i] * 1e9, 1);
        o3_world_free(w);
    }
    struct o3_world *w = world((struct o3_world_params){.has_gpu = true}, NULL);
    assert_string_equal(host(w, S).gpu, "Simulated GPU, driver 550.54.15");
    o3_world_free(w);
}

/* The same answers to the nanosecond, however often somebody looks. */
static void looking_changes_nothing(void **state) {
    (void)state;
    int64_t ends[2];
    for (int looks = 0; looks < 2; looks++) {
        struct o3_world *w = world((struct o3_world_params){.noise_cv = 0.03}, "at 10m thermal 40C");
        client_event(w, "at 20m quota 6 cores");
        for (int i = 0; i < 60; i++) {
            for (int k = 0; k < looks * 5; k++)
                host(w, i * MIN + k * S);
            ends[looks] = client_generate(w, i * MIN + 10 * S, SMALL, 2, "", 100, CTX).end_ns;
        }
        o3_world_free(w);
    }
    assert_int_equal(ends[0], ends[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_machine_shows_nothing),
        cmocka_unit_test(neighbours_and_disks_show_as_pressure),
        cmocka_unit_test(a_quota_is_counted_while_work_waits),
        cmocka_unit_test(heat_of_a_processor_is_counted),
        cmocka_unit_test(short_memory_is_swapped),
        cmocka_unit_test(gpus_are_named_by_their_bandwidth),
        cmocka_unit_test(looking_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
