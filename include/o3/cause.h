/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CAUSE_H
#define O3_CAUSE_H
/* Why has it changed? Hypotheses about an incident, ranked by what was seen before the change and since. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/ollama.h"
#include "o3/sample.h"
#include "o3/signal.h"

/* The closed set of the metric label `cause`, in this order. */
enum o3_cause {
    O3_CAUSE_GPU_SHARE_FELL,   /* /api/ps shows less of the model in GPU memory */
    O3_CAUSE_CPU_FALLBACK,     /* it shows the same, but the speed is that of a processor: by the roofline */
    O3_CAUSE_MEMORY_NEIGHBOUR, /* another model or process took memory */
    O3_CAUSE_THROTTLING,       /* heat */
    O3_CAUSE_CPU_QUOTA,
    O3_CAUSE_HOST_PRESSURE, /* others want the processor, the memory or the disk (PSI) */
    O3_CAUSE_SWAPPING,
    O3_CAUSE_SERVER_VERSION,
    O3_CAUSE_MODEL_CHANGED,   /* another digest under the name */
    O3_CAUSE_CONTEXT_CHANGED, /* the effective context differs from before, or from the preset */
    O3_CAUSE_RELOAD_STORM,    /* loaded again and again */
    O3_CAUSE_QUEUEING,        /* users wait for each other */
    O3_CAUSE_UPTIME,          /* slower and slower since the runner started */
    O3_CAUSE_GPU_SHARE_ROSE,  /* the GPU is back: a change for the better */
    O3_CAUSE_UNKNOWN,
    O3_CAUSE_COUNT
};
const char *o3_cause_name(enum o3_cause c);

/* Least squares of ln(decode rate) over time, values far off left out: enough to tell a slope from a step. */
struct o3_cause_line {
    int n;
    double hours, log_rate;            /* means; hours since from_wall_ms */
    double hours2, product, log_rate2; /* sums of squares and products around the means */
};

/* Surroundings summed up over a span of samples of one model: medians of levels, rates of counts. NaN and -1: none of
 * the samples knew. */
struct o3_circumstances {
    int n_samples;
    int64_t from_wall_ms, to_wall_ms;
    char version[32], digest[65], gpu[64]; /* of the newest sample */
    double gpu_ratio, num_ctx, size_bytes; /* medians */
    double preset_num_ctx;                 /* of the newest sample; NaN none */
    double other_vram_bytes, memory_available_bytes;
    double pressure_cpu, pressure_memory, pressure_io, queue_s;
    int n_loads; /* of these samples */
    double loads_per_h, user_requests_per_h, swapped_bytes_per_s;
    double throttled_per_h, quota_per_h; /* slowed down by heat; because the quota ran out */
    double efficiency;                   /* decode rate x bytes per token / bandwidth; NaN unknown */
    double decode_tps, bytes_per_token;
    double day_log_change; /* as o3_day_log_change; of all samples, in the surroundings since the change alone */
    double uptime_s;       /* of the runner, at the newest sample */
    struct o3_cause_line line;
};
/* v: samples of one model, oldest first; of more than O3_CIRCUMSTANCES_MAX the newest count. */
#define O3_CIRCUMSTANCES_MAX 256
void o3_circumstances_of(const struct o3_sample *v, size_t n, struct o3_circumstances *ret);

/* What surely changed of ln(decode rate) in a day, by the same times of two days in the runner's present life: the
 * median, nearer to 0 by its error. NaN: too few samples have another a day later. A rhythm of the day leaves it at 0.
 * v as above. */
double o3_day_log_change(const struct o3_sample *v, size_t n);

struct o3_cause_member {
    enum o3_signal signal;
    enum o3_stratum stratum;
    int direction;
    double change_ratio;
    bool is_slow; /* crept in over hours, no step */
};
struct o3_cause_found {
    enum o3_cause cause;
    double weight;      /* 0..1: share of this hypothesis among all that have evidence */
    char evidence[160]; /* for people: "GPU share 1.00 -> 0.00" */
};
#define O3_CAUSES_MAX 4
/* Best first; at least one (unknown, weight 1, when nothing speaks for any other). Returns how many. Each hypothesis
 * has a score: how many times better than chance it explains what was seen. It grows with the evidence up to a limit
 * that says how directly it was seen, and falls with each member that the hypothesis cannot explain in its direction.
 * Chance itself, "unknown", has the score 1, so that weak evidence stays below it. An influence that ended explains the
 * opposite changes. before and since may be NULL. */
int o3_cause_rank(const struct o3_cause_member *m, size_t n_members, const struct o3_circumstances *before,
                  const struct o3_circumstances *since, struct o3_cause_found out[O3_CAUSES_MAX]);

/* Decode rate relative to what the memory bandwidth allows: rate x bytes / bandwidth (roofline; Williams, Waterman &
 * Patterson 2009). NaN when one of them is not known. */
double o3_roofline_efficiency(double decode_tps, double bytes_per_token, double bandwidth_bytes_per_s);
/* Published peak of a GPU by (a part of) its name, bytes/s; NaN unknown. */
double o3_gpu_bandwidth(const char *gpu_name);
/* Bytes of weights that one token of decode reads: the whole file, of a mixture of experts the shared part and the
 * share of the experts that a token uses. -1 unknown. */
int64_t o3_active_weight_bytes(const struct o3_ollama_show *show, int64_t file_bytes);

#endif
