/* SPDX-License-Identifier: Apache-2.0 */
#include "drift/walk.h"
#include <math.h>
#include "o3/num.h"

#define FIT 0.1 /* error of the ratio of the steps, as a share of p1 - p0 */
#define ROWS_MAX (O3_WALK_STEPS_MAX * O3_WALK_STEPS_MAX / 4)

struct o3_walk o3_walk_steps(double p0, double p1) {
    double absence = o3_log((1 - p0) / (1 - p1)), both = o3_log(p1 / p0) + absence;
    double still = absence / both; /* the share of events at which the walk would not drift; between p0 and p1 */
    struct o3_walk best = {.up = 1, .down = 1};
    double best_error = HUGE_VAL;
    for (int steps = 2; steps <= O3_WALK_STEPS_MAX; steps++) {
        int down = (int)fmin(steps - 1, fmax(1, floor(still * steps + 0.5)));
        double at = (double)down / steps, error = fabs(at - still);
        if (at <= p0 || at >= p1 || error >= best_error) continue;
        best = (struct o3_walk){.up = steps - down, .down = down};
        best_error = error;
        if (error <= FIT * (p1 - p0)) break;
    }
    return best;
}

/* L(x), the mean run length from a sum of x, solves L(x) = 1 + p L(x + up) + (1 - p) L(max(0, x - down)), and is 0 from
 * the limit on. Sums are eliminated from 0 upwards: L(0) and the last `down` sums are written as a constant and
 * multiples of the next `up` ones. All terms are positive, so that nothing cancels. The constant of L(0) is the run
 * length for a limit at the next sum, so that one pass gives it for all limits. */
struct elimination {
    double constant[O3_WALK_STEPS_MAX], multiple[ROWS_MAX]; /* rows of `up` */
    double zero_constant, zero_multiple[O3_WALK_STEPS_MAX];
};

/* Puts `next` for the first unknown of a row and moves the others up. */
static void substitute(double *constant, double *row, int n, double next_constant, const double *next) {
    double first = row[0];
    *constant += first * next_constant;
    for (int j = 0; j < n; j++)
        row[j] = (j + 1 < n ? row[j + 1] : 0) + first * next[j];
}

static void eliminate(struct elimination *el, struct o3_walk w, double p, int x) {
    int last = x % w.down; /* rows go round: this one is of the sum x - down */
    double *below = el->multiple + last * w.up, next[O3_WALK_STEPS_MAX];
    double stays = 1 - (1 - p) * below[0], next_constant = (1 + (1 - p) * el->constant[last]) / stays;
    for (int j = 0; j < w.up; j++)
        next[j] = (j + 1 < w.up ? (1 - p) * below[j + 1] : p) / stays;
    for (int i = 0; i < w.down; i++)
        if (i != last) substitute(&el->constant[i], el->multiple + i * w.up, w.up, next_constant, next);
    substitute(&el->zero_constant, el->zero_multiple, w.up, next_constant, next);
    el->constant[last] = next_constant;
    for (int j = 0; j < w.up; j++)
        below[j] = next[j];
}

/* Goes on until the limit or the run length is reached; returns the limit, and the run length. */
static int pass(struct o3_walk w, double p, int limit, double arl, double *reached) {
    struct elimination el = {0};
    int x = 0;
    for (int i = 0; i < w.down; i++)
        el.multiple[i * w.up] = 1; /* below 0 is 0 */
    el.zero_multiple[0] = 1;
    while (x < limit && el.zero_constant < arl)
        eliminate(&el, w, p, x++);
    *reached = el.zero_constant;
    return x;
}

double o3_walk_arl(struct o3_walk w, double p) {
    double arl;
    pass(w, p, w.limit, HUGE_VAL, &arl);
    return arl;
}

int o3_walk_limit(struct o3_walk w, double p, double arl) {
    double reached;
    return pass(w, p, O3_WALK_LIMIT_MAX, arl, &reached);
}
