/* SPDX-License-Identifier: Apache-2.0 */
/* The rate of false alarms that the drift detector is configured for, counted on simulated noise. `./dev study drift`
 * does it on more samples, for the rate that is shipped. */
#include "bench/drift_noise.h"
#include "o3_test.h"
#include "o3/drift.h"
#include "o3/num.h"
#include "o3/rand.h"
#include "o3/stat.h"

#define ARL0 1440 /* the smallest that is calibrated: a day */
#define SAMPLES 2000000
#define LEVEL 40.0
#define CV 0.05
#define SURE 0.999 /* of the interval: chance fails one seed in a thousand, and the seeds are fixed */

static bool is_alarm(enum o3_drift_event ev, bool confirmed_only) {
    return ev == O3_DRIFT_EV_CONFIRMED || (ev == O3_DRIFT_EV_SUSPECT && !confirmed_only);
}

/* Interval of the number of alarms in ARL0 samples: the detector starts over after each. */
static struct o3_interval alarms_of(enum drift_noise_kind kind, double rho, bool confirmed_only, uint64_t seed) {
    struct o3_drift_params p = o3_drift_params_default();
    struct drift_noise noise;
    int64_t n_alarms = 0;
    p.arl0_samples = ARL0;
    p.min_effect = 0;
    struct o3_drift *d = o3_drift_new(&p);
    assert_non_null(d);
    drift_noise_init(&noise, kind, CV, rho, seed);
    for (int64_t i = 0; i < SAMPLES; i++) {
        double t_s = DRIFT_NOISE_STEP_S * (double)i, x = LEVEL * (1 + drift_noise_at(&noise, t_s));
        if (!is_alarm(o3_drift_add(d, fmax(x, 0.01), (int64_t)(1000 * t_s), NULL), confirmed_only)) continue;
        n_alarms++;
        o3_drift_reset(d);
    }
    o3_drift_free(d);
    struct o3_interval found = o3_poisson(n_alarms, SURE);
    double days = (double)SAMPLES / ARL0;
    print_message("noise %d: %lld alarms, %.3f to %.3f of what is configured\n", (int)kind, (long long)n_alarms,
                  found.lo / days, found.hi / days);
    return (struct o3_interval){found.lo / days, found.hi / days, SURE};
}

static void gaussian_noise_alarms_as_often_as_configured(void **state) {
    (void)state;
    struct o3_interval rate = alarms_of(DRIFT_NOISE_GAUSS, 0, false, 1);
    assert_true(rate.lo <= 1 && 1 <= rate.hi);
}

static void other_noise_confirms_no_more_often_than_configured(void **state) {
    (void)state;
    assert_true(alarms_of(DRIFT_NOISE_HEAVY, 0, true, 2).lo <= 1);
    assert_true(alarms_of(DRIFT_NOISE_OUTLIER, 0, true, 3).lo <= 1);
    assert_true(alarms_of(DRIFT_NOISE_OU, 0.3, true, 4).lo <= 1);
}

/* Users keep the sidecar waiting: one probe in five comes late. Noise with a long memory is whitened all the same. */
static int64_t suspected_between_users(uint64_t seed) {
    struct o3_drift_params p = o3_drift_params_default();
    struct drift_noise noise;
    struct o3_rand delays;
    double t_s = 0;
    int64_t n_suspected = 0;
    o3_rand_seed(&delays, seed);
    drift_noise_init(&noise, DRIFT_NOISE_OU, CV, 0.79, seed);
    struct o3_drift *d = o3_drift_new(&p);
    assert_non_null(d);
    for (int i = 0; i < 20000; i++) {
        t_s += DRIFT_NOISE_STEP_S;
        if (o3_rand_uniform(&delays) < 0.2) t_s -= 120 * o3_log(1 - o3_rand_uniform(&delays));
        double x = LEVEL * (1 + drift_noise_at(&noise, t_s));
        n_suspected += o3_drift_add(d, fmax(x, 0.01), (int64_t)(1000 * t_s), NULL) == O3_DRIFT_EV_SUSPECT;
    }
    o3_drift_free(d);
    return n_suspected;
}

static void samples_at_any_distance_tell_of_the_correlation(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++)
        assert_in_range(suspected_between_users(seed), 0, 12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaussian_noise_alarms_as_often_as_configured),
        cmocka_unit_test(other_noise_confirms_no_more_often_than_configured),
        cmocka_unit_test(samples_at_any_distance_tell_of_the_correlation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
