/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIM_EVENTS_H
#define O3_SIM_EVENTS_H
/* The grammar of what befalls the simulated world: "at TIME SUBJECT CHANGE [model=NAME] [for DURATION]"
 * (src/rehearsal/README.md). */
#include <stdbool.h>
#include <stdint.h>
#include "o3/err.h"

enum o3_sim_change {
    O3_SIM_CHANGE_DECODE,
    O3_SIM_CHANGE_PREFILL,
    O3_SIM_CHANGE_LOAD_TIME,
    O3_SIM_CHANGE_TTFT,
    O3_SIM_CHANGE_NOISE,
    O3_SIM_CHANGE_HTTP,
    O3_SIM_CHANGE_HANG,
    O3_SIM_CHANGE_FREEZE,
    O3_SIM_CHANGE_REFUSE,
    O3_SIM_CHANGE_TRUNCATE,
    O3_SIM_CHANGE_MALFORMED,
    O3_SIM_CHANGE_UNLOAD,
    O3_SIM_CHANGE_LOAD,
    O3_SIM_CHANGE_UPDATE,
    O3_SIM_CHANGE_RUNNER_KILLED,
    O3_SIM_CHANGE_GPU_LOST,
    O3_SIM_CHANGE_VERSION,
    O3_SIM_CHANGE_RESTART,
    O3_SIM_CHANGE_LOAD_EFFECT,  /* load-effect 4 %: each load draws a factor of its speed */
    O3_SIM_CHANGE_WARM_UP,      /* warm-up 3 requests: slower ones after a load */
    O3_SIM_CHANGE_DAILY,        /* daily 10 %: speed falls by so much at 14:00 UTC against 02:00 */
    O3_SIM_CHANGE_DECAY,        /* decay 4 %/day: of the time since the server started */
    O3_SIM_CHANGE_THERMAL,      /* thermal 83C: the device throttles there */
    O3_SIM_CHANGE_AMBIENT,      /* ambient 35C */
    O3_SIM_CHANGE_QUOTA,        /* quota 4 cores: of the container; fewer than the runner's threads: a convoy */
    O3_SIM_CHANGE_NEIGHBOUR,    /* neighbour 50 %: takes that share of the device's or processor's time */
    O3_SIM_CHANGE_TENANT,       /* tenant 6GiB: another process' memory where the weights go */
    O3_SIM_CHANGE_OOM_LOAD,     /* oom load: loads end in out of memory */
    O3_SIM_CHANGE_OOM_FILL,     /* oom fill: a runner dies when more than half of its context is in use */
    O3_SIM_CHANGE_MEMORY_LIMIT, /* memory-limit 4GiB: of the container; what runners hold beyond it is swapped */
    O3_SIM_CHANGE_SLOW_DISK     /* disk slow 20x: loads read that much slower */
};

struct o3_sim_event {
    int64_t at_ns;
    int64_t until_ns; /* INT64_MAX: for good */
    enum o3_sim_change change;
    bool is_absolute;           /* decode, prefill: value is tok/s, else a factor */
    double value;               /* factor, tok/s, ns of ttft, CV, HTTP status, share, degrees, cores, bytes, requests */
    double ar;                  /* noise: correlation over five minutes, 0..0.95 */
    bool is_unseen;             /* gpu lost: /api/ps goes on claiming the GPU */
    int64_t num_ctx, num_batch; /* load; -1 automatic */
    char model[129];            /* "": every one */
    char version[32];
};

/* One line. `line` is the number to name in an error. */
O3_MUST_CHECK int o3_sim_event_parse(const char *text, uint32_t line, struct o3_sim_event *ret, struct o3_err *e);

#endif
