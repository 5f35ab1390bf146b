/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_DAEMON_INTERNAL_H
#define O3_APP_DAEMON_INTERNAL_H
/* What the files of the daemon share. All of it lives on the loop thread, except the inside of a running job. */
#include "app/auth.h"
#include "app/backlog.h"
#include "app/daemon.h"
#include "app/web_source.h"
#include "io/host_proc.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/log_sink.h"
#include "io/loop.h"
#include "io/store.h"
#include "o3/sidecar.h"

#define O3_DAEMON_CALLS_MAX 4
#define O3_DAEMON_RUNNERS_MAX 32
#define O3_DAEMON_SAMPLES_MAX 32
#define O3_DAEMON_STEMS_MAX 512
#define O3_DAEMON_RELOADERS_MAX 16

struct ollama_call {
    struct o3_daemon *daemon;
    uint64_t id; /* 0: free */
    struct o3_xfer *xfer;
};

struct stem {
    char model[O3_MODEL_NAME_SIZE];
    char stem[160];
    int64_t n_configs_told; /* the configuration that its log tells of last */
};

/* What waits to be written into the store. */
struct state_list {
    struct o3_store_state *v; /* one of a key: the newest */
    size_t n, cap, bytes;
};

struct o3_daemon {
    struct o3_daemon_params params;
    struct o3_config *config;
    const struct o3_config_values *values;
    char config_sha256[65];
    int64_t n_configs; /* that were in force so far */
    int64_t started_ns;

    struct o3_loop *loop;
    struct o3_http *http;
    struct o3_server *server;
    struct o3_log *log;
    struct o3_metrics *metrics;
    struct o3_sidecar *sidecar;
    bool is_stopping;

    /* Ollama */
    struct ollama_call calls[O3_DAEMON_CALLS_MAX];
    uint64_t next_call_id;
    uint16_t ollama_port;
    bool is_ollama_local;
    struct o3_runner_cmdline runners[O3_DAEMON_RUNNERS_MAX]; /* of the last search */
    size_t n_runners;
    unsigned listening_families; /* O3_HOST_TCP, O3_HOST_TCP6: where Ollama's listener was seen */
    int64_t all_sockets_at_ns;
    struct o3_host_state host; /* the last look */
    int64_t host_at_ns;        /* 0 none yet */
    struct o3_host_rest host_rest;

    /* results and store; the store belongs to the job thread while the loop runs */
    char results_path[1024], store_path[1100];
    char run_id[33];
    struct o3_store *store;
    struct stem *stems;
    int n_stems;
    bool is_preset_missing; /* a model's file of an earlier run is not there any more */
    struct o3_sample pending[O3_DAEMON_SAMPLES_MAX];
    size_t n_pending;
    struct state_list states;
    struct o3_event_list events;
    struct o3_backlog backlog; /* of the job thread, as the store */
    bool has_backlog, is_loss_told;
    int64_t flush_at_ns, flush_by_ns; /* by: then also while a probe streams */
    int64_t store_at_ns;              /* prune it, or try again to open it */

    /* what is published beside the results folder; fixed at the start, but for the path of publish.file */
    struct o3_publisher *publishers[3];
    int n_publishers;
    struct o3_mounted *mounted; /* NULL: none is configured */
    size_t n_restored;          /* states found in the store */
    bool has_awaited_state;     /* and starts late for it, which is no lag */
    int64_t state_until_ns;     /* the engine waits so long for the summary of another pod; 0: it does not */

    /* reload */
    struct o3_file_watch *watch;
    bool is_reloading, is_reload_again;
    struct o3_err rejected;                  /* why, while the last reload was a bad one; else its code is 0 */
    int64_t check_file_at_ns, changed_at_ns; /* changed: the first notification not yet looked into; 0 none */
    char web_path[O3_WEB_PATH_SIZE];         /* of the web configuration; "" none */
    struct o3_web *web;                      /* NULL: plain HTTP without passwords */
    struct o3_auth *auth;                    /* before the server runs */
    struct o3_file_watch *web_watch;
    struct o3_err web_rejected;
    struct o3_request *reloaders[O3_DAEMON_RELOADERS_MAX];
    int n_reloaders, n_served; /* the first n_served wait for the reload that runs, the others for the next one */
};

/* daemon.c */
void o3_daemon_event(struct o3_daemon *d, enum o3_event_id ev, const struct o3_field *f, size_t n);
#define O3_DAEMON_EVENT(d, ev, ...)                                                                                    \
    o3_daemon_event(d, ev, (const struct o3_field[]){__VA_ARGS__},                                                     \
                    sizeof((const struct o3_field[]){__VA_ARGS__}) / sizeof(struct o3_field))

/* daemon_ollama.c: the sidecar's ops that reach Ollama and its host */
void o3_daemon_fill_ollama_ops(struct o3_daemon *d, struct o3_sidecar_ops *ops);
void o3_daemon_set_ollama(struct o3_daemon *d);
/* A look at the host that is no older than that; borrowed until the next one. */
const struct o3_host_state *o3_daemon_host(struct o3_daemon *d, int64_t max_age_ns);

/* daemon_results.c: presets and summaries */
void o3_daemon_set_paths(struct o3_daemon *d);
bool o3_daemon_write_presets(void *daemon, const struct o3_sidecar_presets *w);
/* The one kept for this model; without memory for it, `spare` is filled. */
struct stem *o3_daemon_stem_of(struct o3_daemon *d, const char *model, struct stem *spare);
char *o3_daemon_copy_bytes(const char *p, size_t n); /* and a NUL; NULL: p is NULL, or no memory */
int o3_daemon_make_parent(const char *path, struct o3_err *e);

/* daemon_recall.c: what earlier processes knew */
void o3_daemon_restore(struct o3_daemon *d);

/* daemon_store.c: the database and the logs */
void o3_daemon_fill_results_ops(struct o3_daemon *d, struct o3_sidecar_ops *ops);
O3_MUST_CHECK int o3_daemon_open_store(struct o3_daemon *d, struct o3_err *e); /* fails only on O3_E_LOCKED */
void o3_daemon_complete_logs(struct o3_daemon *d); /* of a process that was killed between the two; before the loop */
void o3_daemon_store_broken(struct o3_daemon *d, const struct o3_err *e);
void o3_daemon_save_state(void *daemon, const char *key, const char *value, size_t n);
void o3_daemon_free_waiting(struct o3_daemon *d);
void o3_daemon_flush_turn(struct o3_daemon *d, int64_t now_ns);
void o3_daemon_flush(struct o3_daemon *d);
void o3_daemon_store_event(struct o3_daemon *d, int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f,
                           size_t n);
/* Replaces a file as a whole and makes its folder first. Blocking: inside jobs. */
O3_MUST_CHECK int o3_daemon_replace_file(const char *path, const char *bytes, size_t n, struct o3_err *e);

/* daemon_publish.c */
void o3_daemon_fill_publish_ops(struct o3_sidecar_ops *ops);
void o3_daemon_publish_start(struct o3_daemon *d, uint64_t seed);
int64_t o3_daemon_publish_deadline_ns(const struct o3_daemon *d);
void o3_daemon_publish_turn(struct o3_daemon *d, struct o3_now now);
void o3_daemon_publish_stop(struct o3_daemon *d); /* before the client and the loop end */
void o3_daemon_publish_free(struct o3_daemon *d); /* after the loop ended */

/* daemon_state.c: the summary of states that a ConfigMap keeps */
struct o3_state_summary {
    struct o3_daemon *daemon;
    void (*done)(struct o3_state_summary *s); /* on the loop; text.len 0: there is nothing to keep */
    void *ctx;
    struct o3_buf text;
    struct o3_store *store;
};
bool o3_daemon_summarize(struct o3_state_summary *s); /* daemon, done and ctx are set; false: done is not called */
/* Nothing is known here, and another pod may have left what it knew: the engine waits for it, as long as three
 * requests may take, half a minute at most. */
void o3_daemon_await_state(struct o3_daemon *d);
void o3_daemon_state_came(struct o3_daemon *d, const char *text);
bool o3_daemon_awaits_state(struct o3_daemon *d, int64_t now_ns);

/* host_metrics.c */
void o3_daemon_set_host_metrics(struct o3_daemon *d);

/* daemon_env.c */
void o3_daemon_write_env(struct o3_daemon *d, const char *ollama_version);

/* daemon_reload.c */
void o3_daemon_reload(struct o3_daemon *d, const char *trigger, bool only_if_changed);
void o3_daemon_watch_config(struct o3_daemon *d);
void o3_daemon_files_changed(struct o3_daemon *d); /* a notification of a file that is part of the configuration */
void o3_daemon_reload_turn(struct o3_daemon *d, int64_t now_ns);
void o3_daemon_set_config(struct o3_daemon *d, struct o3_config *take_config, const char sha256[65], int64_t wall_ms);
void o3_daemon_collect_warning(void *buf,
                               const char *text); /* an o3_conf_warn_fn: one line each into a struct o3_buf */
void o3_daemon_tell_warnings(struct o3_daemon *d, const struct o3_buf *lines);

/* daemon_web.c: the web configuration */
O3_MUST_CHECK int o3_daemon_load_web(struct o3_daemon *d, struct o3_err *e);
void o3_daemon_show_web(struct o3_daemon *d); /* once the server runs */
void o3_daemon_free_web(struct o3_daemon *d);
struct o3_web_reading { /* of a reload's job */
    struct o3_web *web;
    struct o3_err err;
    int result;
};
void o3_daemon_read_web(const struct o3_daemon *d, struct o3_web_reading *ret); /* in the job */
bool o3_daemon_is_web_news(const struct o3_daemon *d, const struct o3_web_reading *r);
/* Takes what was read. False: it is wrong, and `why` says so. */
bool o3_daemon_take_web(struct o3_daemon *d, struct o3_web_reading *r, const char *trigger, struct o3_buf *why);

/* api.c, page.c */
void o3_daemon_handle(void *daemon, struct o3_request *rq);
void o3_daemon_request_gone(void *daemon, struct o3_request *rq, void *tag);
void o3_daemon_reply_json_error(struct o3_daemon *d, struct o3_request *rq, int status, const char *text);
void o3_daemon_reply_json_error_with(struct o3_daemon *d, struct o3_request *rq, int status, const char *text,
                                     const struct o3_header *header);
void o3_daemon_reply_reload(struct o3_daemon *d, struct o3_request *rq, const char *error);
int o3_page_render(const struct o3_daemon *d, struct o3_now now, struct o3_buf *out);
void o3_page_add_time(struct o3_buf *out, const char *rfc3339); /* "" adds nothing */

/* publish_status.c: what is published where */
struct json_t *o3_daemon_publishing_json(const struct o3_daemon *d, struct o3_now now);
void o3_page_add_publishing(struct o3_buf *out, const struct json_t *publishing);

#endif
