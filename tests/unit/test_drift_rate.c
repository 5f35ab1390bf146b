/* SPDX-License-Identifier: Apache-2.0 */
/* The rate of false alarms that the drift detector is configured for, counted on simulated noise. `./dev study drift`
 * does it on more samples, for the rate that is shipped. */
#include "bench/drift_noise.h"
#include "o3_test.h"
#include "o3/drift.h"
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaussian_noise_alarms_as_often_as_configured),
        cmocka_unit_test(other_noise_confirms_no_more_often_than_configured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
