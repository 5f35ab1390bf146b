/* SPDX-License-Identifier: Apache-2.0 */
/* Which signals a sample tells of. */
#include <math.h>
#include "judge/parts.h"
#include "o3/plan.h"
#include "o3/text.h"

static void put(struct reading *out, size_t *n, enum o3_signal sig, enum o3_stratum st, double value) {
    if (!(value > 0) || !isfinite(value)) return;
    out[(*n)++] = (struct reading){.signal = sig, .stratum = st, .value = value};
}

enum o3_stratum o3_judge_stratum(uint32_t flags) {
    if (flags & O3_SAMPLE_THROTTLED) return O3_STRATUM_THROTTLED;
    return flags & O3_SAMPLE_BUSY ? O3_STRATUM_BUSY : O3_STRATUM_IDLE;
}

static void put_speed(const struct o3_sample *s, struct reading *out, size_t *n) {
    const uint32_t unfit = O3_SAMPLE_WARMUP | O3_SAMPLE_TAINTED | O3_SAMPLE_INCOMPLETE | O3_SAMPLE_IMPLAUSIBLE;
    if (s->flags & unfit) return;
    enum o3_stratum st = o3_judge_stratum(s->flags);
    switch (s->kind) {
    case O3_PROBE_DECODE:
        put(out, n, O3_SIGNAL_DECODE_RATE, st, s->decode_tps);
        /* Beside users the wait for them counts, and another prompt nearly always came before. */
        if (st == O3_STRATUM_BUSY || !(s->flags & O3_SAMPLE_AFTER_OTHER))
            put(out, n, O3_SIGNAL_TTFT, st, (double)s->ttft_ns / 1e9);
        break;
    case O3_PROBE_PREFILL:
        put(out, n, O3_SIGNAL_PREFILL_RATE, st, s->prefill_tps);
        break;
    case O3_PROBE_EMBED:
        put(out, n, O3_SIGNAL_TTFT, st, (double)s->wall_ns / 1e9);
        break;
    case O3_PROBE_LOOK:
    case O3_PROBE_KIND_COUNT:
        break;
    }
}

/* What the list of loaded models said. */
static void put_exact(const struct o3_sample *s, struct reading *out, size_t *n) {
    put(out, n, O3_SIGNAL_MEMORY, O3_STRATUM_IDLE, (double)s->size_bytes);
    if (s->size_bytes > 0 && s->vram_bytes >= 0) {
        double share = (double)s->vram_bytes / (double)s->size_bytes;
        put(out, n, O3_SIGNAL_GPU_RATIO, O3_STRATUM_IDLE, fmin(1, fmax(O3_JUDGE_SHARE_FLOOR, share)));
    }
    put(out, n, O3_SIGNAL_CONTEXT, O3_STRATUM_IDLE, (double)s->num_ctx);
}

/* Nobody's fault: we gave up, our own loop was late, or users were first in the queue. */
static bool says_nothing_of_success(const struct o3_sample *s) {
    if (s->kind == O3_PROBE_LOOK || s->outcome == O3_OUTCOME_CANCELLED) return true;
    if (!o3_outcome_is_failure(s->outcome)) return false;
    bool is_wait = s->outcome == O3_OUTCOME_TIMEOUT || s->outcome == O3_OUTCOME_BUSY;
    return s->flags & O3_SAMPLE_TAINTED || (is_wait && s->flags & O3_SAMPLE_BUSY);
}

size_t o3_judge_readings(const struct o3_sample *s, struct reading out[O3_SIGNAL_COUNT]) {
    size_t n = 0;
    if (s->outcome == O3_OUTCOME_OK) {
        put_speed(s, out, &n);
        bool was_loaded = s->kind != O3_PROBE_LOOK && s->load_ns >= O3_RELOAD_NS && !(s->flags & O3_SAMPLE_TAINTED);
        if (was_loaded) put(out, &n, O3_SIGNAL_LOAD_TIME, O3_STRATUM_IDLE, (double)s->load_ns / 1e9);
        put_exact(s, out, &n);
    }
    if (!says_nothing_of_success(s))
        out[n++] = (struct reading){.signal = O3_SIGNAL_SUCCESS,
                                    .stratum = O3_STRATUM_IDLE,
                                    .value = o3_outcome_is_failure(s->outcome) ? 0 : 1};
    return n;
}
