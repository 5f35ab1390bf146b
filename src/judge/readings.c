/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/reading.h"
#include "judge/parts.h"

size_t o3_sample_readings(const struct o3_sample *s, struct o3_reading out[O3_SIGNAL_COUNT]) {
    struct reading r[O3_SIGNAL_COUNT];
    size_t n = o3_judge_readings(s, r);
    for (size_t i = 0; i < n; i++)
        out[i] = (struct o3_reading){
            .signal = r[i].signal, .stratum = r[i].stratum, .value = o3_shown_value(r[i].signal, r[i].value)};
    return n;
}
