/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of changes that creep in, of daily cycles and of nights without samples: the detector over weeks.
 *
 *   slow_study [SERIES] [SEED] [ARL0] [PART_OF_A_NAME]      default: 100 series, seed 1, 43200, all
 *
 * A sample a minute. "found": share of the series in which the change was confirmed with its direction, "slow": of
 * these found by the comparison of hours. Delay in days from the start of the change; "at" is the change there was when
 * it was found. "wrong": share of the series with a confirmed change to the other side after the change began. "error":
 * of the reported change at that time, median of its amount; "inside": share of the reported intervals that cover the
 * truth. "end": share of the series that are CONFIRMED with the right direction at the end, and the median error of the
 * level against the reference then. "fast", "slow": confirmed changes per series and 30 days before the change began,
 * in stable series over all days; from the day on that is named. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/drift.h"
#include "o3/num.h"
#include "o3/rand.h"
#include "o3/stat.h"

#define DAY 1440 /* minutes */
#define MINUTE_MS INT64_C(60000)
#define START_MS INT64_C(1700000000000)
#define PI 3.14159265358979
#define SERIES_MAX 10000

struct row {
    const char *name;
    double cv, rho, cycle;     /* cycle: relative amplitude */
    double from, ramp, change; /* days, days, relative; ramp 0 is a step */
    double days;               /* in all */
    int on_from, on_to;        /* hours of the day with samples; 0, 24: all */
    double count_from;         /* day from which false alarms count */
    double weekend;            /* relative change on the sixth and seventh day of each week */
    double keep;               /* of each hour, the share of samples that is there */
};

static const struct row ROWS[] = {
    {"stable, CV 5 %", 0.05, 0, 0, 30, 0, 0, 30, 0, 24, 0, 0, 1},
    {"stable, CV 2 %", 0.02, 0, 0, 30, 0, 0, 30, 0, 24, 0, 0, 1},
    {"stable, CV 10 %", 0.10, 0, 0, 30, 0, 0, 30, 0, 24, 0, 0, 1},
    {"stable, CV 5 %, AR(1) 0.5", 0.05, 0.5, 0, 30, 0, 0, 30, 0, 24, 0, 0, 1},
    {"stable, CV 5 %, AR(1) 0.9", 0.05, 0.9, 0, 30, 0, 0, 30, 0, 24, 0, 0, 1},
    {"stable, CV 5 %, 08-18 h", 0.05, 0, 0, 30, 0, 0, 30, 8, 18, 0, 0, 1},
    {"stable, CV 5 %, 6 samples an hour", 0.05, 0, 0, 30, 0, 0, 30, 0, 24, 0, 0, 0.1},
    {"cycle 6 %, CV 5 %", 0.05, 0, 0.06, 30, 0, 0, 30, 0, 24, 4, 0, 1},
    {"cycle 6 %, CV 3 %", 0.03, 0, 0.06, 30, 0, 0, 30, 0, 24, 4, 0, 1},
    {"cycle 6 %, CV 5 %, 08-18 h", 0.05, 0, 0.06, 30, 0, 0, 30, 8, 18, 4, 0, 1},
    {"cycle 6 %, CV 5 %, 20-10 h", 0.05, 0, 0.06, 30, 0, 0, 30, 20, 34, 4, 0, 1},
    {"weekend +4 %, CV 5 %", 0.05, 0, 0, 30, 0, 0, 30, 0, 24, 0, 0.04, 1},
    {"ramp 10 % in 5 d, CV 5 %", 0.05, 0, 0, 2, 5, -0.1, 12, 0, 24, 0, 0, 1},
    {"ramp 10 % in 10 d, CV 5 %", 0.05, 0, 0, 2, 10, -0.1, 17, 0, 24, 0, 0, 1},
    {"ramp 10 % in 20 d, CV 5 %", 0.05, 0, 0, 2, 20, -0.1, 27, 0, 24, 0, 0, 1},
    {"ramp 10 % in 40 d, CV 5 %", 0.05, 0, 0, 2, 40, -0.1, 47, 0, 24, 0, 0, 1},
    {"ramp up 10 % in 20 d, CV 5 %", 0.05, 0, 0, 2, 20, 0.1, 27, 0, 24, 0, 0, 1},
    {"ramp 10 % in 20 d, CV 2 %", 0.02, 0, 0, 2, 20, -0.1, 27, 0, 24, 0, 0, 1},
    {"ramp 10 % in 20 d, CV 10 %", 0.10, 0, 0, 2, 20, -0.1, 27, 0, 24, 0, 0, 1},
    {"ramp 10 % in 20 d, CV 5 %, AR(1) 0.5", 0.05, 0.5, 0, 2, 20, -0.1, 27, 0, 24, 0, 0, 1},
    {"ramp 10 % in 20 d, CV 5 %, 08-18 h", 0.05, 0, 0, 2, 20, -0.1, 27, 8, 18, 0, 0, 1},
    {"ramp 10 % in 20 d, CV 5 %, 4 h a day", 0.05, 0, 0, 2, 20, -0.1, 27, 9, 13, 0, 0, 1},
    {"ramp 10 % in 20 d from the start", 0.05, 0, 0, 0, 20, -0.1, 27, 0, 24, 0, 0, 1},
    {"cycle 6 %, ramp 10 % in 5 d", 0.05, 0, 0.06, 6, 5, -0.1, 16, 0, 24, 4, 0, 1},
    {"cycle 6 %, ramp 10 % in 10 d", 0.05, 0, 0.06, 6, 10, -0.1, 21, 0, 24, 4, 0, 1},
    {"cycle 6 %, ramp 10 % in 20 d", 0.05, 0, 0.06, 6, 20, -0.1, 31, 0, 24, 4, 0, 1},
    {"cycle 6 %, ramp 10 % in 20 d from the start", 0.05, 0, 0.06, 0, 20, -0.1, 27, 0, 24, 4, 0, 1},
    {"cycle 6 %, ramp 10 % in 20 d, 08-18 h", 0.05, 0, 0.06, 6, 20, -0.1, 31, 8, 18, 4, 0, 1},
    {"step 10 % on day 0.5, CV 5 %", 0.05, 0, 0, 0.5, 0, -0.1, 8, 0, 24, 0, 0, 1},
    {"cycle 6 %, step 12 % on day 0.6, CV 2 %", 0.02, 0, 0.06, 0.6, 0, -0.12, 8, 0, 24, 9, 0, 1},
    {"cycle 6 %, step 12 % on day 1.4, CV 2 %", 0.02, 0, 0.06, 1.4, 0, -0.12, 8, 0, 24, 9, 0, 1},
    {"cycle 6 %, step 12 % on day 2.3, CV 2 %", 0.02, 0, 0.06, 2.3, 0, -0.12, 8, 0, 24, 9, 0, 1},
    {"cycle 6 %, step 12 % on day 2.9, CV 2 %", 0.02, 0, 0.06, 2.9, 0, -0.12, 8, 0, 24, 9, 0, 1},
    {"cycle 6 %, step 12 % on day 1.4, CV 5 %", 0.05, 0, 0.06, 1.4, 0, -0.12, 8, 0, 24, 9, 0, 1},
    {"cycle 6 %, step 12 % on day 2.3, CV 5 %", 0.05, 0, 0.06, 2.3, 0, -0.12, 8, 0, 24, 9, 0, 1},
    {"cycle 6 %, step 12 % on day 6.3, CV 5 %", 0.05, 0, 0.06, 6.3, 0, -0.12, 12, 0, 24, 4, 0, 1},
};

struct tally {
    int n, found, slow, wrong, inside, ended;
    double counted_days;
    int false_fast, false_slow;
    double delay[SERIES_MAX], at[SERIES_MAX], error[SERIES_MAX], end_error[SERIES_MAX];
};

static double truth(const struct row *r, int64_t m) {
    double t = (double)m / DAY - r->from;
    if (t < 0) return 0;
    return r->ramp > 0 && t < r->ramp ? r->change * t / r->ramp : r->change;
}

static double value_at(const struct row *r, int64_t m, double phase, double *ar, struct o3_rand *rand) {
    bool weekend = m / DAY % 7 >= 5;
    double cycle = 1 + r->cycle * o3_sin(2 * PI * ((double)(m % DAY) / DAY + phase));
    *ar = r->rho * *ar + sqrt(1 - r->rho * r->rho) * o3_rand_normal(rand);
    return 40 * (1 + truth(r, m)) * cycle * (weekend ? 1 + r->weekend : 1) * fmax(0.05, 1 + r->cv * *ar);
}

static bool is_on(const struct row *r, int64_t m) {
    int64_t hour = (START_MS / 3600000 + m / 60) % 24;
    return (hour >= r->on_from && hour < r->on_to) || hour + 24 < r->on_to;
}

static void count(const struct row *r, int64_t m, const struct o3_drift_report *p, bool *found, struct tally *t) {
    double now = truth(r, m), days = (double)m / DAY;
    int side = r->change < 0 ? -1 : 1;
    if (days < r->from) {
        t->false_fast += days >= r->count_from && !p->is_slow;
        t->false_slow += days >= r->count_from && p->is_slow;
    } else if (p->direction == side && !*found) {
        *found = true;
        t->slow += p->is_slow;
        t->inside += p->change_lo <= now && now <= p->change_hi;
        t->delay[t->found] = days - r->from;
        t->at[t->found] = now;
        t->error[t->found++] = fabs(p->change_ratio - now);
    }
}

static void one(const struct row *r, double arl0, uint64_t seed, struct tally *t) {
    struct o3_drift_params p = o3_drift_params_default();
    struct o3_rand rand;
    p.arl0_samples = arl0;
    o3_rand_seed(&rand, seed);
    struct o3_drift *d = o3_drift_new(&p);
    if (!d) exit(75);
    double ar = 0, phase = o3_rand_uniform(&rand);
    bool found = false, wrong = false;
    for (int64_t m = 0; m < (int64_t)(r->days * DAY); m++) {
        struct o3_drift_report report;
        double value = value_at(r, m, phase, &ar, &rand);
        if (!is_on(r, m) || (r->keep < 1 && o3_rand_uniform(&rand) >= r->keep)) continue;
        if (o3_drift_add(d, value, START_MS + m * MINUTE_MS, &report) != O3_DRIFT_EV_CONFIRMED) continue;
        count(r, m, &report, &found, t);
        wrong = wrong || (truth(r, m) * report.direction < 0 && (double)m / DAY >= r->count_from);
        if (getenv("O3_VERBOSE"))
            printf("  seed %llu day %.2f dir %d slow %d ratio %.4f [%.4f %.4f] ref %.2f truth %.4f known %d n %lld sd "
                   "%.3f\n",
                   (unsigned long long)seed, (double)m / DAY, report.direction, report.is_slow, report.change_ratio,
                   report.change_lo, report.change_hi, report.reference, truth(r, m), report.season_known,
                   (long long)report.baseline_n, report.baseline_sd_ratio);
    }
    struct o3_drift_view v;
    o3_drift_view(d, &v);
    int side = r->change < 0 ? -1 : 1;
    bool ended = v.state == O3_DRIFT_CONFIRMED && v.change_ratio * side > 0;
    if (ended) t->end_error[t->ended++] = fabs(v.change_ratio - r->change);
    t->wrong += wrong;
    t->counted_days += fmax(0, r->from - r->count_from);
    t->n++;
    o3_drift_free(d);
}

static void print(const struct row *r, struct tally *t) {
    double months = t->counted_days / 30;
    size_t n = (size_t)t->found, e = (size_t)t->ended;
    printf("%-44s", r->name);
    printf(" fast %5.2f slow %5.3f", t->false_fast / fmax(1e-9, months), t->false_slow / fmax(1e-9, months));
    if (r->change < 0 || r->change > 0)
        printf(" | found %5.1f %% slow %3.0f %% | delay %5.2f / %5.2f d at %5.1f %% | wrong %4.1f %% | error %.3f / "
               "%.3f inside "
               "%3.0f %% | end %5.1f %% error %.3f / %.3f",
               100.0 * t->found / t->n, 100.0 * t->slow / fmax(1, t->found), o3_median(t->delay, n),
               o3_quantile(t->delay, n, 0.95), 100 * o3_median(t->at, n), 100.0 * t->wrong / t->n,
               o3_median(t->error, n), o3_quantile(t->error, n, 0.95), 100.0 * t->inside / fmax(1, t->found),
               100.0 * t->ended / t->n, o3_median(t->end_error, e), o3_quantile(t->end_error, e, 0.95));
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv) {
    int series = argc > 1 ? atoi(argv[1]) : 100;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    double arl0 = argc > 3 ? strtod(argv[3], NULL) : 43200;
    struct tally *t = malloc(sizeof *t);
    if (!t || series < 1 || series > SERIES_MAX) return 64;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        if (argc > 4 && !strstr(ROWS[i].name, argv[4])) continue;
        *t = (struct tally){0};
        for (int j = 0; j < series; j++)
            one(&ROWS[i], arl0, seed + (uint64_t)j, t);
        print(&ROWS[i], t);
    }
    free(t);
    return 0;
}
