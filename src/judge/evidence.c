/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence for each hypothesis about a change. The two figures of each grade() are judgement: below the first nothing
 * is seen, from the second on it is as clear as it gets. */
#include "judge/evidence.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "o3/num.h"
#include "o3/text.h"

#define GIB 1073741824.0
#define MIB 1048576.0
#define LINE_MIN 15 /* samples that a line is told from */

static double grade(double x, double weak, double clear) {
    if (!(x > weak)) return 0; /* NaN too */
    return x >= clear ? 1 : (x - weak) / (clear - weak);
}

O3_PRINTF(4, 5)
static void tell(struct o3_evidence *ret, double strength, int sense, const char *fmt, ...) {
    if (!(strength > 0)) return;
    ret->strength = strength;
    ret->sense = sense;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(ret->text, sizeof ret->text, fmt, ap);
    va_end(ap);
    o3_evidence_make_safe(ret->text, sizeof ret->text);
}

void o3_evidence_make_safe(char *text, size_t size) {
    size_t n = strnlen(text, size - 1);
    for (size_t i = 0; i < n;) {
        size_t len = o3_utf8_sequence(text + i, n - i);
        if (len == 0 || o3_utf8_control(text + i, len) >= 0) {
            /* A sequence that was cut at the end goes; what is wrong in the middle is marked. */
            if (len == 0 && n == size - 1 && n - i < 4) {
                text[i] = '\0';
                return;
            }
            memset(text + i, '?', len ? len : 1);
        }
        i += len ? len : 1;
    }
}

/* The change of a level: more than 0 when it rose. NaN when one side is not known. */
static double rise(double before, double since) {
    return since - before;
}

/* Most sensors count from 0, and an unknown past of one that is quiet on a sound machine is taken for quiet. */
static double or_zero(double v) {
    return isfinite(v) ? v : 0;
}

static const struct o3_cause_member *find(const struct o3_evidence_input *in, enum o3_signal signal) {
    for (size_t i = 0; i < in->n_members; i++)
        if (in->m[i].signal == signal) return &in->m[i];
    return NULL;
}

/* Both lines as one, when the second begins `shift` hours after the first. */
static struct o3_cause_line pooled(const struct o3_cause_line *a, const struct o3_cause_line *b, double shift) {
    double n = a->n + b->n, weight = (double)a->n * b->n / n;
    double dt = b->hours + shift - a->hours, dy = b->log_rate - a->log_rate;
    return (struct o3_cause_line){.n = a->n + b->n,
                                  .hours2 = a->hours2 + b->hours2 + weight * dt * dt,
                                  .product = a->product + b->product + weight * dt * dy,
                                  .log_rate2 = a->log_rate2 + b->log_rate2 + weight * dy * dy};
}

/* Log likelihood of one falling line for all samples against a level before and another since; 0: no fall, or too
 * little to tell. ret_per_day: the change of the logarithm in a day by that line; NULL is fine. */
static double slope_evidence(const struct o3_circumstances *b, const struct o3_circumstances *s, double *ret_per_day) {
    const double least_hours = 1;
    if (ret_per_day) *ret_per_day = 0;
    double shift = ((double)s->from_wall_ms - (double)b->from_wall_ms) / 3600e3;
    double span = ((double)s->to_wall_ms - (double)b->from_wall_ms) / 3600e3;
    if (b->line.n < LINE_MIN || s->line.n < LINE_MIN || !(span >= least_hours) || !(shift > 0)) return 0;
    struct o3_cause_line l = pooled(&b->line, &s->line, shift);
    if (!(l.product < 0)) return 0;
    if (ret_per_day) *ret_per_day = 24 * l.product / l.hours2;
    double of_step = b->line.log_rate2 + s->line.log_rate2, of_slope = l.log_rate2 - l.product * l.product / l.hours2;
    return of_step > 0 && of_slope > 0 ? 0.5 * l.n * o3_log(of_step / of_slope) : 0;
}

/* The same for a line through the samples since the change against their level; it may rise. */
static double trend_evidence(const struct o3_cause_line *l) {
    double of_level = l->log_rate2, of_trend = l->log_rate2 - l->product * l->product / l->hours2;
    return l->n >= LINE_MIN && of_level > 0 && of_trend > 0 ? 0.5 * l->n * o3_log(of_level / of_trend) : 0;
}

bool o3_evidence_creeps(const struct o3_circumstances *before, const struct o3_circumstances *since) {
    const double clear_slope = 1, clear_trend = 2;
    return slope_evidence(before, since, NULL) > clear_slope || trend_evidence(&since->line) > clear_trend;
}

/* ---- where the model is ---- */

static void gpu_share(const struct o3_evidence_input *in, int sense, struct o3_evidence *ret) {
    double b = in->before->gpu_ratio, s = in->since->gpu_ratio;
    tell(ret, grade(sense * (b - s), 0.002, 0.02), 1, "GPU share %.2f -> %.2f", b, s);
}

void o3_evidence_gpu_share_fell(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    gpu_share(in, 1, ret);
}

void o3_evidence_gpu_share_rose(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    gpu_share(in, -1, ret);
}

/* How many times slower decoding became; NaN unknown. */
static double slowdown(const struct o3_evidence_input *in) {
    const struct o3_cause_member *m = find(in, O3_SIGNAL_DECODE_RATE);
    double of_member = m && m->change_ratio > -1 && m->change_ratio < 0 ? 1 / (1 + m->change_ratio) : (double)NAN;
    double of_levels = in->before->decode_tps / in->since->decode_tps;
    if (!isfinite(of_levels)) return of_member;
    return isfinite(of_member) ? fmin(of_member, of_levels) : of_levels;
}

/* The list claims the same, but no processor is a GPU: whole machines of today read 50 to 500 GB/s, a GPU's model comes
 * to half of the peak and more. */
void o3_evidence_cpu_fallback(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    const double most_of_a_processor = 500e9, least_of_a_gpu = 0.25;
    const struct o3_circumstances *b = in->before, *s = in->since;
    bool claims_gpu = s->gpu_ratio >= 0.5 && fabs(rise(b->gpu_ratio, s->gpu_ratio)) < 0.02;
    double fell = slowdown(in), implied = s->decode_tps * s->bytes_per_token;
    if (!claims_gpu || implied > most_of_a_processor) return;
    const struct o3_cause_member *m = find(in, O3_SIGNAL_DECODE_RATE);
    bool creeps = (m && m->is_slow) || slope_evidence(b, s, NULL) > 0.5;
    double doubt = creeps ? 0.1 : 1; /* a fallback is a step */
    if (isfinite(s->efficiency)) {
        if (s->efficiency >= least_of_a_gpu) return;
        tell(ret, doubt * grade(fell, 1.5, 3), 1,
             "GPU share still %.2f, but tokens read %.3g GB/s: %.0f %% of the GPU's peak, %.3g times slower",
             s->gpu_ratio, implied / 1e9, 100 * s->efficiency, fell);
    } else
        tell(ret, 0.7 * doubt * grade(fell, 2, 4), 1, "GPU share still %.2f, but %.3g times slower: as a processor is",
             s->gpu_ratio, fell);
}

/* Growth of the RAM that the model itself takes. */
static double own_growth(const struct o3_evidence_input *in) {
    const struct o3_circumstances *b = in->before, *s = in->since;
    double own = s->size_bytes * (1 - s->gpu_ratio) - b->size_bytes * (1 - b->gpu_ratio);
    return isfinite(own) ? own : 0;
}

static double neighbour_in_ram(const struct o3_evidence_input *in, double *ret_taken) {
    const struct o3_circumstances *b = in->before, *s = in->since;
    double own = own_growth(in), fell = -rise(b->memory_available_bytes, s->memory_available_bytes);
    double taken = fell > 0 ? fmax(0, fell - fmax(0, own)) : fmin(0, fell - fmin(0, own));
    *ret_taken = taken;
    double size = isfinite(s->size_bytes) ? fmax(s->size_bytes, GIB) : 4 * GIB;
    double left = fmin(b->memory_available_bytes, s->memory_available_bytes);
    /* Memory that nobody lacks slows nobody: what counts is how little is left. */
    double shortness = 1 - grade(left, 0.25 * size, size);
    double on_cpu = s->gpu_ratio >= 0.99 ? 0.3 : 1;
    return on_cpu * shortness * grade(fabs(taken), 0.1 * size, 0.5 * size);
}

static double neighbour_in_vram(const struct o3_evidence_input *in) {
    const struct o3_circumstances *b = in->before, *s = in->since;
    double more = rise(or_zero(b->other_vram_bytes), s->other_vram_bytes);
    double size = isfinite(s->size_bytes) ? fmax(s->size_bytes, GIB) : 4 * GIB;
    double pushed = fabs(rise(b->gpu_ratio, s->gpu_ratio)) > 0.002 ? 1 : 0.15; /* beside it there was room for both */
    return pushed * grade(fabs(more), 0.05 * size, 0.3 * size);
}

void o3_evidence_memory_neighbour(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    const struct o3_circumstances *b = in->before, *s = in->since;
    double taken = 0, ram = neighbour_in_ram(in, &taken), vram = neighbour_in_vram(in);
    double other = or_zero(b->other_vram_bytes);
    if (vram >= ram)
        tell(ret, vram, s->other_vram_bytes > other ? 1 : -1, "other models in GPU memory %.3g -> %.3g GiB",
             other / GIB, s->other_vram_bytes / GIB);
    else
        tell(ret, ram, taken > 0 ? 1 : -1, "available memory %.3g -> %.3g GiB, not taken by this model",
             b->memory_available_bytes / GIB, s->memory_available_bytes / GIB);
}

/* ---- the machine ---- */

/* For people: few figures, and no powers of ten. */
static const char *figure(double v, char out[24]) {
    snprintf(out, 24, v >= 100 ? "%.0f" : "%.3g", v);
    return out;
}

/* A rate that is near 0 on a sound machine. */
static void rate(double before, double since, double weak, double clear, const char *what, struct o3_evidence *ret) {
    char from[24], to[24];
    double more = rise(or_zero(before), since);
    /* Ten times as much of what was there all along is clear, twice as much is not. */
    double least = fmax(weak, fmin(or_zero(before), since));
    tell(ret, grade(fabs(more), least, fmax(clear, 2 * least)), more > 0 ? 1 : -1, "%s %s -> %s an hour", what,
         figure(or_zero(before), from), figure(since, to));
}

void o3_evidence_throttling(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    rate(in->before->throttled_per_h, in->since->throttled_per_h, 0.5, 10, "processors slowed down by heat:", ret);
}

void o3_evidence_cpu_quota(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    rate(in->before->quota_per_h, in->since->quota_per_h, 10, 200, "CPU quota ran out:", ret);
}

void o3_evidence_host_pressure(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    const struct o3_circumstances *b = in->before, *s = in->since;
    const struct {
        const char *what;
        double before, since;
    } resources[] = {{"the processor", b->pressure_cpu, s->pressure_cpu},
                     {"memory", b->pressure_memory, s->pressure_memory},
                     {"the disk", b->pressure_io, s->pressure_io}};
    struct o3_evidence swap = {0};
    o3_evidence_swapping(in, &swap); /* what waits for memory then waits for the swap */
    double best = 0;
    for (size_t i = 0; i < sizeof resources / sizeof *resources; i++) {
        double more = rise(or_zero(resources[i].before), resources[i].since), strength = grade(fabs(more), 0.03, 0.3);
        bool is_cpu_beside_gpu = i == 0 && s->gpu_ratio >= 0.99;
        if (is_cpu_beside_gpu) strength *= 0.3;
        if (i == 1) strength *= 1 - 0.7 * swap.strength;
        if (strength <= best) continue;
        best = strength;
        tell(ret, strength, more > 0 ? 1 : -1, "work that waited for %s: %.0f %% -> %.0f %% of the time",
             resources[i].what, 100 * or_zero(resources[i].before), 100 * resources[i].since);
    }
}

void o3_evidence_swapping(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    char from[24], to[24];
    double b = or_zero(in->before->swapped_bytes_per_s), s = in->since->swapped_bytes_per_s, more = rise(b, s);
    double least = fmax(0.1 * MIB, fmin(b, s));
    tell(ret, grade(fabs(more), least, fmax(5 * MIB, 2 * least)), more > 0 ? 1 : -1,
         "read back from swap: %s -> %s MiB/s", figure(b / MIB, from), figure(s / MIB, to));
}

/* ---- the server and the model ---- */

void o3_evidence_server_version(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    const char *b = in->before->version, *s = in->since->version;
    if (*b && *s && strcmp(b, s) != 0) tell(ret, 1, 1, "Ollama %.31s -> %.31s", b, s);
}

void o3_evidence_model_changed(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    const char *b = in->before->digest, *s = in->since->digest;
    if (*b && *s && strcmp(b, s) != 0) tell(ret, 1, 1, "digest %.12s -> %.12s", b, s);
}

void o3_evidence_context_changed(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    const struct o3_circumstances *b = in->before, *s = in->since;
    double ratio = s->num_ctx / b->num_ctx;
    struct o3_evidence storm = {0};
    o3_evidence_reload_storm(in, &storm); /* a context that changes with each load is a part of it */
    double strength = grade(fmax(ratio, 1 / ratio), 1, 1.05) * (1 - 0.7 * storm.strength);
    int sense = ratio >= 1 ? 1 : -1;
    bool is_off = s->preset_num_ctx > 0 && fabs(s->num_ctx - s->preset_num_ctx) > 0.5;
    if (strength > 0 && is_off)
        tell(ret, strength, sense, "context %.0f -> %.0f tokens; the preset says %.0f", b->num_ctx, s->num_ctx,
             s->preset_num_ctx);
    else
        tell(ret, strength, sense, "context %.0f -> %.0f tokens", b->num_ctx, s->num_ctx);
    /* Other than the preset, and for how long is not known. */
    bool is_past_unknown = !isfinite(b->num_ctx) && is_off;
    if (is_past_unknown)
        tell(ret, 0.1, s->num_ctx > s->preset_num_ctx ? 1 : -1, "context %.0f tokens; the preset says %.0f", s->num_ctx,
             s->preset_num_ctx);
}

/* One load is no storm, and a model that is unloaded between its users is loaded often: what counts is how many more
 * there were than as often as before, against what chance gives. */
void o3_evidence_reload_storm(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    const int least = 3;
    const struct o3_circumstances *b = in->before, *s = in->since;
    char from[24], to[24];
    double hours = s->n_loads / s->loads_per_h, expected = or_zero(b->loads_per_h) * hours;
    if (s->n_loads < least) return;
    tell(ret, grade((s->n_loads - expected) / sqrt(expected + 1), 1.5, 4), 1, "%d loads of the model: %s -> %s an hour",
         s->n_loads, figure(or_zero(b->loads_per_h), from), figure(s->loads_per_h, to));
}

void o3_evidence_queueing(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    const struct o3_circumstances *b = in->before, *s = in->since;
    char from[24], to[24];
    double wait = rise(b->queue_s, s->queue_s);
    double users = s->user_requests_per_h / b->user_requests_per_h, more_users = wait > 0 ? users : 1 / users;
    double support = more_users > 1.5 || !isfinite(more_users) ? 1 : 0.5;
    if (or_zero(s->user_requests_per_h) <= 0 && or_zero(b->user_requests_per_h) <= 0) support = 0.1; /* nobody there */
    tell(ret, support * grade(fabs(wait), 0.05, 0.5), wait > 0 ? 1 : -1,
         "wait for a slot %.3g -> %.3g s, %s -> %s user requests an hour", b->queue_s, s->queue_s,
         figure(or_zero(b->user_requests_per_h), from), figure(or_zero(s->user_requests_per_h), to));
}

/* How surely speed goes on falling, and by how much in a day: against a step at the change or, when little was kept of
 * the time before it, within a day and more since. */
static double decay_evidence(const struct o3_evidence_input *in, double *ret_per_day) {
    const struct o3_cause_line *l = &in->since->line;
    double of_slope = grade(slope_evidence(in->before, in->since, ret_per_day), 0.5, 2.5);
    double span_h = ((double)in->since->to_wall_ms - (double)in->since->from_wall_ms) / 3600e3;
    if (in->before->line.n >= LINE_MIN || !(span_h >= 24) || !(l->product < 0)) return of_slope;
    *ret_per_day = 24 * l->product / l->hours2;
    return grade(trend_evidence(l), 3, 6);
}

/* A machine that is slower by day than by night is slower and slower for half a day, too: what goes with uptime is
 * slower than at the same time a day before. */
void o3_evidence_uptime(const struct o3_evidence_input *in, struct o3_evidence *ret) {
    const double day_s = 86400;
    bool is_slow = false;
    for (size_t i = 0; i < in->n_members; i++)
        is_slow |= in->m[i].is_slow;
    double up = in->since->uptime_s, per_day, slope = decay_evidence(in, &per_day), slow = is_slow ? 1 : 0;
    bool has_grown = !(in->before->uptime_s > up), falls_daily = in->since->day_log_change <= 0.5 * per_day;
    if (!has_grown || !(up >= day_s)) return;
    if (!(per_day < 0) || !falls_daily) slope = 0;
    tell(ret, fmax(slope, slow), 1, "slower and slower since the model was loaded %.3g h ago", up / 3600);
    ret->is_for_slow = slow > slope;
}

void o3_evidence_unknown(const struct o3_evidence_input *in, char out[160]) {
    const char *b = in->before->gpu, *s = in->since->gpu;
    struct o3_evidence e = {0};
    if (*b && *s && strcmp(b, s) != 0)
        tell(&e, 1, 1, "the device or its driver changed: %.48s -> %.48s", b, s);
    else
        tell(&e, 1, 1, "nothing that the sidecar can see explains it");
    (void)o3_str_copy(out, 160, e.text);
}
