/* SPDX-License-Identifier: Apache-2.0 */
/* How often the drift detector alarms when nothing is wrong, and what quicker samples on a suspicion change.
 *
 *   drift_study [--samples MILLIONS] [--runs N] [--seed N] [--workers N] [--detector cusum|rank]
 *
 * Samples come once a minute and count in tens of millions for each kind of noise. With quicker samples, three more
 * come between two of the usual ones while a change is suspected. Work is cut into parts with seeds of their own: the
 * figures do not depend on the number of workers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "drift_noise.h"
#include "o3/drift.h"
#include "o3/rand.h"
#include "o3/stat.h"

#define LEVEL 40.0
#define CV 0.05
#define QUICK_S 15.0
#define JITTER 0.05 /* of an interval, both ways, as the sidecar's probes have it */
#define DAYS_30_S (30 * 86400.0)
#define PARTS 16 /* of one cell */
#define WORKERS_MAX 64
#define QUIET 240 /* intervals before a change */
#define WAIT 300  /* intervals for its alarm */
#define TRIES 100 /* to get so far without a false alarm */

struct options {
    double samples; /* of a cell of false alarms; half as many where quicker samples are compared */
    int runs;       /* of a cell of delays */
    uint64_t seed;
    int n_workers;
    double interval_s;
    enum o3_drift_detector detector;
};

static double arl0_of(const struct options *o) {
    return DAYS_30_S / o->interval_s;
}

struct noise_row {
    const char *name;
    enum drift_noise_kind kind;
    double rho;
};
static const struct noise_row NOISES[] = {
    {"Gaussian", DRIFT_NOISE_GAUSS, 0},
    {"heavy tails (Student t3)", DRIFT_NOISE_HEAVY, 0},
    {"3 % outliers, log-normal body", DRIFT_NOISE_OUTLIER, 0},
    {"AR(1) 0.3", DRIFT_NOISE_OU, 0.3},
    {"AR(1) 0.5", DRIFT_NOISE_OU, 0.5},
    {"bursts that heal", DRIFT_NOISE_BURST, 0},
};
#define N_NOISES (sizeof NOISES / sizeof *NOISES)

/* What is measured under one set of conditions. */
struct cell {
    const struct noise_row *noise;
    double min_effect; /* 0: no minimum; negative: the default */
    bool is_quick, is_confirmed;
    double change; /* ratio; 0: false alarms are counted, else delays are measured */
};

/* Of one part. */
struct outcome {
    int64_t n_alarms, n_slow, n_samples; /* slow: alarms of the comparison of hours */
    double time_s;
    int64_t n_missed, n_given_up;       /* runs without the alarm; runs that never got to the change */
    int32_t n_suspect, n_confirmed;     /* delays */
    float suspect[256], confirmed[256]; /* minutes */
};

/* ---- a series in time ---- */

struct series {
    const struct cell *cell;
    double interval_s;
    struct drift_noise noise;
    struct o3_rand clock;
    struct o3_drift *drift;
    double usual_s; /* when the next usual sample is due */
    double at_s;
    double change_s; /* from then on the level is another one */
};

static int series_init(struct series *s, const struct options *o, const struct cell *c, uint64_t seed) {
    struct o3_drift_params p = o3_drift_params_default();
    p.detector = o->detector;
    p.interval_ms = (int64_t)(o->interval_s * 1000);
    p.arl0_samples = arl0_of(o);
    if (c->min_effect >= 0) p.min_effect = c->min_effect;
    *s = (struct series){.cell = c, .interval_s = o->interval_s, .change_s = INFINITY, .drift = o3_drift_new(&p)};
    drift_noise_init(&s->noise, c->noise->kind, CV, c->noise->rho, seed);
    o3_rand_seed(&s->clock, seed ^ UINT64_C(0x5bd1e995));
    return s->drift ? 0 : -1;
}

static enum o3_drift_event take_sample(struct series *s, struct o3_drift_report *ret) {
    double level = LEVEL * (s->at_s >= s->change_s ? 1 + s->cell->change : 1);
    double value = level * (1 + drift_noise_at(&s->noise, s->at_s));
    return o3_drift_add(s->drift, value > 0.01 ? value : 0.01, (int64_t)(s->at_s * 1000), ret);
}

static double with_jitter(struct series *s, double step_s) {
    return step_s * (1 + JITTER * (2 * o3_rand_uniform(&s->clock) - 1));
}

static bool is_suspect(const struct series *s) {
    struct o3_drift_view v;
    o3_drift_view(s->drift, &v);
    return v.state == O3_DRIFT_SUSPECT;
}

/* The usual samples go on as they would; the quick ones come between them. Without quick ones the clock is exact. */
static void advance(struct series *s) {
    if (!s->cell->is_quick) {
        s->at_s += s->interval_s;
        return;
    }
    if (s->at_s >= s->usual_s) s->usual_s += with_jitter(s, s->interval_s);
    double next_s = s->usual_s;
    if (is_suspect(s)) {
        double quick_s = s->at_s + with_jitter(s, QUICK_S);
        if (quick_s < next_s - 0.5 * QUICK_S) next_s = quick_s;
    }
    s->at_s = next_s;
}

/* ---- false alarms ---- */

static bool is_alarm(const struct cell *c, enum o3_drift_event ev) {
    return ev == O3_DRIFT_EV_CONFIRMED || (ev == O3_DRIFT_EV_SUSPECT && !c->is_confirmed);
}

/* The detector starts over after each alarm: learning and the early life of a baseline are part of the rate. */
static void count_alarms(struct series *s, double n_intervals, struct outcome *ret) {
    ret->time_s = n_intervals * s->interval_s;
    while (s->at_s < ret->time_s) {
        struct o3_drift_report report;
        enum o3_drift_event ev = take_sample(s, &report);
        ret->n_samples++;
        if (is_alarm(s->cell, ev)) {
            ret->n_alarms++;
            ret->n_slow += report.is_slow;
            o3_drift_reset(s->drift);
        }
        advance(s);
    }
}

/* ---- delays ---- */

/* A fresh baseline, quiet until the change; false when noise alone keeps it from getting there. */
static bool reach_change(struct series *s) {
    for (int i = 0; i < TRIES; i++) {
        o3_drift_reset(s->drift);
        s->change_s = s->at_s + s->interval_s * (QUIET + o3_rand_uniform(&s->clock));
        enum o3_drift_event ev = O3_DRIFT_EV_NONE;
        while (s->at_s < s->change_s && ev != O3_DRIFT_EV_CONFIRMED) {
            ev = take_sample(s, NULL);
            advance(s);
        }
        if (ev != O3_DRIFT_EV_CONFIRMED && !is_suspect(s)) return true;
    }
    return false;
}

static void wait_for_alarm(struct series *s, struct outcome *ret) {
    bool was_suspect = false;
    while (s->at_s < s->change_s + WAIT * s->interval_s) {
        enum o3_drift_event ev = take_sample(s, NULL);
        float minutes = (float)((s->at_s - s->change_s) / 60);
        if (!was_suspect && (ev == O3_DRIFT_EV_SUSPECT || ev == O3_DRIFT_EV_CONFIRMED)) {
            ret->suspect[ret->n_suspect++] = minutes;
            was_suspect = true;
        }
        if (ev == O3_DRIFT_EV_CONFIRMED) {
            ret->confirmed[ret->n_confirmed++] = minutes;
            return;
        }
        advance(s);
    }
    ret->n_missed++;
}

static void measure_delays(struct series *s, int runs, struct outcome *ret) {
    for (int i = 0; i < runs; i++) {
        s->change_s = INFINITY;
        if (reach_change(s))
            wait_for_alarm(s, ret);
        else
            ret->n_given_up++;
    }
}

/* ---- parts, done by child processes ---- */

static int do_part(const struct options *o, const struct cell *c, uint64_t number, struct outcome *ret) {
    struct series s;
    *ret = (struct outcome){0};
    if (series_init(&s, o, c, o->seed * 1000003 + number) < 0) return -1;
    if (c->change != 0)
        measure_delays(&s, o->runs / PARTS, ret);
    else
        count_alarms(&s, o->samples / PARTS, ret);
    o3_drift_free(s.drift);
    return 0;
}

static int write_all(int fd, const void *data, size_t n) {
    for (const char *p = data; n > 0;) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return -1;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

static int read_all(int fd, void *data, size_t n) {
    for (char *p = data; n > 0;) {
        ssize_t done = read(fd, p, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return -1;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

static int work(const struct options *o, const struct cell *cells, int n_parts, int worker, int fd) {
    for (int i = worker; i < n_parts; i += o->n_workers) {
        struct outcome found;
        if (do_part(o, &cells[i / PARTS], (uint64_t)i, &found) < 0 || write_all(fd, &found, sizeof found) < 0)
            return 75;
    }
    return 0;
}

static int start_workers(const struct options *o, const struct cell *cells, int n_parts, int *fds) {
    for (int w = 0; w < o->n_workers; w++) {
        int ends[2];
        if (pipe(ends) < 0) return -1;
        fflush(NULL);
        pid_t child = fork();
        if (child < 0) return -1;
        if (child == 0) {
            close(ends[0]);
            _exit(work(o, cells, n_parts, w, ends[1]));
        }
        close(ends[1]);
        fds[w] = ends[0];
    }
    return 0;
}

/* out: n cells x PARTS */
static int do_cells(const struct options *o, const struct cell *cells, int n, struct outcome *out) {
    int fds[WORKERS_MAX], failed = 0, status;
    if (start_workers(o, cells, n * PARTS, fds) < 0) return -1;
    for (int i = 0; i < n * PARTS && !failed; i++)
        failed = read_all(fds[i % o->n_workers], &out[i], sizeof out[i]);
    for (int w = 0; w < o->n_workers; w++)
        close(fds[w]);
    while (wait(&status) > 0)
        failed |= status;
    return failed ? -1 : 0;
}

/* ---- the tables ---- */

struct rate {
    int64_t n_alarms, n_slow, n_samples;
    double exposure; /* in 30 days */
    double lo, hi;   /* 95 % interval of alarms in 30 days */
};

static struct rate rate_of(const struct outcome *parts) {
    struct rate r = {0};
    for (int i = 0; i < PARTS; i++) {
        r.n_alarms += parts[i].n_alarms;
        r.n_slow += parts[i].n_slow;
        r.n_samples += parts[i].n_samples;
        r.exposure += parts[i].time_s / DAYS_30_S;
    }
    struct o3_interval count = o3_poisson(r.n_alarms, 0.95);
    r.lo = count.lo / r.exposure;
    r.hi = count.hi / r.exposure;
    return r;
}

static const char *verdict(const struct rate *r) {
    return r->lo > 1 ? "no: more" : r->hi < 1 ? "no: fewer" : "yes";
}

static int print_rates(const struct options *o) {
    static const struct {
        const char *name;
        double min_effect;
        bool is_confirmed;
    } LEVELS[] = {{"suspect, no minimum effect", 0, false},
                  {"confirmed, no minimum effect", 0, true},
                  {"suspect, minimum effect 5 %", -1, false},
                  {"confirmed, minimum effect 5 %", -1, true}};
    enum { LEVEL_COUNT = sizeof LEVELS / sizeof *LEVELS, N = LEVEL_COUNT * 4 };
    struct cell cells[N];
    struct outcome *found = calloc(N * PARTS, sizeof *found);
    for (int i = 0; i < N; i++)
        cells[i] = (struct cell){.noise = &NOISES[i / LEVEL_COUNT],
                                 .min_effect = LEVELS[i % LEVEL_COUNT].min_effect,
                                 .is_confirmed = LEVELS[i % LEVEL_COUNT].is_confirmed};
    int result = found ? do_cells(o, cells, N, found) : -1;
    if (result == 0) {
        printf("| noise, CV 5 %% | alarm | alarms | of them slow | samples | in %.0f samples (95 %%) | covers one |\n",
               arl0_of(o));
        puts("|---|---|---|---|---|---|---|");
    }
    for (int i = 0; i < N && result == 0; i++) {
        struct rate r = rate_of(&found[i * PARTS]);
        printf("| %s | %s | %lld | %lld | %.1f M | %.2f (%.2f to %.2f) | %s |\n", cells[i].noise->name,
               LEVELS[i % LEVEL_COUNT].name, (long long)r.n_alarms, (long long)r.n_slow, 1e-6 * (double)r.n_samples,
               (double)r.n_alarms / r.exposure, r.lo, r.hi, verdict(&r));
    }
    free(found);
    return result;
}

static void print_rate(const struct rate *r) {
    printf(" %.3f (%.3f to %.3f) |", (double)r->n_alarms / r->exposure, r->lo, r->hi);
}

/* The same noise sampled both ways. */
static int print_quick_rates(struct options o) {
    o.samples /= 2;
    enum { N = 4 * N_NOISES };
    struct cell cells[N];
    struct outcome *found = calloc(N * PARTS, sizeof *found);
    for (size_t i = 0; i < N; i++)
        cells[i] = (struct cell){
            .noise = &NOISES[i / 4], .min_effect = i % 4 < 2 ? 0 : -1, .is_quick = i % 2, .is_confirmed = true};
    int result = found ? do_cells(&o, cells, N, found) : -1;
    if (result == 0) {
        puts("\n| noise, CV 5 % | minimum effect | confirmed in 30 days, each 60 s | confirmed in 30 days, 15 s on "
             "suspicion "
             "| more samples |");
        puts("|---|---|---|---|---|");
    }
    for (size_t i = 0; i < N && result == 0; i += 2) {
        struct rate fixed = rate_of(&found[i * PARTS]), quick = rate_of(&found[(i + 1) * PARTS]);
        printf("| %s | %s |", cells[i].noise->name, cells[i].min_effect < 0 ? "5 %" : "none");
        print_rate(&fixed);
        print_rate(&quick);
        printf(" %+.2f %% |\n", 100 * ((double)quick.n_samples / (double)fixed.n_samples - 1));
    }
    free(found);
    return result;
}

/* Delays of all parts, as text; `missed` counts as longer than any. */
static void print_delays(const struct outcome *parts, bool is_confirmed) {
    static double v[PARTS * 256];
    size_t n = 0;
    for (int i = 0; i < PARTS; i++) {
        int count = is_confirmed ? parts[i].n_confirmed : parts[i].n_suspect;
        for (int j = 0; j < count; j++)
            v[n++] = (double)(is_confirmed ? parts[i].confirmed[j] : parts[i].suspect[j]);
    }
    printf(" %.1f / %.1f |", o3_quantile(v, n, 0.5), o3_quantile(v, n, 0.95));
}

static int print_quick_delays(const struct options *o) {
    static const double CHANGES[] = {-0.1, -0.2, -0.4};
    static const size_t ROWS[] = {0, 3, 4};
    enum { N = 2 * 3 * 3 };
    struct cell cells[N];
    struct outcome *found = calloc(N * PARTS, sizeof *found);
    for (size_t i = 0; i < N; i++)
        cells[i] = (struct cell){
            .noise = &NOISES[ROWS[i / 6]], .min_effect = -1, .is_quick = i % 2, .change = CHANGES[i / 2 % 3]};
    int result = found ? do_cells(o, cells, N, found) : -1;
    if (result == 0) {
        printf("\n| noise, CV 5 %% | step | suspect after, each %.0f s | suspect, quicker | confirmed after, each %.0f "
               "s | "
               "confirmed, quicker | missed |\n",
               o->interval_s, o->interval_s);
        puts("|---|---|---|---|---|---|---|");
    }
    for (size_t i = 0; i < N && result == 0; i += 2) {
        const struct outcome *fixed = &found[i * PARTS], *quick = &found[(i + 1) * PARTS];
        int64_t n_missed[2] = {0};
        for (int j = 0; j < PARTS; j++) {
            n_missed[0] += fixed[j].n_missed + fixed[j].n_given_up;
            n_missed[1] += quick[j].n_missed + quick[j].n_given_up;
        }
        printf("| %s | %.0f %% |", cells[i].noise->name, 100 * cells[i].change);
        print_delays(fixed, false);
        print_delays(quick, false);
        print_delays(fixed, true);
        print_delays(quick, true);
        printf(" %lld, %lld of %d |\n", (long long)n_missed[0], (long long)n_missed[1], o->runs / PARTS * PARTS);
    }
    free(found);
    return result;
}

/* ---- the command ---- */

static int usage(void) {
    fprintf(stderr, "usage: drift_study [--samples MILLIONS] [--runs N] [--seed N] [--workers N] [--detector "
                    "cusum|rank] [--interval SECONDS]\n"
                    "samples of a cell: 1 to 1000 million; runs: 16 to 4096; workers: 1 to 64; interval: 15 to 3600\n");
    return 2;
}

static bool take_option(struct options *o, const char *name, const char *value) {
    char *end;
    double number = strtod(value, &end);
    bool is_number = *value && !*end && number >= 0 && number < 1e15;
    if (!strcmp(name, "--detector")) {
        o->detector = !strcmp(value, "rank") ? O3_DRIFT_BY_RANK : O3_DRIFT_BY_CUSUM;
        return o->detector == O3_DRIFT_BY_RANK || !strcmp(value, "cusum");
    }
    if (!is_number) return false;
    if (!strcmp(name, "--samples"))
        o->samples = 1e6 * number;
    else if (!strcmp(name, "--runs"))
        o->runs = (int)fmin(number, 1e6);
    else if (!strcmp(name, "--seed"))
        o->seed = (uint64_t)number;
    else if (!strcmp(name, "--workers"))
        o->n_workers = (int)fmin(number, 1e6);
    else if (!strcmp(name, "--interval"))
        o->interval_s = floor(number);
    else
        return false;
    return o->interval_s >= QUICK_S && o->interval_s <= 3600 && o->samples >= 1e6 && o->samples <= 1e9 &&
           o->runs >= PARTS && o->runs <= 256 * PARTS && o->n_workers >= 1 && o->n_workers <= WORKERS_MAX;
}

int main(int argc, char **argv) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct options o = {.samples = 20e6,
                        .runs = 2048,
                        .seed = 1,
                        .interval_s = 60,
                        .n_workers = cores > 4   ? 4
                                     : cores > 1 ? (int)cores
                                                 : 2};
    for (int i = 1; i < argc; i += 2)
        if (i + 1 == argc || !take_option(&o, argv[i], argv[i + 1])) return usage();
    printf("Detector %s, one false alarm in 30 days at a sample each %.0f s; it starts over after each alarm.\n"
           "Seed %llu, %.0f M samples a cell, %d changes a cell. Delays are minutes, median / 95th percentile.\n\n",
           o3_drift_detector_name(o.detector), o.interval_s, (unsigned long long)o.seed, 1e-6 * o.samples,
           o.runs / PARTS * PARTS);
    if (print_rates(&o) < 0 || print_quick_rates(o) < 0 || print_quick_delays(&o) < 0) {
        fprintf(stderr, "drift_study: no memory, or a worker failed\n");
        return 75;
    }
    return 0;
}
