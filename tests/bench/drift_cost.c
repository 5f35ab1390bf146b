/* SPDX-License-Identifier: Apache-2.0 */
/* What a sample and a series cost, each detector on a line:
 *
 *   NAME stable_us T confirmed_us T worst_us T bytes N
 *
 * Processor time a sample over a million samples: of a stable series, of one with a confirmed change, and the larger of
 * these and of a lasting change below the minimum effect, whose date is sought again and again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "o3/drift.h"
#include "o3/rand.h"

#define SAMPLES 1000000
#define LEARN 2000
#define CV 0.03

static double *values;

static double processor_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

/* After the learning each value is multiplied by `factor`. */
static double us_per_sample(const struct o3_drift_params *p, double factor) {
    struct o3_drift *d = o3_drift_new(p);
    if (!d) exit(75);
    int64_t wall_ms = 0;
    for (int i = 0; i < LEARN; i++)
        o3_drift_add(d, values[i], wall_ms += 60000, NULL);
    double begin = processor_us();
    for (int i = 0; i < SAMPLES; i++)
        o3_drift_add(d, factor * values[i], wall_ms += 60000, NULL);
    double took = processor_us() - begin;
    o3_drift_free(d);
    return took / SAMPLES;
}

static void report(const char *name, enum o3_drift_detector detector) {
    struct o3_drift_params p = o3_drift_params_default();
    p.detector = detector;
    double stable = us_per_sample(&p, 1), confirmed = us_per_sample(&p, 0.8), small = us_per_sample(&p, 0.97);
    printf("%s stable_us %.3f confirmed_us %.3f worst_us %.3f bytes %zu\n", name, stable, confirmed,
           fmax(stable, fmax(confirmed, small)), o3_drift_size());
}

int main(void) {
    struct o3_rand r;
    o3_rand_seed(&r, 1);
    values = malloc(SAMPLES * sizeof *values);
    if (!values) return 75;
    for (int i = 0; i < SAMPLES; i++)
        values[i] = 40 * (1 + CV * o3_rand_normal(&r));
    report("cusum", O3_DRIFT_BY_CUSUM);
    report("rank", O3_DRIFT_BY_RANK);
    free(values);
    return 0;
}
