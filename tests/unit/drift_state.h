/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_TEST_DRIFT_STATE_H
#define O3_TEST_DRIFT_STATE_H
#include <stdlib.h>
#include "o3/drift.h"
#include "o3_test.h"

/* To be freed. */
static inline char *encoded(const struct o3_drift *d, size_t *ret_n) {
    struct o3_buf b;
    o3_buf_init(&b, 24 * 1024);
    assert_int_equal(o3_drift_encode(d, &b), 0);
    *ret_n = b.len;
    return o3_buf_take(&b);
}

/* What a restart would bring back. */
static inline struct o3_drift *copy_of(const struct o3_drift *d) {
    struct o3_drift *copy;
    size_t n;
    char *text = encoded(d, &n);
    assert_int_equal(o3_drift_decode(text, n, &copy, NULL), 0);
    free(text);
    return copy;
}

#endif
