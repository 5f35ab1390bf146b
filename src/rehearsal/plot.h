/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_REHEARSAL_PLOT_H
#define O3_REHEARSAL_PLOT_H
/* Plots as inline SVG in a figure: axes with round numbers, lines, bars and marks. Colours are classes of the page's
 * style sheet. Same input, same bytes. */
#include <stdbool.h>
#include "o3/buf.h"

enum plot_scale {
    PLOT_LINEAR,
    PLOT_LOG,   /* lo > 0 */
    PLOT_SYMLOG /* logarithmic on both sides of 0, linear below a millisecond; for seconds */
};
enum plot_unit { PLOT_PLAIN, PLOT_COUNT, PLOT_SECONDS, PLOT_PERCENT }; /* how a tick is written; PERCENT: of a share */
struct plot_axis {
    enum plot_scale scale;
    enum plot_unit unit;
    double lo, hi; /* lo < hi */
    const char *label;
};
struct plot {
    struct o3_buf *out;
    struct plot_axis x, y;
};
/* title: of the figure; of: what it is about, "" none; summary: what the picture shows, for those who do not see it. */
void plot_begin(struct plot *p, struct o3_buf *out, const char *title, const char *of, const char *summary,
                const struct plot_axis *x, const struct plot_axis *y);
/* legend: HTML of ours. */
void plot_end(struct plot *p, const char *legend);

/* A line through n points; a NaN breaks it. class: "with", "without". */
void plot_line(struct plot *p, const char *class, const double *x, const double *y, int n);
void plot_bar(struct plot *p, const char *class, double x0, double x1, double y, const char *words);
void plot_shade(struct plot *p, double x0, double x1, const char *words);     /* over the whole height */
void plot_mark(struct plot *p, bool is_true, double x, const char *words);    /* an alarm */
void plot_range(struct plot *p, double x, double lo, double hi, double mean); /* a mean with its spread */
void plot_level(struct plot *p, double y);                                    /* a line over the whole width */

#endif
