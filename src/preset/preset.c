/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/preset.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "o3/text.h"
#include "preset/round.h"

const char *o3_preset_name(enum o3_preset_name p) {
    static const char *const NAMES[O3_PRESET_COUNT] = {"max_context", "balanced", "fast_response"};
    O3_ASSERT((unsigned)p < O3_PRESET_COUNT);
    return NAMES[p];
}

bool o3_preset_name_parse(const char *s, enum o3_preset_name *ret) {
    for (int p = 0; p < O3_PRESET_COUNT; p++) {
        if (strcmp(s, o3_preset_name((enum o3_preset_name)p)) != 0) continue;
        *ret = (enum o3_preset_name)p;
        return true;
    }
    return false;
}

const char *o3_preset_source_name(enum o3_preset_source s) {
    static const char *const NAMES[] = {"observed", "predicted", "verified"};
    O3_ASSERT((unsigned)s <= O3_SOURCE_VERIFIED);
    return NAMES[s];
}

const char *o3_batch_source_name(enum o3_batch_source s) {
    static const char *const NAMES[] = {"assumed", "runner", "preset"};
    O3_ASSERT((unsigned)s <= O3_BATCH_PRESET);
    return NAMES[s];
}

double o3_preset_round_rate(double tps) {
    double scale = fabs(tps) < 0.1 ? 1e4 : 1e2; /* a very slow rate must not become 0 */
    return round(tps * scale) / scale;
}

double o3_preset_round_ms(double ms) {
    return round(ms);
}

double o3_preset_round_share(double share) {
    return round(share * 1000) / 1000;
}

static bool same(double a, double b) {
    bool is_a_known = isfinite(a), is_b_known = isfinite(b);
    return is_a_known && is_b_known ? a == b : is_a_known == is_b_known;
}

static bool performance_equal(const struct o3_performance *a, const struct o3_performance *b) {
    if (!a->is_set || !b->is_set) return a->is_set == b->is_set;
    return same(o3_preset_round_rate(a->tokens_per_sec), o3_preset_round_rate(b->tokens_per_sec)) &&
           same(o3_preset_round_ms(a->ttft_ms), o3_preset_round_ms(b->ttft_ms)) &&
           same(o3_preset_round_share(a->stability), o3_preset_round_share(b->stability));
}

/* Values that are left out of the file are equal to each other. */
static bool left_out_or_equal(int64_t a, int64_t b) {
    return a == b || (a <= 0 && b <= 0);
}

static bool preset_equal(const struct o3_preset *a, const struct o3_preset *b) {
    if (!a->is_set || !b->is_set) return a->is_set == b->is_set;
    return a->num_ctx == b->num_ctx && left_out_or_equal(a->batch, b->batch) &&
           left_out_or_equal(a->num_predict, b->num_predict) && a->batch_source == b->batch_source &&
           a->f16_kv == b->f16_kv && a->source == b->source && !strcmp(a->use_case, b->use_case) &&
           performance_equal(&a->performance, &b->performance) && performance_equal(&a->previous, &b->previous);
}

bool o3_preset_doc_equal(const struct o3_preset_doc *a, const struct o3_preset_doc *b) {
    if (strcmp(a->model, b->model) != 0 || strcmp(a->digest, b->digest) != 0) return false;
    for (int p = 0; p < O3_PRESET_COUNT; p++)
        if (!preset_equal(&a->presets[p], &b->presets[p])) return false;
    return true;
}

static bool is_portable(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

void o3_model_file_stem(const char *model, bool (*is_taken)(void *ctx, const char *stem, const char *model), void *ctx,
                        char *out, size_t size) {
    enum { STEM_MAX = 140 }; /* leaves room for the suffix, and for an extension in a file name of 255 bytes */
    O3_ASSERT(size >= 160);
    size_t len = strlen(model);
    size_t n = len < STEM_MAX ? len : STEM_MAX;
    for (size_t i = 0; i < n; i++)
        out[i] = is_portable(model[i]) && (i || model[i] != '.') ? model[i] : '_';
    if (!n) out[n++] = '_';
    out[n] = '\0';
    if (n >= len && !(is_taken && is_taken(ctx, out, model))) return;
    char hash[65];
    o3_sha256_hex(model, len, hash);
    snprintf(out + n, size - n, "-%.8s", hash);
}
