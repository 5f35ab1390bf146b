/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/signal.h"
#include <string.h>
#include "o3/err.h"

static const struct {
    const char *name;
    int good_direction;
} SIGNALS[O3_SIGNAL_COUNT] = {
    [O3_SIGNAL_DECODE_RATE] = {"decode_rate", 1},
    [O3_SIGNAL_PREFILL_RATE] = {"prefill_rate", 1},
    [O3_SIGNAL_TTFT] = {"ttft", -1},
    [O3_SIGNAL_LOAD_TIME] = {"load_time", -1},
    [O3_SIGNAL_MEMORY] = {"memory", -1},
    [O3_SIGNAL_GPU_RATIO] = {"gpu_ratio", 1},
    [O3_SIGNAL_CONTEXT] = {"context", 1},
    [O3_SIGNAL_SUCCESS] = {"success", 1},
};
static const char *const STRATA[O3_STRATUM_COUNT] = {"idle", "busy", "throttled"};

const char *o3_signal_name(enum o3_signal s) {
    O3_ASSERT((unsigned)s < O3_SIGNAL_COUNT);
    return SIGNALS[s].name;
}

bool o3_signal_parse(const char *name, enum o3_signal *ret) {
    for (int i = 0; i < O3_SIGNAL_COUNT; i++)
        if (!strcmp(name, SIGNALS[i].name)) {
            *ret = (enum o3_signal)i;
            return true;
        }
    return false;
}

int o3_signal_good_direction(enum o3_signal s) {
    O3_ASSERT((unsigned)s < O3_SIGNAL_COUNT);
    return SIGNALS[s].good_direction;
}

const char *o3_stratum_name(enum o3_stratum s) {
    O3_ASSERT((unsigned)s < O3_STRATUM_COUNT);
    return STRATA[s];
}
