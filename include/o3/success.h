/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SUCCESS_H
#define O3_SUCCESS_H
/* Share of probes that succeed: two-sided Bernoulli CUSUMs (Reynolds & Stoumbos 1999) with a self-starting reference.
 * The same life as a detector of values (o3/drift.h): states, events, report and view are its, with values 0..1 and
 * change_ratio = share now - share of the reference (a difference, not a ratio: the reference may be 0 or 1). Pure,
 * fixed size, O(1) a sample; encode and decode round-trip exactly. src/doc/drift.md tells the method.
 *
 * Three failures in a row are SUSPECT when the reference is next to 1; one is not, nor are two. A total outage is
 * CONFIRMED by its confirm_samples-th attempt. One with few attempts, because they are rare or each waits long, is so
 * from the fifth on, once it has lasted confirm_ms.
 *
 * Differences to o3/drift.h: level is the share of all attempts since the change (of the last 30 while CONFIRMED),
 * change_lo..change_hi the interval of Newcombe (1998); baseline_sd_ratio and baseline_sd are those of one attempt,
 * recent_median is the share of the last 30, robust_cv is NaN. The reference
 * that is shown is the share that was seen, without the prior that the statistic adds. No season is learned
 * (season_known is false) and nothing is slow. Attempts are taken as independent. */
#include <stdbool.h>
#include "o3/drift.h"

struct o3_success_params {
    double arl0_samples; /* as in o3_drift_params */
    int n0;              /* attempts of the first reference, default 30; 10..240 */
    int confirm_samples; /* default 10; 5..60 */
    double min_change;   /* smallest difference of the share worth an alert, default 0.1; 0..0.9. Below it a change is
                          * exported, not alerted */
    int64_t confirm_ms;  /* default 15 minutes; 0: attempts alone count */
};
struct o3_success_params o3_success_params_default(void);

struct o3_success;
size_t o3_success_size(void);                                         /* bytes; < 2 KiB */
struct o3_success *o3_success_new(const struct o3_success_params *p); /* NULL on no memory */
void o3_success_free(struct o3_success *s);
/* wall_ms only labels the change time and tells when confirm_ms is over; it may jump. ret may be NULL. */
enum o3_drift_event o3_success_add(struct o3_success *s, bool is_success, int64_t wall_ms, struct o3_drift_report *ret);
void o3_success_reset(struct o3_success *s);
/* Another ARL0 or number of confirming samples from now on; the rest stays. */
void o3_success_tune(struct o3_success *s, const struct o3_success_params *p);
void o3_success_acknowledge(struct o3_success *s);
void o3_success_view(const struct o3_success *s, struct o3_drift_view *ret);
enum o3_drift_state o3_success_state_of(const struct o3_success *s);
/* Text, hex floats, versioned; up to 8 KiB. Returns 0 or the buffer's error. */
int o3_success_encode(const struct o3_success *s, struct o3_buf *out);
/* PARSE on damage, STORE_NEWER on a later version. text needs no NUL. */
O3_MUST_CHECK int o3_success_decode(const char *text, size_t n, struct o3_success **ret, struct o3_err *e);

#endif
