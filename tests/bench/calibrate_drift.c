/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the factor between the nominal and the true ARL0 of the drift detector by simulation, and measures it.
 *
 *   calibrate_drift find ARL0 SAMPLES SEED      bisects the factor for this ARL0, Gaussian noise, no effect gate,
 *                                               SAMPLES per step, common random numbers
 *   calibrate_drift check NOISE ARL0 MIN_EFFECT SAMPLES SEED
 *                                               measures the detector as shipped; NOISE: gauss, t3, outlier, ar0.3 ...
 *   calibrate_drift age NOISE ARL0 MIN_EFFECT SAMPLES SEED      the same, and the rate by age of the baseline
 *
 * CV 5 %. An alarm is the first SUSPECT or CONFIRMED; the detector then starts over, so that learning and the early
 * life of a baseline are part of the mean run length. With `age` a detector also starts over after 4,000 samples. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "drift/parts.h"
#include "o3/rand.h"
#include "o3/stat.h"

#define CV 0.05
#define OUTLIERS 0.03
#define LIFE 4000
#define AGES 6

static const int AGE_END[AGES] = {100, 200, 300, 600, 1000, LIFE};

struct noise {
    const char *name;
    double rho, before;
    struct o3_rand rand;
};

/* Student's t with 3 degrees of freedom, sd 1 */
static double student_3(struct o3_rand *r) {
    double squares = 0;
    for (int i = 0; i < 3; i++) {
        double z = o3_rand_normal(r);
        squares += z * z;
    }
    return o3_rand_normal(r) / sqrt(squares);
}

static double outlier(struct o3_rand *r) {
    double s = sqrt(log1p(CV * CV)), x = exp(s * o3_rand_normal(r) - s * s / 2) - 1;
    return o3_rand_uniform(r) < OUTLIERS ? x - 0.2 - 0.4 * o3_rand_uniform(r) : x;
}

static double next(struct noise *n) {
    if (!strcmp(n->name, "t3")) return fmax(0.01, 1 + CV * student_3(&n->rand));
    if (!strcmp(n->name, "outlier")) return fmax(0.01, 1 + outlier(&n->rand));
    n->before = n->rho * n->before + sqrt(1 - n->rho * n->rho) * o3_rand_normal(&n->rand);
    return fmax(0.01, 1 + CV * n->before);
}

struct tally {
    long samples, alarms;
    long samples_at[AGES], alarms_at[AGES];
};

static int age_class(long age) {
    int i = 0;
    while (i < AGES - 1 && age >= AGE_END[i])
        i++;
    return i;
}

static struct tally count_alarms(struct o3_drift *d, struct noise n, long samples, long life) {
    struct tally t = {.samples = samples};
    long age = 0;
    o3_drift_reset(d);
    for (long i = 0; i < samples; i++, age++) {
        enum o3_drift_event ev = o3_drift_add(d, 40 * next(&n), 60000 * i, NULL);
        bool alarm = ev == O3_DRIFT_EV_SUSPECT || ev == O3_DRIFT_EV_CONFIRMED;
        t.alarms += alarm;
        t.alarms_at[age_class(age)] += alarm;
        t.samples_at[age_class(age)]++;
        if (!alarm && (!life || age + 1 < life)) continue;
        o3_drift_reset(d);
        age = -1;
    }
    return t;
}

static void print_rate(const char *what, long samples, long alarms) {
    struct o3_interval i = o3_poisson(alarms, 0.95);
    double n = (double)samples;
    printf("%s: %ld alarms in %ld samples, one per %.0f (95 %%: %.0f to %.0f), %.4f per 1000\n", what, alarms, samples,
           n / (double)alarms, n / i.hi, n / i.lo, 1000 * (double)alarms / n);
    fflush(stdout);
}

static void bisect(struct o3_drift *d, double arl0, long samples, uint64_t seed) {
    double lo = log(0.15), hi = log(1.5);
    struct noise n = {.name = "gauss"};
    o3_rand_seed(&n.rand, seed);
    for (int i = 0; i < 8; i++) {
        char what[40];
        double factor = exp(0.5 * (lo + hi));
        o3_drift_thresholds(factor * arl0, d->h);
        struct tally t = count_alarms(d, n, samples, 0);
        snprintf(what, sizeof what, "factor %.4f", factor);
        print_rate(what, samples, t.alarms);
        if ((double)t.alarms * arl0 > (double)samples)
            lo = log(factor);
        else
            hi = log(factor);
    }
}

static void check(struct o3_drift *d, const char *name, long samples, uint64_t seed, bool by_age) {
    struct noise n = {.name = name, .rho = !strncmp(name, "ar", 2) ? strtod(name + 2, NULL) : 0};
    o3_rand_seed(&n.rand, seed);
    struct tally t = count_alarms(d, n, samples, by_age ? LIFE : 0);
    print_rate(name, t.samples, t.alarms);
    for (int i = 0; by_age && i < AGES; i++) {
        char what[40];
        snprintf(what, sizeof what, "  age below %d", AGE_END[i]);
        print_rate(what, t.samples_at[i], t.alarms_at[i]);
    }
}

int main(int argc, char **argv) {
    bool find = argc == 5 && !strcmp(argv[1], "find");
    bool by_age = argc == 7 && !strcmp(argv[1], "age");
    if (!find && !by_age && !(argc == 7 && !strcmp(argv[1], "check"))) {
        fprintf(stderr, "usage: calibrate_drift find ARL0 SAMPLES SEED\n"
                        "       calibrate_drift check|age NOISE ARL0 MIN_EFFECT SAMPLES SEED\n");
        return 2;
    }
    struct o3_drift_params p = o3_drift_params_default();
    p.arl0_samples = strtod(argv[find ? 2 : 3], NULL);
    p.min_effect = find ? 0 : strtod(argv[4], NULL);
    struct o3_drift *d = o3_drift_new(&p);
    if (!d) return 75;
    if (find)
        bisect(d, p.arl0_samples, strtol(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    else
        check(d, argv[2], strtol(argv[5], NULL, 10), strtoull(argv[6], NULL, 10), by_age);
    o3_drift_free(d);
    return 0;
}
