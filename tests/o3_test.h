/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_TEST_H
#define O3_TEST_H
/* What cmocka 1.1.5 lacks: doubles, fixture files, and a printed seed for property tests (O3_SEED overrides it). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define O3_ASSERT_NEAR(actual, expected, tolerance)                                                                    \
    do {                                                                                                               \
        double a_ = (actual), e_ = (expected), t_ = (tolerance);                                                       \
        if (!(fabs(a_ - e_) <= t_)) fail_msg("%s = %.17g, expected %.17g +- %g", #actual, a_, e_, t_);                 \
    } while (0)

static inline uint64_t o3_test_seed(uint64_t fallback) {
    const char *s = getenv("O3_SEED");
    uint64_t seed = s ? strtoull(s, NULL, 10) : fallback;
    print_message("seed %llu (set O3_SEED to repeat another)\n", (unsigned long long)seed);
    return seed;
}

/* The whole file, NUL-terminated, to be freed; fails the test when it cannot be read. path is relative to the source
 * folder. */
static inline char *o3_test_read(const char *path, size_t *ret_n) {
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", O3_SOURCE_DIR, path);
    FILE *f = fopen(full, "rb");
    if (!f) fail_msg("cannot open %s", full);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *p = malloc((size_t)n + 1);
    if (!p || fread(p, 1, (size_t)n, f) != (size_t)n) fail_msg("cannot read %s", full);
    fclose(f);
    p[n] = '\0';
    if (ret_n) *ret_n = (size_t)n;
    return p;
}

#endif
