/* SPDX-License-Identifier: Apache-2.0 */
/* Measures detector RANK beside CUSUM on the same series.
 *
 *   rank_detector alarms rank|cusum NOISE ARL0 SAMPLES SEED [MIN_EFFECT]   NOISE: gauss t3 lognormal outlier ar
 *   rank_detector delay rank|cusum STEP CV RUNS SEED [MIN_EFFECT]          Gaussian, a fall by STEP at sample 200..399
 *
 * alarms: CV 5 %; the detector starts over after each alarm, so that learning is part of the mean run length. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/drift.h"
#include "o3/num.h"
#include "o3/rand.h"
#include "o3/stat.h"

#define STEP_MS 60000

struct noise {
    const char *kind;
    double cv, before;
};

static double draw(struct noise *n, struct o3_rand *r) {
    double z = o3_rand_normal(r);
    if (!strcmp(n->kind, "t3")) {
        double chi = 0;
        for (int i = 0; i < 3; i++) {
            double x = o3_rand_normal(r);
            chi += x * x;
        }
        z = z / sqrt(chi / 3) / sqrt(3.0);
        return fmax(0.01, 1 + n->cv * z);
    }
    if (!strcmp(n->kind, "lognormal")) return o3_exp(n->cv * z);
    if (!strcmp(n->kind, "outlier"))
        return o3_exp(n->cv * z) * (o3_rand_uniform(r) < 0.03 ? 0.4 + 0.4 * o3_rand_uniform(r) : 1);
    if (!strcmp(n->kind, "ar")) {
        n->before = 0.3 * n->before + sqrt(1 - 0.09) * z;
        return fmax(0.01, 1 + n->cv * n->before);
    }
    return fmax(0.01, 1 + n->cv * z);
}

static bool is_alarm(enum o3_drift_event ev) {
    return ev == O3_DRIFT_EV_SUSPECT || ev == O3_DRIFT_EV_CONFIRMED;
}

static void measure_alarms(const struct o3_drift_params *p, struct noise n, long samples, struct o3_rand *r) {
    struct o3_drift *d = o3_drift_new(p);
    long alarms = 0, young = 0, age = 0;
    for (long i = 0; i < samples; i++, age++) {
        if (!is_alarm(o3_drift_add(d, 40 * draw(&n, r), i * STEP_MS, NULL))) continue;
        alarms++;
        young += age < 400;
        age = -1;
        o3_drift_reset(d);
    }
    struct o3_interval i = o3_poisson(alarms, 0.95);
    printf("%s %s ARL0 %g: %ld alarms in %ld (%ld within 400 of a start), ARL0 %.0f [%.0f, %.0f]\n",
           o3_drift_detector_name(p->detector), n.kind, p->arl0_samples, alarms, samples, young,
           (double)samples / (double)alarms, (double)samples / i.hi, (double)samples / i.lo);
    o3_drift_free(d);
}

static void measure_delay(const struct o3_drift_params *p, double step, double cv, long runs, struct o3_rand *r) {
    double *suspect = calloc((size_t)runs, sizeof *suspect), *confirmed = calloc((size_t)runs, sizeof *confirmed);
    double *error = calloc((size_t)runs, sizeof *error);
    size_t n_suspect = 0, n_confirmed = 0;
    struct noise n = {.kind = "gauss", .cv = cv};
    for (long run = 0; run < runs; run++) {
        struct o3_drift *d = o3_drift_new(p);
        struct o3_drift_report report;
        long at = 200 + (long)o3_rand_below(r, 200), i = 0;
        for (; i < at; i++)
            if (is_alarm(o3_drift_add(d, 40 * draw(&n, r), i * STEP_MS, NULL))) {
                o3_drift_reset(d);
                i = -1;
            }
        bool is_suspect = false;
        for (; i < at + 300; i++) {
            enum o3_drift_event ev = o3_drift_add(d, 40 * (1 - step) * draw(&n, r), i * STEP_MS, &report);
            if (is_alarm(ev) && !is_suspect) {
                suspect[n_suspect++] = (double)(i - at + 1);
                is_suspect = true;
            }
            if (ev != O3_DRIFT_EV_CONFIRMED) continue;
            error[n_confirmed] = fabs((double)(report.change_wall_ms / STEP_MS - at));
            confirmed[n_confirmed++] = (double)(i - at + 1);
            break;
        }
        o3_drift_free(d);
    }
    printf("%s %g %% at CV %g %%: suspect %.1f / %.0f (missed %.1f %%), confirmed %.1f / %.0f (missed %.1f %%), date "
           "error %.0f / %.0f\n",
           o3_drift_detector_name(p->detector), 100 * step, 100 * cv, o3_median(suspect, n_suspect),
           o3_quantile(suspect, n_suspect, 0.95), 100 - 100.0 * (double)n_suspect / (double)runs,
           o3_median(confirmed, n_confirmed), o3_quantile(confirmed, n_confirmed, 0.95),
           100 - 100.0 * (double)n_confirmed / (double)runs, o3_median(error, n_confirmed),
           o3_quantile(error, n_confirmed, 0.9));
    free(suspect);
    free(confirmed);
    free(error);
}

int main(int argc, char **argv) {
    if (argc < 7) {
        fprintf(stderr, "usage: rank_detector alarms|delay rank|cusum NOISE|STEP ARL0|CV SAMPLES SEED [MIN_EFFECT]\n");
        return 2;
    }
    struct o3_drift_params p = o3_drift_params_default();
    struct o3_rand r;
    bool is_delay = !strcmp(argv[1], "delay");
    p.detector = strcmp(argv[2], "rank") ? O3_DRIFT_BY_CUSUM : O3_DRIFT_BY_RANK;
    p.min_effect = argc > 7 ? strtod(argv[7], NULL) : is_delay ? p.min_effect : 0;
    long n = strtol(argv[5], NULL, 10);
    o3_rand_seed(&r, strtoull(argv[6], NULL, 10));
    if (is_delay) {
        measure_delay(&p, strtod(argv[3], NULL), strtod(argv[4], NULL), n, &r);
        return 0;
    }
    p.arl0_samples = strtod(argv[4], NULL);
    measure_alarms(&p, (struct noise){.kind = argv[3], .cv = 0.05}, n, &r);
    return 0;
}
