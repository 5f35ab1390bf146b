/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_REHEARSAL_REPORT_HTML_H
#define O3_REHEARSAL_REPORT_HTML_H
/* The pictures of the page, as figures one after the other. Nothing is added where there is nothing to show. */
#include "rehearsal/report.h"

void report_plots_of_models(const struct o3_run *o, struct o3_buf *out);
void report_plots_of_users(const struct o3_run *sum, struct o3_buf *out);
void report_plots_of_seeds(const struct o3_runs *t, struct o3_buf *out); /* of two runs or more */

#endif
