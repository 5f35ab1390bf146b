/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SAMPLE_H
#define O3_SAMPLE_H
/* One probe, measured. A failed probe is a sample with an outcome, not an error of ours. */
#include <stdbool.h>
#include <stdint.h>
#include "o3/ollama.h"
#include "o3/stream.h"

/* LOOK: nothing was asked; the sample tells what the list of loaded models and the host showed, outcome OK. Recorded
 * where no probe fell due or none could be sent, so that memory, context and GPU share are judged all the same. */
enum o3_probe_kind { O3_PROBE_DECODE, O3_PROBE_PREFILL, O3_PROBE_EMBED, O3_PROBE_LOOK, O3_PROBE_KIND_COUNT };

/* Closed set of the metric label `result`. */
enum o3_outcome {
    O3_OUTCOME_OK,
    O3_OUTCOME_INCOMPLETE, /* fewer tokens than asked, stopped by itself */
    O3_OUTCOME_NO_METRICS, /* status 200 but no done object: the answer was cut off */
    O3_OUTCOME_TIMEOUT,
    O3_OUTCOME_REFUSED,      /* connect failed */
    O3_OUTCOME_HTTP_ERROR,   /* status >= 400, not 503 */
    O3_OUTCOME_BUSY,         /* 503 */
    O3_OUTCOME_STREAM_ERROR, /* error object in mid-stream */
    O3_OUTCOME_BROKEN,       /* closed or malformed in mid-stream */
    O3_OUTCOME_CANCELLED,    /* by us: shutdown or a user arrived; never a failure */
    O3_OUTCOME_STUCK,        /* probe through a gate that was busy for probe.max_busy, and it failed */
    O3_OUTCOME_COUNT
};
const char *o3_probe_kind_name(enum o3_probe_kind k);
const char *o3_outcome_name(enum o3_outcome o);
bool o3_outcome_is_failure(enum o3_outcome o); /* counts against success (not OK, INCOMPLETE, CANCELLED) */

/* Why an admitted outcome stays out of the idle baseline, and what else the judge must know. 0 = admitted. */
enum o3_sample_flag {
    O3_SAMPLE_WARMUP = 1,       /* first probes after a load */
    O3_SAMPLE_BUSY = 2,         /* overlapped user requests: queue wait or activity seen */
    O3_SAMPLE_TAINTED = 4,      /* our own loop was late, or a clock jumped */
    O3_SAMPLE_INCOMPLETE = 8,   /* durations missing or tokens short */
    O3_SAMPLE_IMPLAUSIBLE = 16, /* TTFT equals the total of a multi-token answer, or times that contradict each other */
    /* Another prompt was served since our last probe, a user's or our own long one: the runner puts that state aside
     * first (since 0.30), which takes the longer the more was said. The time to first token tells of it, the rates do
     * not. */
    O3_SAMPLE_AFTER_OTHER = 32,
    O3_SAMPLE_AFTER_GAP = 64, /* first sample of this model after a restart of the runner or of ours, a clock jump, or a
                               * pause: it has no predecessor */
    /* The host or device slowed itself down meanwhile. The judge knows whether that is usual here, and has a stratum of
     * its own, or a change. */
    O3_SAMPLE_THROTTLED = 128
};
/* Flags that keep all of a sample out of the idle baseline. */
#define O3_SAMPLE_REJECTED                                                                                             \
    ((uint32_t)(O3_SAMPLE_WARMUP | O3_SAMPLE_BUSY | O3_SAMPLE_TAINTED | O3_SAMPLE_INCOMPLETE | O3_SAMPLE_IMPLAUSIBLE))

/* What the judge knows besides the measured values: everything that tells two settings apart or may explain a change.
 * It is part of the sample, so that verdicts are a function of the log alone. -1, "" and NaN: unknown. */
struct o3_surroundings {
    char version[32];             /* of the server */
    char gpu[64];                 /* name and driver of the devices in use; "" none or unknown */
    int64_t parallel;             /* requests at a time of this runner */
    int64_t preset_num_ctx;       /* of the preset that was published for this model last */
    int64_t loaded_wall_ms;       /* when this runner was seen first */
    int64_t weight_bytes;         /* that one token of decode reads: active weights */
    double bandwidth_bytes_per_s; /* peak of the memory the weights should lie in */
    int64_t interval_ms;          /* cadence this model's samples are budgeted for: without the haste of a suspicion */
    int64_t n_models;             /* that share the false-alarm budget */
    /* counts since the sample before */
    int64_t n_loads;         /* this model was loaded (again) */
    int64_t n_user_requests; /* that were seen to end, of this model */
    int64_t swapped_bytes;   /* that the host read back from swap */
    int64_t n_throttled;     /* times a processor slowed down because of heat, or the quota ran out */
    int64_t n_quota;         /* of n_throttled: the quota ran out */
    /* the host at the time */
    double pressure_cpu, pressure_memory,
        pressure_io; /* share of the last 10 s in which some task waited (PSI), 0..1 */
    int64_t memory_available_bytes;
    int64_t other_vram_bytes; /* of other loaded models */
};
void o3_surroundings_init(struct o3_surroundings *s); /* all unknown; counts 0 */

struct o3_sample {
    int64_t wall_ms, mono_ns; /* when the request was sent */
    char model[O3_MODEL_NAME_SIZE];
    char digest[65];
    enum o3_probe_kind kind;
    enum o3_outcome outcome;
    uint32_t flags;
    int http_status;                                                                   /* 0 none */
    int64_t num_ctx, num_batch, num_predict;                                           /* as in force; -1 unknown */
    int64_t ttft_ns, ttfc_ns, wall_ns;                                                 /* client side; -1 none */
    int64_t total_ns, load_ns, prompt_eval_ns, eval_ns, prompt_eval_count, eval_count; /* server side; -1 none */
    int64_t queue_ns;               /* total - load - prompt_eval - eval, at least 0; -1 unknown */
    double decode_tps;              /* (eval_count - 1) / eval_duration; NaN when it cannot be formed */
    double prefill_tps;             /* prompt_eval_count / prompt_eval_duration, prefill probes only; NaN else */
    double tpot_s;                  /* eval_duration / (eval_count - 1); NaN */
    int64_t size_bytes, vram_bytes; /* /api/ps at the time; -1 unknown */
    struct o3_surroundings around;
    /* Bits (1u << enum o3_signal) whose level at this time a person accepted as the normal one: `o3 ack`. */
    uint32_t acknowledged;
    char detail[120]; /* error text for people; "" */
};

/* What was asked, and how the transport ended. */
struct o3_probe_asked {
    enum o3_probe_kind kind;
    int64_t num_predict;
    int64_t sent_mono_ns, sent_wall_ms, end_mono_ns;
    int64_t n_prompt_min; /* prefill: tokens the prompt surely has; below it the prompt was truncated. 0 unknown */
    int http_status;      /* 0: no status line arrived */
    int transport; /* 0 complete; O3_E_TIMEOUT, O3_E_UNREACHABLE, O3_E_CANCELLED, O3_E_HTTP (broken in mid-stream) */
};
/* Forms the sample's measured fields, outcome and the flags INCOMPLETE and IMPLAUSIBLE from a finished stream
 * (generate) whose body text on error is `error_text` (may be NULL). Leaves identity fields (model, digest, num_ctx,
 * num_batch, size_bytes, vram_bytes) and the other flags as the caller has set them. */
void o3_sample_from_stream(const struct o3_probe_asked *a, const struct o3_stream_result *r, const char *error_text,
                           struct o3_sample *ret);
/* The same for an embed reply; `r` is NULL when there was none that could be read. */
void o3_sample_from_embed(const struct o3_probe_asked *a, const struct o3_ollama_embed *r, const char *error_text,
                          struct o3_sample *ret);
/* One JSON line (no newline) of the versioned log format: timestamp, run_id, model, config, success, ttft_ms,
 * tokens_per_sec, ram/vram ..., everything of the struct. Decoding gives the same struct back (doubles exactly). */
int o3_sample_encode_json(const struct o3_sample *s, const char *run_id, struct o3_buf *out);
O3_MUST_CHECK int o3_sample_decode_json(const char *line, size_t n, struct o3_sample *ret, struct o3_err *e);

#endif
