/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_JUDGE_EVIDENCE_H
#define O3_JUDGE_EVIDENCE_H
/* What speaks for each hypothesis. */
#include "o3/cause.h"

struct o3_evidence {
    double strength;  /* 0 none .. 1 as clear as it can be */
    bool is_for_slow; /* it can explain no change but those that crept in */
    int sense;        /* +1: the influence came or grew, -1: it went */
    char text[160];
};
struct o3_evidence_input {
    const struct o3_cause_member *m;
    size_t n_members;
    const struct o3_circumstances *before, *since;
};
/* ret comes in as zero, and stays so when nothing speaks for it. */
typedef void (*o3_evidence_fn)(const struct o3_evidence_input *in, struct o3_evidence *ret);

void o3_evidence_gpu_share_fell(const struct o3_evidence_input *in, struct o3_evidence *ret);
void o3_evidence_gpu_share_rose(const struct o3_evidence_input *in, struct o3_evidence *ret);
void o3_evidence_cpu_fallback(const struct o3_evidence_input *in, struct o3_evidence *ret);
void o3_evidence_memory_neighbour(const struct o3_evidence_input *in, struct o3_evidence *ret);
void o3_evidence_throttling(const struct o3_evidence_input *in, struct o3_evidence *ret);
void o3_evidence_cpu_quota(const struct o3_evidence_input *in, struct o3_evidence *ret);
void o3_evidence_host_pressure(const struct o3_evidence_input *in, struct o3_evidence *ret);
void o3_evidence_swapping(const struct o3_evidence_input *in, struct o3_evidence *ret);
void o3_evidence_server_version(const struct o3_evidence_input *in, struct o3_evidence *ret);
void o3_evidence_model_changed(const struct o3_evidence_input *in, struct o3_evidence *ret);
void o3_evidence_context_changed(const struct o3_evidence_input *in, struct o3_evidence *ret);
void o3_evidence_reload_storm(const struct o3_evidence_input *in, struct o3_evidence *ret);
void o3_evidence_queueing(const struct o3_evidence_input *in, struct o3_evidence *ret);
void o3_evidence_uptime(const struct o3_evidence_input *in, struct o3_evidence *ret);

/* By the speed it is no step, but goes on. */
bool o3_evidence_creeps(const struct o3_circumstances *before, const struct o3_circumstances *since);

/* What is known and explains nothing by itself: a sentence for "unknown". */
void o3_evidence_unknown(const struct o3_evidence_input *in, char out[160]);
/* Text of others (versions, names) within ours: control characters and broken UTF-8 become '?'. */
void o3_evidence_make_safe(char *text, size_t size);

#endif
