/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SRC_DRIFT_STATE_TEXT_H
#define O3_SRC_DRIFT_STATE_TEXT_H
/* State of detectors as text: words separated by one space or newline. Doubles are hex floats, so that nothing is
 * lost. */
#include <stdbool.h>
#include <stdint.h>
#include "o3/buf.h"

void o3_state_put_int(struct o3_buf *out, int64_t v);
void o3_state_put_double(struct o3_buf *out, double v);

struct o3_state_reader {
    const char *p, *end;
    bool bad; /* sticky; everything read afterwards is 0 */
};
/* The next word must be this one. */
void o3_state_read_name(struct o3_state_reader *r, const char *name);
/* Values outside [lo, hi], and NaN, are damage. */
int64_t o3_state_read_int(struct o3_state_reader *r, int64_t lo, int64_t hi);
double o3_state_read_double(struct o3_state_reader *r, double lo, double hi);

#endif
