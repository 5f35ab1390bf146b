/* SPDX-License-Identifier: Apache-2.0 */
/* Surroundings over a span of samples: medians of levels, rates of counts. */
#include <math.h>
#include "o3/cause.h"
#include "o3/num.h"
#include "o3/stat.h"
#include "o3/text.h"

typedef double (*level_fn)(const struct o3_sample *s);

static double known(int64_t v) {
    return v >= 0 ? (double)v : (double)NAN;
}

static double share(double v) {
    return v >= 0 && v <= 1 ? v : (double)NAN;
}

static double gpu_ratio(const struct o3_sample *s) {
    bool is_known = s->size_bytes > 0 && s->vram_bytes >= 0;
    return is_known ? fmin(1, (double)s->vram_bytes / (double)s->size_bytes) : (double)NAN;
}

static double num_ctx(const struct o3_sample *s) {
    return s->num_ctx > 0 ? (double)s->num_ctx : (double)NAN;
}

static double size_bytes(const struct o3_sample *s) {
    return known(s->size_bytes);
}

static double other_vram(const struct o3_sample *s) {
    return known(s->around.other_vram_bytes);
}

static double memory_available(const struct o3_sample *s) {
    return known(s->around.memory_available_bytes);
}

static double pressure_cpu(const struct o3_sample *s) {
    return share(s->around.pressure_cpu);
}

static double pressure_memory(const struct o3_sample *s) {
    return share(s->around.pressure_memory);
}

static double pressure_io(const struct o3_sample *s) {
    return share(s->around.pressure_io);
}

static double queue_s(const struct o3_sample *s) {
    return s->queue_ns >= 0 ? (double)s->queue_ns / 1e9 : (double)NAN;
}

static double decode_tps(const struct o3_sample *s) {
    const uint32_t bad = O3_SAMPLE_WARMUP | O3_SAMPLE_TAINTED | O3_SAMPLE_INCOMPLETE | O3_SAMPLE_IMPLAUSIBLE;
    bool is_good = s->outcome == O3_OUTCOME_OK && !(s->flags & bad) && s->decode_tps > 0 && s->decode_tps < 1e9;
    return is_good ? s->decode_tps : (double)NAN;
}

static double median_of(const struct o3_sample *v, size_t n, level_fn of) {
    double known_values[O3_CIRCUMSTANCES_MAX];
    size_t n_known = 0;
    for (size_t i = 0; i < n; i++) {
        double x = of(&v[i]);
        if (isfinite(x)) known_values[n_known++] = x;
    }
    return o3_median(known_values, n_known);
}

/* A probe that met something else says nothing of the slope. */
static struct o3_cause_line line_of(const struct o3_sample *v, size_t n) {
    const double far = 4;
    double y[O3_CIRCUMSTANCES_MAX], t[O3_CIRCUMSTANCES_MAX], sorted[O3_CIRCUMSTANCES_MAX];
    struct o3_cause_line l = {.n = 0};
    size_t n_known = 0;
    for (size_t i = 0; i < n; i++) {
        double rate = decode_tps(&v[i]);
        if (!isfinite(rate)) continue;
        t[n_known] = ((double)v[i].wall_ms - (double)v[0].wall_ms) / 3600e3;
        sorted[n_known] = y[n_known] = o3_log(rate);
        n_known++;
    }
    double median = o3_median(sorted, n_known), sd = o3_mad_sd(sorted, n_known, median);
    for (size_t i = 0; i < n_known; i++) {
        if (sd > 0 && fabs(y[i] - median) > far * sd) continue;
        l.n++;
        double dt = t[i] - l.hours, dy = y[i] - l.log_rate;
        l.hours += dt / l.n;
        l.log_rate += dy / l.n;
        l.hours2 += dt * (t[i] - l.hours);
        l.product += dt * (y[i] - l.log_rate);
        l.log_rate2 += dy * (y[i] - l.log_rate);
    }
    return l;
}

#define DAY_MS 86400000.0
#define DAY_NEAR_MS (90 * 60000.0) /* as far from the same time of the day: older samples are few */
#define DAY_PAIRS_MIN 5

/* ln(rate) about a day after sample k, in the same life of the runner, less that of k; NaN: nothing is known. */
static double change_a_day_after(const struct o3_sample *v, size_t n, size_t k) {
    double before = decode_tps(&v[k]), sum = 0;
    int n_near = 0;
    if (!isfinite(before) || v[k].around.loaded_wall_ms != v[n - 1].around.loaded_wall_ms) return NAN;
    for (size_t i = k + 1; i < n; i++) {
        double rate = decode_tps(&v[i]), off = (double)v[i].wall_ms - (double)v[k].wall_ms - DAY_MS;
        if (!isfinite(rate) || fabs(off) > DAY_NEAR_MS) continue;
        sum += o3_log(rate);
        n_near++;
    }
    return n_near ? sum / n_near - o3_log(before) : (double)NAN;
}

double o3_day_log_change(const struct o3_sample *v, size_t n) {
    double change[O3_CIRCUMSTANCES_MAX];
    size_t n_known = 0;
    if (n > O3_CIRCUMSTANCES_MAX) return o3_day_log_change(v + n - O3_CIRCUMSTANCES_MAX, O3_CIRCUMSTANCES_MAX);
    for (size_t k = 0; k < n; k++) {
        double x = change_a_day_after(v, n, k);
        if (isfinite(x)) change[n_known++] = x;
    }
    if (n_known < DAY_PAIRS_MIN) return NAN;
    double median = o3_median(change, n_known), sd = o3_mad_sd(change, n_known, median);
    double doubt = (1 + 8 / (double)n_known) * 1.25 * sd / sqrt((double)n_known);
    return fabs(median) > doubt ? median - copysign(doubt, median) : 0;
}

typedef int64_t (*count_fn)(const struct o3_sample *s);

static int64_t n_loads(const struct o3_sample *s) {
    return s->around.n_loads;
}

static int64_t n_user_requests(const struct o3_sample *s) {
    return s->around.n_user_requests;
}

static int64_t swapped_bytes(const struct o3_sample *s) {
    return s->around.swapped_bytes;
}

static int64_t n_heat(const struct o3_sample *s) {
    int64_t all = s->around.n_throttled, quota = s->around.n_quota > 0 ? s->around.n_quota : 0;
    return all > quota ? all - quota : all < 0 ? -1 : 0;
}

static int64_t n_quota(const struct o3_sample *s) {
    return s->around.n_quota;
}

/* A second. The count of a sample covers the time since the one before; of the first one an interval, where that is
 * known, else it is left out. */
static double rate_of(const struct o3_sample *v, size_t n, count_fn of) {
    if (n == 0) return NAN;
    int64_t interval_ms = v[0].around.interval_ms;
    bool has_first = interval_ms > 0;
    double ms = (double)v[n - 1].wall_ms - (double)v[0].wall_ms + (has_first ? (double)interval_ms : 0), sum = 0;
    size_t n_known = 0;
    for (size_t i = has_first ? 0 : 1; i < n; i++) {
        int64_t x = of(&v[i]);
        if (x < 0) continue;
        sum += (double)x;
        n_known++;
    }
    return n_known && ms > 0 ? sum / ms * 1e3 : (double)NAN;
}

static int count_loads(const struct o3_sample *v, size_t n) {
    const int64_t most = 1000;
    int64_t sum = 0;
    for (size_t i = 0; i < n && sum < most; i++)
        if (v[i].around.n_loads > 0) sum += v[i].around.n_loads < most ? v[i].around.n_loads : most;
    return (int)sum;
}

static void take_newest(const struct o3_sample *v, size_t n, struct o3_circumstances *c) {
    double bandwidth = NAN;
    for (size_t i = 0; i < n; i++) {
        const struct o3_sample *s = &v[i];
        if (s->around.version[0]) (void)o3_str_copy(c->version, sizeof c->version, s->around.version);
        if (s->digest[0]) (void)o3_str_copy(c->digest, sizeof c->digest, s->digest);
        if (s->around.gpu[0]) (void)o3_str_copy(c->gpu, sizeof c->gpu, s->around.gpu);
        if (s->around.weight_bytes > 0) c->bytes_per_token = (double)s->around.weight_bytes;
        if (s->around.bandwidth_bytes_per_s > 0) bandwidth = s->around.bandwidth_bytes_per_s;
        int64_t loaded = s->around.loaded_wall_ms;
        if (loaded > 0) c->uptime_s = s->wall_ms >= loaded ? (double)(s->wall_ms - loaded) / 1e3 : (double)NAN;
        c->preset_num_ctx = s->around.preset_num_ctx > 0 ? (double)s->around.preset_num_ctx : (double)NAN;
    }
    c->efficiency = o3_roofline_efficiency(c->decode_tps, c->bytes_per_token, bandwidth);
}

void o3_circumstances_of(const struct o3_sample *v, size_t n, struct o3_circumstances *ret) {
    if (n > O3_CIRCUMSTANCES_MAX) {
        v += n - O3_CIRCUMSTANCES_MAX;
        n = O3_CIRCUMSTANCES_MAX;
    }
    *ret = (struct o3_circumstances){
        .n_samples = (int)n,
        .from_wall_ms = n ? v[0].wall_ms : 0,
        .to_wall_ms = n ? v[n - 1].wall_ms : 0,
        .gpu_ratio = median_of(v, n, gpu_ratio),
        .num_ctx = median_of(v, n, num_ctx),
        .size_bytes = median_of(v, n, size_bytes),
        .preset_num_ctx = NAN,
        .other_vram_bytes = median_of(v, n, other_vram),
        .memory_available_bytes = median_of(v, n, memory_available),
        .pressure_cpu = median_of(v, n, pressure_cpu),
        .pressure_memory = median_of(v, n, pressure_memory),
        .pressure_io = median_of(v, n, pressure_io),
        .queue_s = median_of(v, n, queue_s),
        .n_loads = count_loads(v, n),
        .loads_per_h = rate_of(v, n, n_loads) * 3600,
        .user_requests_per_h = rate_of(v, n, n_user_requests) * 3600,
        .swapped_bytes_per_s = rate_of(v, n, swapped_bytes),
        .throttled_per_h = rate_of(v, n, n_heat) * 3600,
        .quota_per_h = rate_of(v, n, n_quota) * 3600,
        .efficiency = NAN,
        .decode_tps = median_of(v, n, decode_tps),
        .bytes_per_token = NAN,
        .day_log_change = NAN,
        .uptime_s = NAN,
        .line = line_of(v, n),
    };
    take_newest(v, n, ret);
}
