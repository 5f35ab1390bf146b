/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the factor between the nominal and the true ARL0 of the drift detector by simulation.
 *
 *   calibrate_drift ARL0 SAMPLES SEED             bisects the factor for this ARL0, SAMPLES per step, common random
 * numbers calibrate_drift ARL0 SAMPLES SEED check       measures the detector as shipped
 *
 * Gaussian noise of CV 5 %, no effect gate. An alarm is the first SUSPECT or CONFIRMED; the detector then starts over,
 * so that learning and the early life of a baseline are part of the mean run length. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "drift/parts.h"
#include "o3/rand.h"

#define CV 0.05

static long count_alarms(struct o3_drift *d, long samples, uint64_t seed) {
    struct o3_rand r;
    long alarms = 0;
    o3_rand_seed(&r, seed);
    o3_drift_reset(d);
    for (long i = 0; i < samples; i++) {
        enum o3_drift_event ev = o3_drift_add(d, 40 * (1 + CV * o3_rand_normal(&r)), 60000 * i, NULL);
        if (ev != O3_DRIFT_EV_SUSPECT && ev != O3_DRIFT_EV_CONFIRMED) continue;
        alarms++;
        o3_drift_reset(d);
    }
    return alarms;
}

static void report(double factor, long samples, long alarms) {
    printf("factor %.4f: %ld alarms in %ld samples, ARL0 %.0f +- %.1f %%\n", factor, alarms, samples,
           (double)samples / (double)alarms, 196 / sqrt((double)alarms));
    fflush(stdout);
}

static void bisect(struct o3_drift *d, double arl0, long samples, uint64_t seed) {
    double lo = log(0.15), hi = log(1.2);
    for (int i = 0; i < 8; i++) {
        double factor = exp(0.5 * (lo + hi));
        o3_drift_thresholds(factor * arl0, d->h);
        long alarms = count_alarms(d, samples, seed);
        report(factor, samples, alarms);
        if ((double)alarms * arl0 > (double)samples)
            lo = log(factor);
        else
            hi = log(factor);
    }
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: calibrate_drift ARL0 SAMPLES SEED [check]\n");
        return 2;
    }
    double arl0 = strtod(argv[1], NULL);
    long samples = strtol(argv[2], NULL, 10);
    uint64_t seed = strtoull(argv[3], NULL, 10);
    struct o3_drift_params p = o3_drift_params_default();
    p.min_effect = 0;
    p.arl0_samples = arl0;
    struct o3_drift *d = o3_drift_new(&p);
    if (!d) return 75;
    if (argc > 4 && !strcmp(argv[4], "check"))
        report(o3_drift_nominal_arl0(arl0) / arl0, samples, count_alarms(d, samples, seed));
    else
        bisect(d, arl0, samples, seed);
    o3_drift_free(d);
    return 0;
}
