/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_READING_H
#define O3_READING_H
/* What a sample tells of each signal, as the judge reads it. Pure. */
#include <stddef.h>
#include "o3/sample.h"
#include "o3/signal.h"

struct o3_reading {
    enum o3_signal signal;
    enum o3_stratum stratum;
    double value; /* success: 1 or 0 */
};
size_t o3_sample_readings(const struct o3_sample *s, struct o3_reading out[O3_SIGNAL_COUNT]);
/* A value of the signal for people, with its unit: "40.6 tokens/s". */
void o3_signal_value_text(enum o3_signal sig, double value, char *out, size_t size);

#endif
