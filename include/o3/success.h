/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SUCCESS_H
#define O3_SUCCESS_H
/* Share of probes that succeed: a two-sided Bernoulli CUSUM (Reynolds & Stoumbos 1999) with a self-starting reference.
 * The same life as a detector of values (o3/drift.h): states, events, report and view are its, with values 0..1 and
 * change_ratio = share now - share of the reference (a difference, not a ratio: the reference may be 0 or 1). Pure,
 * fixed size, O(1) a sample; encode and decode round-trip exactly. */
#include <stdbool.h>
#include "o3/drift.h"

struct o3_success_params {
    double arl0_samples; /* as in o3_drift_params */
    int n0;              /* attempts of the first reference, default 30 */
    int confirm_samples;
    double min_change; /* smallest difference of the share worth an alert, default 0.1 */
};
struct o3_success_params o3_success_params_default(void);

struct o3_success;
struct o3_success *o3_success_new(const struct o3_success_params *p); /* NULL on no memory */
void o3_success_free(struct o3_success *s);
enum o3_drift_event o3_success_add(struct o3_success *s, bool is_success, int64_t wall_ms, struct o3_drift_report *ret);
void o3_success_reset(struct o3_success *s);
void o3_success_acknowledge(struct o3_success *s);
void o3_success_view(const struct o3_success *s, struct o3_drift_view *ret);
int o3_success_encode(const struct o3_success *s, struct o3_buf *out);
O3_MUST_CHECK int o3_success_decode(const char *text, size_t n, struct o3_success **ret, struct o3_err *e);

#endif
