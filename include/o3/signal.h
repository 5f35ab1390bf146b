/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIGNAL_H
#define O3_SIGNAL_H
/* What is judged. Names are the values of the metric label `signal`, in this order. */
#include <stdbool.h>

enum o3_signal {
    O3_SIGNAL_DECODE_RATE,  /* tokens/s, decode probes */
    O3_SIGNAL_PREFILL_RATE, /* tokens/s, prefill probes */
    O3_SIGNAL_TTFT,         /* s; whole answer of an embedding model */
    O3_SIGNAL_LOAD_TIME,    /* s, of real loads */
    O3_SIGNAL_MEMORY,       /* bytes, as /api/ps says */
    O3_SIGNAL_GPU_RATIO,    /* share of the model in GPU memory, 0..1 */
    O3_SIGNAL_CONTEXT,      /* tokens in force */
    O3_SIGNAL_SUCCESS,      /* share of probes that succeed, 0..1 */
    O3_SIGNAL_COUNT
};
const char *o3_signal_name(enum o3_signal s);
bool o3_signal_parse(const char *name, enum o3_signal *ret);
/* +1: more is better for the users, -1: less is. Memory is -1. */
int o3_signal_good_direction(enum o3_signal s);

/* Conditions under which samples of a signal are comparable; each stratum has a baseline of its own. */
enum o3_stratum {
    O3_STRATUM_IDLE,
    O3_STRATUM_BUSY,      /* users' requests beside it */
    O3_STRATUM_THROTTLED, /* the machine slowed itself down */
    O3_STRATUM_COUNT
};
const char *o3_stratum_name(enum o3_stratum s);

#endif
