/* SPDX-License-Identifier: Apache-2.0 */
/* Delay of a step, in samples, of the detector as shipped; the first changed sample counts as 1.
 *
 *   drift_delays STEPS SEED      series a cell, first seed
 *
 * The step comes after 200 to 399 samples, one a minute, with the minimum effect of 5 %. An alarm makes the detector
 * start over; one within 300 samples of the step tells it. */
#include <stdio.h>
#include <stdlib.h>
#include "drift_noise.h"
#include "o3/drift.h"

#define STEPS_MAX 100000
#define HORIZON 300

static const struct cell {
    const char *noise;
    enum drift_noise_kind kind;
    double cv, rho, step;
} CELLS[] = {
    {"Gaussian", DRIFT_NOISE_GAUSS, 0.03, 0, 0.05},      {"Gaussian", DRIFT_NOISE_GAUSS, 0.03, 0, 0.1},
    {"Gaussian", DRIFT_NOISE_GAUSS, 0.05, 0, 0.1},       {"Gaussian", DRIFT_NOISE_GAUSS, 0.05, 0, 0.2},
    {"Gaussian", DRIFT_NOISE_GAUSS, 0.1, 0, 0.1},        {"Gaussian", DRIFT_NOISE_GAUSS, 0.1, 0, 0.2},
    {"AR(1) 0.5", DRIFT_NOISE_OU, 0.05, 0.5, 0.1},       {"AR(1) 0.7", DRIFT_NOISE_OU, 0.05, 0.7, 0.1},
    {"3 % outliers", DRIFT_NOISE_OUTLIER, 0.05, 0, 0.1}, {"Student t3", DRIFT_NOISE_HEAVY, 0.05, 0, 0.1},
};

/* 0: missed */
static int delay_of(const struct cell *c, bool confirmed_only, uint64_t seed) {
    struct o3_drift_params p = o3_drift_params_default();
    struct o3_drift *d = o3_drift_new(&p);
    struct drift_noise noise;
    int step_at = 200 + (int)(seed % 200), delay = 0;
    if (!d) exit(75);
    drift_noise_init(&noise, c->kind, c->cv, c->rho, seed);
    for (int i = 0; i < step_at + HORIZON && !delay; i++) {
        double t_s = DRIFT_NOISE_STEP_S * i, level = i >= step_at ? 1 - c->step : 1;
        double x = fmax(0.01, level * (1 + drift_noise_at(&noise, t_s)));
        enum o3_drift_event ev = o3_drift_add(d, x, (int64_t)(1000 * t_s), NULL);
        if (ev != O3_DRIFT_EV_CONFIRMED && (confirmed_only || ev != O3_DRIFT_EV_SUSPECT)) continue;
        if (i >= step_at) delay = i - step_at + 1;
        o3_drift_reset(d);
    }
    o3_drift_free(d);
    return delay;
}

static int compare(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

static void measure(const struct cell *c, bool confirmed_only, int n, uint64_t seed) {
    static int delay[STEPS_MAX];
    int n_missed = 0;
    for (int i = 0; i < n; i++)
        n_missed += !(delay[i] = delay_of(c, confirmed_only, seed + (uint64_t)i));
    qsort(delay, (size_t)n, sizeof *delay, compare);
    const int *told = delay + n_missed;
    int n_told = n - n_missed;
    if (n_told) printf(" %d / %d (%.1f %%) |", told[n_told / 2], told[(int)(0.95 * n_told)], 100.0 * n_missed / n);
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 2000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    if (n < 1 || n > STEPS_MAX) return 2;
    puts("| noise | CV | step | suspected: median / 95th percentile (missed) | confirmed |\n|---|---|---|---|---|");
    for (size_t i = 0; i < sizeof CELLS / sizeof *CELLS; i++) {
        const struct cell *c = &CELLS[i];
        printf("| %s | %.0f %% | %.0f %% |", c->noise, 100 * c->cv, 100 * c->step);
        measure(c, false, n, seed);
        measure(c, true, n, seed);
        puts("");
        fflush(stdout);
    }
    return 0;
}
