/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_JUDGE_EVENTS_H
#define O3_JUDGE_EVENTS_H
/* What the judge tells as events with their fields: the same bytes in the sidecar's log, in its store and in a replay.
 * Pure. */
#include "o3/events.h"
#include "o3/judge.h"

#define O3_JUDGE_FIELDS_MAX 20
struct o3_judge_event {
    enum o3_event_id id;
    struct o3_field f[O3_JUDGE_FIELDS_MAX];
    size_t n;
    /* What the fields point to, besides the caller's own texts; so this struct is not to be copied. */
    char since[40], since_lo[40], since_hi[40], signals[128], text[640];
};
/* report.event must not be NONE. */
void o3_verdict_event(const struct o3_verdict *v, struct o3_judge_event *ret);
void o3_incident_event(const struct o3_incident *i, enum o3_incident_change change, struct o3_judge_event *ret);
void o3_release_event(const struct o3_release *r, struct o3_judge_event *ret);
void o3_epoch_event(const char *model, const char *reason, struct o3_judge_event *ret);
void o3_acknowledged_event(const char *model, enum o3_signal signal, double level, struct o3_judge_event *ret);

#endif
