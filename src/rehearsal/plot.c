/* SPDX-License-Identifier: Apache-2.0 */
#include "rehearsal/plot.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "o3/num.h"
#include "rehearsal/report.h"

/* Small enough that its letters stay readable on a phone, where the picture is shrunk to the screen. */
#define WIDTH 420
#define HEIGHT 214
#define LEFT 66
#define RIGHT 410
#define TOP 20
#define BOTTOM 172
#define LINEAR_SECONDS 1e-3 /* of PLOT_SYMLOG */

/* ---- coordinates ---- */

static double scaled(const struct plot_axis *a, double v) {
    if (a->scale == PLOT_LOG) return o3_log(v > a->lo ? v : a->lo);
    if (a->scale == PLOT_SYMLOG) return copysign(o3_log1p(fabs(v) / LINEAR_SECONDS), v);
    return v;
}

static double part(const struct plot_axis *a, double v) {
    double lo = scaled(a, a->lo), hi = scaled(a, a->hi), x = (scaled(a, v) - lo) / (hi - lo);
    return fmin(fmax(x, 0), 1);
}

static double px(const struct plot *p, double x) {
    return LEFT + part(&p->x, x) * (RIGHT - LEFT);
}

static double py(const struct plot *p, double y) {
    return BOTTOM - part(&p->y, y) * (BOTTOM - TOP);
}

/* ---- axes ---- */

/* Milliseconds or seconds, never minutes: a step of an axis is round in one unit. */
static void second_words(double v, bool has_sign, char *out, size_t size) {
    char number[32];
    bool is_short = fabs(v) < 0.9995;
    report_number(number, sizeof number, is_short ? v * 1e3 : v, 3);
    snprintf(out, size, "%s%s %s", has_sign && v > 0 ? "+" : "", number, is_short ? "ms" : "s");
}

static void tick_words(const struct plot_axis *a, double v, char *out, size_t size) {
    if (a->unit == PLOT_SECONDS && v == 0)
        snprintf(out, size, "0");
    else if (a->unit == PLOT_SECONDS)
        second_words(v, a->scale == PLOT_SYMLOG, out, size);
    else if (a->unit == PLOT_PERCENT)
        report_percent(out, size, v, 3);
    else
        report_number(out, size, v, 3);
}

static void x_tick(struct plot *p, double v, const char *words) {
    double x = px(p, v);
    bool is_last = x > RIGHT - 14; /* stays in the picture */
    o3_buf_addf(p->out, "<path class=\"grid\" d=\"M%.1f %dV%d\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">", x, TOP,
                BOTTOM, is_last ? WIDTH - 2.0 : x, BOTTOM + 17, is_last ? "end" : "middle");
    o3_buf_add_html(p->out, words);
    o3_buf_adds(p->out, "</text>");
}

static void y_tick(struct plot *p, double v, const char *words) {
    double y = py(p, v);
    o3_buf_addf(p->out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT,
                y, RIGHT, LEFT - 6, y + 4);
    o3_buf_add_html(p->out, words);
    o3_buf_adds(p->out, "</text>");
}

static void tick(struct plot *p, bool is_x, double v) {
    char words[40];
    tick_words(is_x ? &p->x : &p->y, v, words, sizeof words);
    (is_x ? x_tick : y_tick)(p, v, words);
}

/* 1, 2 or 5 times a power of ten, so that about four steps fill the axis. */
static double round_step(double span) {
    double step = 1;
    while (step * 4 > span)
        step /= 10;
    while (step * 40 <= span)
        step *= 10;
    double n = span / step; /* 4 to 40 */
    return n > 20 ? 5 * step : n > 8 ? 2 * step : step;
}

static void linear_ticks(struct plot *p, bool is_x) {
    const struct plot_axis *a = is_x ? &p->x : &p->y;
    double step = round_step(a->hi - a->lo);
    if (a->unit == PLOT_COUNT && step < 1) step = 1;
    double first = ceil(a->lo / step - 1e-9);
    for (int i = 0; i < 12 && (first + i) * step <= a->hi + step * 1e-9; i++)
        tick(p, is_x, (first + i) * step);
}

static void log_ticks(struct plot *p, bool is_x) {
    const struct plot_axis *a = is_x ? &p->x : &p->y;
    int n = 0;
    for (double v = 1e-9; v <= a->hi * 1.000001; v *= 10)
        n += v >= a->lo * 0.999999;
    int skip = n > 8 ? 3 : n > 5 ? 2 : 1, i = n; /* counted from the top, which is named always */
    for (double v = 1e-9; v <= a->hi * 1.000001; v *= 10)
        if (v >= a->lo * 0.999999 && --i % skip == 0) tick(p, is_x, v);
}

static void symlog_ticks(struct plot *p, bool is_x) {
    const struct plot_axis *a = is_x ? &p->x : &p->y;
    double largest = fmax(fabs(a->lo), fabs(a->hi));
    double step = largest > 0.5 ? 100 : 10;
    tick(p, is_x, 0);
    for (double v = 1e-2; v <= largest * 1.000001; v *= step) {
        if (v <= a->hi * 1.000001) tick(p, is_x, v);
        if (-v >= a->lo * 1.000001) tick(p, is_x, -v);
    }
}

static void ticks(struct plot *p, bool is_x) {
    enum plot_scale scale = is_x ? p->x.scale : p->y.scale;
    if (scale == PLOT_LOG)
        log_ticks(p, is_x);
    else if (scale == PLOT_SYMLOG)
        symlog_ticks(p, is_x);
    else
        linear_ticks(p, is_x);
}

/* ---- the figure ---- */

void plot_begin(struct plot *p, struct o3_buf *out, const char *title, const char *of, const char *summary,
                const struct plot_axis *x, const struct plot_axis *y) {
    *p = (struct plot){.out = out, .x = *x, .y = *y};
    o3_buf_addf(out, "<figure><figcaption>%s", title);
    if (*of) {
        o3_buf_adds(out, " <code>");
        o3_buf_add_html(out, of);
        o3_buf_adds(out, "</code>");
    }
    o3_buf_addf(out, "</figcaption><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    o3_buf_add_html(out, summary);
    o3_buf_adds(out, "\">");
    ticks(p, true);
    ticks(p, false);
    o3_buf_addf(out, "<path class=\"axis\" d=\"M%d %dV%dH%d\"/>", LEFT, TOP, BOTTOM, RIGHT);
    o3_buf_addf(out, "<text class=\"label\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (LEFT + RIGHT) / 2, HEIGHT - 6);
    o3_buf_add_html(out, x->label);
    o3_buf_addf(out, "</text><text class=\"label\" x=\"4\" y=\"%d\">", TOP - 8);
    o3_buf_add_html(out, y->label);
    o3_buf_adds(out, "</text>\n");
}

void plot_end(struct plot *p, const char *legend) {
    o3_buf_addf(p->out, "</svg>");
    if (*legend) o3_buf_addf(p->out, "<p class=\"legend\">%s</p>", legend);
    o3_buf_adds(p->out, "</figure>\n");
}

/* ---- what is drawn ---- */

void plot_line(struct plot *p, const char *class, const double *x, const double *y, int n) {
    bool is_open = false;
    o3_buf_addf(p->out, "<path class=\"line %s\" d=\"", class);
    for (int i = 0; i < n; i++) {
        bool is_known = isfinite(y[i]);
        if (is_known && is_open)
            o3_buf_addf(p->out, "L%.1f %.1f", px(p, x[i]), py(p, y[i]));
        else if (is_known) /* of no length, so that a lonely point is a dot of the round pen */
            o3_buf_addf(p->out, "M%.1f %.1fh0", px(p, x[i]), py(p, y[i]));
        is_open = is_known;
    }
    o3_buf_adds(p->out, "\"/>\n");
}

static void title_of(struct plot *p, const char *words) {
    o3_buf_adds(p->out, "><title>");
    o3_buf_add_html(p->out, words);
    o3_buf_adds(p->out, "</title>");
}

void plot_bar(struct plot *p, const char *class, double x0, double x1, double y, const char *words) {
    double left = px(p, x0), right = px(p, x1), top = py(p, y);
    double gap = right - left > 3 ? 0.5 : 0;
    o3_buf_addf(p->out, "<rect class=\"bar %s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"", class,
                left + gap, top, fmax(right - left - 2 * gap, 0.8), BOTTOM - top);
    title_of(p, words);
    o3_buf_adds(p->out, "</rect>\n");
}

void plot_shade(struct plot *p, double x0, double x1, const char *words) {
    double left = px(p, x0), right = px(p, x1);
    o3_buf_addf(p->out, "<rect class=\"change\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"", left, TOP,
                fmax(right - left, 1.5), BOTTOM - TOP);
    title_of(p, words);
    o3_buf_adds(p->out, "</rect>\n");
}

/* Told apart by form and colour. */
void plot_mark(struct plot *p, bool is_true, double x, const char *words) {
    double at = px(p, x);
    o3_buf_addf(p->out, "<g class=\"%s\"", is_true ? "true" : "false");
    title_of(p, words);
    o3_buf_addf(p->out, "<path class=\"stem\" d=\"M%.1f %dV%d\"/>", at, TOP, BOTTOM);
    if (is_true)
        o3_buf_addf(p->out, "<path class=\"fill\" d=\"M%.1f %dl-6 -11h12z\"/>", at, TOP + 5);
    else
        o3_buf_addf(p->out, "<path class=\"cross\" d=\"M%.1f %dl9 9m0 -9l-9 9\"/>", at - 4.5, TOP - 6);
    o3_buf_adds(p->out, "</g>\n");
}

void plot_range(struct plot *p, double x, double lo, double hi, double mean) {
    double at = px(p, x);
    o3_buf_addf(
        p->out,
        "<path class=\"range\" d=\"M%.1f %.1fV%.1f\"/><circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"2\"/>\n", at,
        py(p, lo), py(p, hi), at, py(p, mean));
}

void plot_level(struct plot *p, double y) {
    o3_buf_addf(p->out, "<path class=\"level\" d=\"M%d %.1fH%d\"/>\n", LEFT, py(p, y), RIGHT);
}
