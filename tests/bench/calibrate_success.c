/* SPDX-License-Identifier: Apache-2.0 */
/* Measures the false alarms of the detector of successes, or its delays.
 *
 *   calibrate_success arl SHARE ARL0 SAMPLES SEED [AFTER]     SHARE of failures; no minimum change, as ARL0 is defined
 *   calibrate_success delay SHARE ARL0 RUNS SEED LATER        the share becomes LATER after 500 attempts
 *
 * arl: the detector starts over after each alarm, so that learning and the early life of a reference are part of the
 * mean run length; with AFTER, alarms within that many attempts of a start are counted apart. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/rand.h"
#include "o3/stat.h"
#include "o3/success.h"

static bool is_alarm(enum o3_drift_event ev) {
    return ev == O3_DRIFT_EV_SUSPECT || ev == O3_DRIFT_EV_CONFIRMED;
}

static void measure_arl(const struct o3_success_params *p, double share, long samples, struct o3_rand *r, long after) {
    struct o3_success *s = o3_success_new(p);
    long alarms = 0, young_alarms = 0, young = 0, worse = 0, age = 0;
    struct o3_drift_report report;
    for (long i = 0; i < samples; i++, age++) {
        young += age < after;
        if (!is_alarm(o3_success_add(s, o3_rand_uniform(r) >= share, i * 60000, &report))) continue;
        alarms++;
        young_alarms += age < after;
        worse += report.direction < 0;
        age = -1;
        o3_success_reset(s);
    }
    struct o3_interval i = o3_poisson(alarms, 0.95);
    printf("share %g ARL0 %g: %ld alarms (%ld worse) in %ld, ARL0 %.0f [%.0f, %.0f]", share, p->arl0_samples, alarms,
           worse, samples, (double)samples / (double)alarms, (double)samples / i.hi, (double)samples / i.lo);
    if (after)
        printf("; young %.0f, later %.0f", (double)young / (double)young_alarms,
               (double)(samples - young) / (double)(alarms - young_alarms));
    printf("\n");
    o3_success_free(s);
}

static void measure_delay(const struct o3_success_params *p, double share, double later, long runs, struct o3_rand *r) {
    double *suspect = malloc((size_t)runs * sizeof *suspect), *confirmed = malloc((size_t)runs * sizeof *confirmed);
    double *error = malloc((size_t)runs * sizeof *error);
    size_t n_suspect = 0, n_confirmed = 0, n_covered = 0;
    for (long run = 0; run < runs; run++) {
        struct o3_success *s = o3_success_new(p);
        struct o3_drift_report report;
        bool is_suspect = false;
        for (long i = 0; i < 500; i++)
            if (is_alarm(o3_success_add(s, o3_rand_uniform(r) >= share, i * 60000, NULL))) {
                o3_success_reset(s);
                i = -1;
            }
        int64_t from = 500;
        for (long i = 0; i < 5000; i++) {
            enum o3_drift_event ev = o3_success_add(s, o3_rand_uniform(r) >= later, (from + i) * 60000, &report);
            if (is_alarm(ev) && !is_suspect) {
                suspect[n_suspect++] = (double)(i + 1);
                is_suspect = true;
            }
            if (ev != O3_DRIFT_EV_CONFIRMED) continue;
            confirmed[n_confirmed] = (double)(i + 1);
            error[n_confirmed++] = (double)report.change_wall_ms / 60000 - (double)from;
            n_covered += report.change_lo_ms <= from * 60000 && report.change_hi_ms >= from * 60000;
            break;
        }
        o3_success_free(s);
    }
    printf(
        "%g -> %g, ARL0 %g: suspect %.0f / %.0f, confirmed %.0f / %.0f, missed %.3f, date error %.0f / %.0f .. %.0f, "
        "interval covers %.3f\n",
        share, later, p->arl0_samples, o3_median(suspect, n_suspect), o3_quantile(suspect, n_suspect, 0.95),
        o3_median(confirmed, n_confirmed), o3_quantile(confirmed, n_confirmed, 0.95),
        1 - (double)n_confirmed / (double)runs, o3_median(error, n_confirmed), o3_quantile(error, n_confirmed, 0.05),
        o3_quantile(error, n_confirmed, 0.95), (double)n_covered / (double)n_confirmed);
    free(suspect);
    free(confirmed);
    free(error);
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "usage: calibrate_success arl|delay SHARE ARL0 SAMPLES SEED [AFTER | LATER]\n");
        return 2;
    }
    struct o3_success_params p = o3_success_params_default();
    double share = strtod(argv[2], NULL);
    long n = strtol(argv[4], NULL, 10);
    struct o3_rand r;
    o3_rand_seed(&r, strtoull(argv[5], NULL, 10));
    p.arl0_samples = strtod(argv[3], NULL);
    if (!strcmp(argv[1], "delay")) {
        measure_delay(&p, share, argc > 6 ? strtod(argv[6], NULL) : 1, n, &r);
        return 0;
    }
    p.min_change = 0;
    measure_arl(&p, share, n, &r, argc > 6 ? strtol(argv[6], NULL, 10) : 0);
    return 0;
}
