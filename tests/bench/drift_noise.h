/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_TESTS_DRIFT_NOISE_H
#define O3_TESTS_DRIFT_NOISE_H
/* Noise of a healthy server in continuous time, for studies of the drift detector: relative deviations, mean 0. Sampled
 * once in DRIFT_NOISE_STEP_S the correlated one is AR(1) with its rho; in between it is the Ornstein-Uhlenbeck process
 * which that belongs to. */
#include <math.h>
#include "o3/num.h"
#include "o3/rand.h"

#define DRIFT_NOISE_STEP_S 60.0

enum drift_noise_kind {
    DRIFT_NOISE_GAUSS,   /* independent, sd cv */
    DRIFT_NOISE_HEAVY,   /* Student's t with 3 degrees of freedom, scaled to sd cv */
    DRIFT_NOISE_OUTLIER, /* log-normal body of sd cv, 3 % of the samples lower by 0.2 to 0.6 */
    DRIFT_NOISE_OU,      /* Gaussian of sd cv, correlation rho over a step */
    DRIFT_NOISE_BURST,   /* independent Gaussian, and dips of 0.3 for 3 to 8 steps, one in 400 */
};

struct drift_noise {
    enum drift_noise_kind kind;
    double cv, rho;
    struct o3_rand rand;
    double state, at_s;     /* of the Ornstein-Uhlenbeck process, in units of its sd */
    double from_s, until_s; /* the dip of now or the next one */
};

static inline double drift_noise_gap_s(struct drift_noise *n) {
    return -400 * DRIFT_NOISE_STEP_S * o3_log(1 - o3_rand_uniform(&n->rand));
}

static inline void drift_noise_init(struct drift_noise *n, enum drift_noise_kind kind, double cv, double rho,
                                    uint64_t seed) {
    *n = (struct drift_noise){.kind = kind, .cv = cv, .rho = rho};
    o3_rand_seed(&n->rand, seed);
    n->state = o3_rand_normal(&n->rand);
    n->from_s = n->until_s = 0;
}

static inline double drift_noise_heavy(struct drift_noise *n) {
    double z = o3_rand_normal(&n->rand), squares = 0;
    for (int i = 0; i < 3; i++) {
        double v = o3_rand_normal(&n->rand);
        squares += v * v;
    }
    return n->cv * z / sqrt(squares); /* t = z / sqrt(squares / 3), and its variance is 3 */
}

static inline double drift_noise_outlier(struct drift_noise *n) {
    double s2 = o3_log1p(n->cv * n->cv);
    double x = o3_expm1(sqrt(s2) * o3_rand_normal(&n->rand) - 0.5 * s2);
    return o3_rand_uniform(&n->rand) < 0.03 ? x - 0.2 - 0.4 * o3_rand_uniform(&n->rand) : x;
}

static inline double drift_noise_ou(struct drift_noise *n, double t_s) {
    double steps = (t_s - n->at_s) / DRIFT_NOISE_STEP_S;
    double r = steps == 1 ? n->rho : o3_pow(n->rho, steps);
    n->state = r * n->state + sqrt(1 - r * r) * o3_rand_normal(&n->rand);
    n->at_s = t_s;
    return n->cv * n->state;
}

static inline double drift_noise_burst(struct drift_noise *n, double t_s) {
    while (t_s >= n->until_s) {
        n->from_s = n->until_s + 20 * DRIFT_NOISE_STEP_S + drift_noise_gap_s(n);
        n->until_s = n->from_s + DRIFT_NOISE_STEP_S * (double)(3 + o3_rand_below(&n->rand, 6));
    }
    return n->cv * o3_rand_normal(&n->rand) - (t_s >= n->from_s ? 0.3 : 0);
}

/* Times must not go back. */
static inline double drift_noise_at(struct drift_noise *n, double t_s) {
    switch (n->kind) {
    case DRIFT_NOISE_HEAVY:
        return drift_noise_heavy(n);
    case DRIFT_NOISE_OUTLIER:
        return drift_noise_outlier(n);
    case DRIFT_NOISE_OU:
        return drift_noise_ou(n, t_s);
    case DRIFT_NOISE_BURST:
        return drift_noise_burst(n, t_s);
    case DRIFT_NOISE_GAUSS:
        break;
    }
    return n->cv * o3_rand_normal(&n->rand);
}

#endif
