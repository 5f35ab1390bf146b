/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIDECAR_H
#define O3_SIDECAR_H
/* The whole sidecar above sockets, as one state machine: which model to probe when, what the answers mean, what has
 * changed, which presets follow. It owns all state, does no I/O and reads no clock: the shell (app/daemon on real
 * sockets, tests/sim on a virtual clock) calls it with the time and with bytes, and it asks for things through `ops`.
 * One thread.
 *
 *     o3_sidecar_new(&params, now, &s, &e);
 *     loop: wait until o3_sidecar_deadline_ns(s) or bytes; o3_sidecar_data / _end; o3_sidecar_turn(s, now);
 *     o3_sidecar_stop(s, now); o3_sidecar_free(s);
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/config.h"
#include "o3/drift.h"
#include "o3/events.h"
#include "o3/host.h"
#include "o3/judge.h"
#include "o3/metrics.h"
#include "o3/preset.h"
#include "o3/sample.h"
#include "o3/text.h"

/* One exchange with Ollama. The texts are borrowed for the call of call_start. */
struct o3_sidecar_call {
    const char *method, *path; /* path below ollama.url */
    const char *body;
    size_t body_len;
    int64_t connect_timeout_ms, first_byte_timeout_ms, total_timeout_ms;
    size_t max_bytes;
};

struct o3_sidecar_sockets {
    bool is_readable; /* false: another network namespace, or a remote server */
    int n_established, n_with_bytes;
    uint16_t
        loopback_ports[O3_LOOPBACK_PORTS_MAX]; /* that others than Ollama's API listen on: its runners among them */
    int n_loopback_ports;
};

struct o3_sidecar_presets {
    uint64_t ticket;
    const char *model, *reason;
    const char *doc; /* YAML of this model */
    size_t doc_len;
    const char *summary; /* JSON: what was measured; NULL: leave the old one */
    size_t summary_len;
};

/* All presets that are decided, for what is published beside the results folder. */
struct o3_sidecar_offer {
    const struct o3_preset_doc *const *docs;
    size_t n;
    int primary;              /* index of the primary model's; -1: it is not known yet, or there is none: */
    bool has_primary_setting; /* the configuration names one */
    const char *reason;
};

/* What the sidecar asks of its surroundings. None may call back into the sidecar. */
struct o3_sidecar_ops {
    void *ctx;
    /* Starts an exchange and returns its id (> 0), or 0 when that is impossible now. Its bytes and end come back
     * through o3_sidecar_data and o3_sidecar_end. ret_sent_mono_ns: a fresh reading, taken as the request is handed
     * over. */
    uint64_t (*call_start)(void *ctx, const struct o3_sidecar_call *c, int64_t *ret_sent_mono_ns);
    void (*call_cancel)(void *ctx, uint64_t id); /* nothing more comes for this id */
    void (*sense_sockets)(void *ctx, struct o3_sidecar_sockets *ret);
    /* The runners that live now. Thorough: search all processes; else it is enough to look whether those found by the
     * last thorough search still live, as long as all of them do. */
    size_t (*sense_runners)(void *ctx, bool is_thorough, struct o3_runner_cmdline *out, size_t max);
    /* What slows the host down, now; asked for each sample, and as a probe begins. NULL: nothing is known. */
    void (*sense_host)(void *ctx, struct o3_host_state *ret);
    void (*event)(void *ctx, enum o3_event_id ev, const struct o3_field *f, size_t n);
    void (*sample)(void *ctx, const struct o3_sample *s);
    /* Presets of one model changed: write defaults/<model>.yaml. The answer comes as o3_sidecar_preset_written with the
     * same ticket. False: it cannot even begin now. */
    bool (*write_presets)(void *ctx, const struct o3_sidecar_presets *w);
    /* Whenever one of them changes, and once all that is known at the start. Borrowed for the call. NULL: not wanted.
     */
    void (*offer)(void *ctx, const struct o3_sidecar_offer *o);
    /* Keeps a small named state: whole old or whole new. n = 0 deletes. */
    void (*save_state)(void *ctx, const char *key, const char *value, size_t n);
};

struct o3_sidecar_params {
    const struct o3_config_values *config; /* borrowed until the next o3_sidecar_configure */
    struct o3_metrics *metrics;            /* borrowed */
    struct o3_sidecar_ops ops;
    uint64_t seed;
};

struct o3_sidecar;
O3_MUST_CHECK int o3_sidecar_new(const struct o3_sidecar_params *p, struct o3_now now, struct o3_sidecar **ret,
                                 struct o3_err *e);
void o3_sidecar_free(struct o3_sidecar *s);
/* A state saved earlier by save_state; call before the first turn. Unknown or broken values are ignored. */
void o3_sidecar_restore(struct o3_sidecar *s, const char *key, const char *value, size_t n, struct o3_now now);
/* What was measured since the states were saved, or where they do not fit, is judged again: after the states, before
 * the first turn. As in o3/judge.h; false: nothing is wanted of this model. */
bool o3_sidecar_recall(struct o3_sidecar *s, const char *model, struct o3_judge_recall *ret);
void o3_sidecar_told_before(struct o3_sidecar *s, const struct o3_judge_told *t);
void o3_sidecar_relive(struct o3_sidecar *s, const struct o3_sample *sample, struct o3_now now);
void o3_sidecar_recalled(struct o3_sidecar *s, struct o3_now now);
/* The preset files of earlier runs are not where they should be: write what is known again. */
void o3_sidecar_publish_again(struct o3_sidecar *s, const char *reason, struct o3_now now);
void o3_sidecar_configure(struct o3_sidecar *s, const struct o3_config_values *config, struct o3_now now);

int64_t o3_sidecar_deadline_ns(const struct o3_sidecar *s);
void o3_sidecar_turn(struct o3_sidecar *s, struct o3_now now);
void o3_sidecar_data(struct o3_sidecar *s, uint64_t id, int status, const char *bytes, size_t n, int64_t mono_ns);
/* transport: 0 complete, else O3_E_TIMEOUT, O3_E_UNREACHABLE, O3_E_HTTP, O3_E_LIMIT. */
void o3_sidecar_end(struct o3_sidecar *s, uint64_t id, int status, int transport, const char *text, struct o3_now now);
void o3_sidecar_preset_written(struct o3_sidecar *s, uint64_t ticket, const char *error,
                               struct o3_now now); /* error NULL: it is there */
/* The shell's loop was late by this much: a probe in flight is tainted. */
void o3_sidecar_lag(struct o3_sidecar *s, int64_t lag_ns);
/* Cancels what is in flight (recorded as `cancelled`) and saves state. Nothing more starts. */
void o3_sidecar_stop(struct o3_sidecar *s, struct o3_now now);
bool o3_sidecar_is_probing(const struct o3_sidecar *s); /* a probe streams: heavy work may wait */

/* Call before the metrics are read: what the judge and the list of loaded models say is written into them then, not
 * with every sample and every look. */
void o3_sidecar_show_metrics(struct o3_sidecar *s);

/* A person calls the present level of a signal (NULL: of all that are suspected or confirmed to have changed) the
 * normal one. It is part of the model's next sample, which is taken at once when the model is loaded. out: JSON, what
 * was accepted, and the levels. O3_E_NOT_FOUND: no such model; O3_E_NO_CHANGE: nothing has changed; O3_E_USAGE: no such
 * signal. */
O3_MUST_CHECK int o3_sidecar_acknowledge(struct o3_sidecar *s, const char *model, const char *signal, struct o3_now now,
                                         struct o3_buf *out, struct o3_err *e);

/* For the HTTP API: JSON documents of the state in memory. */
int o3_sidecar_status_json(const struct o3_sidecar *s, struct o3_now now, struct o3_buf *out);
int o3_sidecar_models_json(const struct o3_sidecar *s, struct o3_now now, struct o3_buf *out);
int o3_sidecar_incidents_json(const struct o3_sidecar *s, struct o3_buf *out); /* newest first */
int o3_sidecar_presets_json(const struct o3_sidecar *s, struct o3_buf *out);
/* O3_E_NOT_FOUND when the model has no such preset. */
int o3_sidecar_preset_json(const struct o3_sidecar *s, const char *model, enum o3_preset_name name, struct o3_buf *out);

#endif
