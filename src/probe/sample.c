/* SPDX-License-Identifier: Apache-2.0 */
/* From what a probe's stream held to one measured sample. The text form is in sample_json.c. */
#include "o3/sample.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "o3/text.h"
#include "base/json.h"

static const char *const KIND_NAMES[O3_PROBE_KIND_COUNT] = {
    [O3_PROBE_DECODE] = "decode",
    [O3_PROBE_PREFILL] = "prefill",
    [O3_PROBE_EMBED] = "embed",
    [O3_PROBE_LOOK] = "look",
};

static const struct {
    const char *name;
    bool is_failure;
} OUTCOMES[O3_OUTCOME_COUNT] = {
    [O3_OUTCOME_OK] = {"ok", false},
    [O3_OUTCOME_INCOMPLETE] = {"incomplete", false},
    [O3_OUTCOME_NO_METRICS] = {"no_metrics", true},
    [O3_OUTCOME_TIMEOUT] = {"timeout", true},
    [O3_OUTCOME_REFUSED] = {"refused", true},
    [O3_OUTCOME_HTTP_ERROR] = {"http_error", true},
    [O3_OUTCOME_BUSY] = {"busy", true},
    [O3_OUTCOME_STREAM_ERROR] = {"stream_error", true},
    [O3_OUTCOME_BROKEN] = {"broken", true},
    [O3_OUTCOME_CANCELLED] = {"cancelled", false},
    [O3_OUTCOME_STUCK] = {"stuck", true},
};

const char *o3_probe_kind_name(enum o3_probe_kind k) {
    O3_ASSERT((unsigned)k < O3_PROBE_KIND_COUNT);
    return KIND_NAMES[k];
}

const char *o3_outcome_name(enum o3_outcome o) {
    O3_ASSERT((unsigned)o < O3_OUTCOME_COUNT);
    return OUTCOMES[o].name;
}

bool o3_outcome_is_failure(enum o3_outcome o) {
    O3_ASSERT((unsigned)o < O3_OUTCOME_COUNT);
    return OUTCOMES[o].is_failure;
}

void o3_surroundings_init(struct o3_surroundings *s) {
    *s = (struct o3_surroundings){
        .parallel = -1,
        .preset_num_ctx = -1,
        .loaded_wall_ms = -1,
        .weight_bytes = -1,
        .bandwidth_bytes_per_s = (double)NAN,
        .interval_ms = -1,
        .n_models = -1,
        .pressure_cpu = (double)NAN,
        .pressure_memory = (double)NAN,
        .pressure_io = (double)NAN,
        .memory_available_bytes = -1,
        .other_vram_bytes = -1,
    };
}

static bool is_error_status(int http_status) {
    return http_status != 0 && (http_status < 200 || http_status > 299);
}

/* What transport and status alone decide; O3_OUTCOME_OK when the body decides. `is_answered`: the whole answer had
 * arrived, so that a connection cut after it takes nothing away. */
static enum o3_outcome outcome_of_transfer(const struct o3_probe_asked *a, bool is_answered) {
    if (a->transport == O3_E_CANCELLED) return O3_OUTCOME_CANCELLED;
    if (a->transport == O3_E_TIMEOUT) return O3_OUTCOME_TIMEOUT;
    if (a->transport == O3_E_UNREACHABLE) return O3_OUTCOME_REFUSED;
    if (a->http_status == 503) return O3_OUTCOME_BUSY;
    if (is_error_status(a->http_status)) return O3_OUTCOME_HTTP_ERROR;
    if (a->http_status == 0) return O3_OUTCOME_BROKEN;
    return a->transport != 0 && !is_answered ? O3_OUTCOME_BROKEN : O3_OUTCOME_OK;
}

static enum o3_outcome outcome_without_done(const struct o3_stream_result *r) {
    bool is_unreadable = r->n_bad_lines || r->n_long_lines;
    /* Ollama ends a looping generation cleanly, but not before it has sent tokens. */
    return is_unreadable || r->n_token_lines == 0 ? O3_OUTCOME_BROKEN : O3_OUTCOME_NO_METRICS;
}

static enum o3_outcome outcome_of_done(const struct o3_probe_asked *a, const struct o3_stream_result *r) {
    bool has_metrics = r->eval_count >= 0 && r->eval_ns >= 0;
    /* An answer that stops at once has no tokens to count: zeros are left out of the JSON. */
    if (!has_metrics) return strcmp(r->done_reason, "stop") == 0 ? O3_OUTCOME_INCOMPLETE : O3_OUTCOME_NO_METRICS;
    return r->eval_count < a->num_predict ? O3_OUTCOME_INCOMPLETE : O3_OUTCOME_OK;
}

static enum o3_outcome outcome_of_stream(const struct o3_probe_asked *a, const struct o3_stream_result *r) {
    enum o3_outcome o = outcome_of_transfer(a, r->is_done || r->error[0]);
    if (o != O3_OUTCOME_OK) return o;
    if (r->error[0]) return O3_OUTCOME_STREAM_ERROR;
    return r->is_done ? outcome_of_done(a, r) : outcome_without_done(r);
}

static int64_t elapsed_ns(int64_t from_ns, int64_t to_ns) {
    return to_ns >= 0 && to_ns >= from_ns ? to_ns - from_ns : -1;
}

/* total - load - prompt_eval - eval: the wait for a slot, and templates. -1 when a part is unknown. */
static int64_t queue_of(const struct o3_sample *s) {
    if (s->total_ns < 0 || s->load_ns < 0 || s->prompt_eval_ns < 0 || s->eval_ns < 0) return -1;
    double rest = (double)s->total_ns - (double)s->load_ns - (double)s->prompt_eval_ns - (double)s->eval_ns;
    return rest > 0 ? s->total_ns - s->load_ns - s->prompt_eval_ns - s->eval_ns : 0;
}

/* eval_duration covers all tokens but the first one (its time is prompt_eval_duration's). */
static void form_rates(struct o3_sample *s) {
    s->decode_tps = s->prefill_tps = s->tpot_s = (double)NAN;
    if (s->eval_count >= 2 && s->eval_ns > 0) {
        double n = (double)(s->eval_count - 1), seconds = (double)s->eval_ns / (double)O3_NS_PER_S;
        s->decode_tps = n / seconds;
        s->tpot_s = seconds / n;
    }
    if (s->kind == O3_PROBE_PREFILL && s->prompt_eval_count > 0 && s->prompt_eval_ns > 0)
        s->prefill_tps = (double)s->prompt_eval_count / ((double)s->prompt_eval_ns / (double)O3_NS_PER_S);
}

/* Clocks of two processes and rounding differ a little; below this a contradiction is none. */
#define CLOCK_SLACK_NS (20 * O3_NS_PER_MS)

static bool exceeds(double part_ns, double whole_ns) {
    return part_ns > whole_ns * 1.05 + (double)CLOCK_SLACK_NS;
}

static bool times_contradict(const struct o3_sample *s) {
    if (s->total_ns < 0) return false;
    double parts_ns = 0;
    parts_ns += s->load_ns > 0 ? (double)s->load_ns : 0;
    parts_ns += s->prompt_eval_ns > 0 ? (double)s->prompt_eval_ns : 0;
    parts_ns += s->eval_ns > 0 ? (double)s->eval_ns : 0;
    if (exceeds(parts_ns, (double)s->total_ns)) return true;
    return s->wall_ns >= 0 && exceeds((double)s->total_ns, (double)s->wall_ns);
}

/* The first token came with the last although decoding took its time: something on the way gathered the stream. */
static bool is_gathered(const struct o3_sample *s) {
    if (s->ttft_ns < 0 || s->wall_ns < 0 || s->eval_count < 2 || s->eval_ns < 0) return false;
    double total_ns = (double)(s->total_ns >= 0 ? s->total_ns : s->wall_ns);
    return (double)s->ttft_ns >= 0.99 * (double)s->wall_ns && (double)s->eval_ns > 0.1 * total_ns;
}

static bool is_incomplete(const struct o3_probe_asked *a, const struct o3_stream_result *r, const struct o3_sample *s) {
    if (s->outcome == O3_OUTCOME_INCOMPLETE || s->outcome == O3_OUTCOME_NO_METRICS) return true;
    if (s->outcome != O3_OUTCOME_OK) return false;
    bool is_truncated = a->kind == O3_PROBE_PREFILL && a->n_prompt_min > 0 && s->prompt_eval_count < a->n_prompt_min;
    bool lacks_prefill = a->kind == O3_PROBE_PREFILL && isnan(s->prefill_tps);
    bool lacks_times = s->ttft_ns < 0 || s->total_ns < 0 || isnan(s->decode_tps);
    return is_truncated || lacks_prefill || lacks_times || r->n_bad_lines || r->n_long_lines;
}

static const char *default_detail(const struct o3_sample *s) {
    switch (s->outcome) {
    case O3_OUTCOME_INCOMPLETE:
        return "fewer tokens than asked for";
    case O3_OUTCOME_NO_METRICS:
        return "the answer ended without metrics";
    case O3_OUTCOME_TIMEOUT:
        return "no complete answer in the time allowed";
    case O3_OUTCOME_REFUSED:
        return "no connection";
    case O3_OUTCOME_BROKEN:
        return "the answer was cut off or unreadable";
    case O3_OUTCOME_CANCELLED:
        return "cancelled by o3";
    case O3_OUTCOME_STREAM_ERROR:
        return "error in mid-stream";
    case O3_OUTCOME_OK:
    case O3_OUTCOME_HTTP_ERROR:
    case O3_OUTCOME_BUSY:
    case O3_OUTCOME_STUCK:
    case O3_OUTCOME_COUNT:
        break;
    }
    return "";
}

static void set_detail(struct o3_sample *s, const char *stream_error, const char *error_text) {
    const char *text = default_detail(s);
    if (s->outcome != O3_OUTCOME_OK && error_text && *error_text) text = error_text;
    if (s->outcome != O3_OUTCOME_OK && stream_error && *stream_error) text = stream_error;
    o3_text_clean(s->detail, sizeof s->detail, text, strlen(text));
    if (!s->detail[0] && is_error_status(s->http_status))
        snprintf(s->detail, sizeof s->detail, "HTTP status %d", s->http_status);
}

static void set_asked(struct o3_sample *s, const struct o3_probe_asked *a) {
    s->kind = a->kind;
    s->wall_ms = a->sent_wall_ms;
    s->mono_ns = a->sent_mono_ns;
    s->http_status = a->http_status;
    s->num_predict = a->num_predict;
    s->wall_ns = elapsed_ns(a->sent_mono_ns, a->end_mono_ns);
    s->flags &= ~(uint32_t)(O3_SAMPLE_INCOMPLETE | O3_SAMPLE_IMPLAUSIBLE);
}

void o3_sample_from_stream(const struct o3_probe_asked *a, const struct o3_stream_result *r, const char *error_text,
                           struct o3_sample *ret) {
    struct o3_sample *s = ret;
    set_asked(s, a);
    s->outcome = outcome_of_stream(a, r);
    s->ttft_ns = elapsed_ns(a->sent_mono_ns, r->first_token_ns);
    s->ttfc_ns = elapsed_ns(a->sent_mono_ns, r->first_content_ns);
    s->total_ns = r->total_ns;
    s->load_ns = r->load_ns;
    s->prompt_eval_ns = r->prompt_eval_ns;
    s->eval_ns = r->eval_ns;
    s->prompt_eval_count = r->prompt_eval_count;
    s->eval_count = r->eval_count;
    s->queue_ns = queue_of(s);
    form_rates(s);
    if (is_incomplete(a, r, s)) s->flags |= O3_SAMPLE_INCOMPLETE;
    if (is_gathered(s) || times_contradict(s)) s->flags |= O3_SAMPLE_IMPLAUSIBLE;
    set_detail(s, r->error, error_text);
}

void o3_sample_from_embed(const struct o3_probe_asked *a, const struct o3_ollama_embed *r, const char *error_text,
                          struct o3_sample *ret) {
    struct o3_sample *s = ret;
    bool is_answered = r && r->dimensions > 0;
    set_asked(s, a);
    s->outcome = outcome_of_transfer(a, is_answered);
    if (s->outcome == O3_OUTCOME_OK && !is_answered) s->outcome = O3_OUTCOME_BROKEN;
    s->ttft_ns = s->ttfc_ns = s->prompt_eval_ns = s->eval_ns = s->eval_count = s->queue_ns = -1;
    s->total_ns = r ? r->total_ns : -1;
    s->load_ns = r ? r->load_ns : -1;
    s->prompt_eval_count = r ? r->prompt_eval_count : -1;
    form_rates(s);
    if (s->outcome == O3_OUTCOME_OK && s->total_ns < 0) s->flags |= O3_SAMPLE_INCOMPLETE;
    if (times_contradict(s)) s->flags |= O3_SAMPLE_IMPLAUSIBLE;
    set_detail(s, NULL, error_text);
}
