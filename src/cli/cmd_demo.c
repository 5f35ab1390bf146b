/* SPDX-License-Identifier: Apache-2.0 */
/* o3 demo: the simulator as a child process and the sidecar beside it, with the shipped detector; the story on the
 * screen. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "app/daemon.h"
#include "cli/commands.h"
#include "io/file.h"
#include "io/loop.h"
#include "o3/cause.h"
#include "o3/text.h"

static const char HELP[] =
    "usage: o3 demo [--seed N] [--KEY VALUE ...]\n"
    "Starts the built-in simulator and the sidecar on loopback, so that you see the main job without an Ollama "
    "server:\n"
    "the sidecar probes every second (the probe budget is lifted), the simulated server slows down after 35 s, the "
    "shipped\n"
    "detector confirms it within about 75 s, and the preset file is rewritten. Ctrl-C ends it.\n\n"
    "  --seed N        of the simulated noise (1)\n"
    "  --KEY VALUE     any key of the configuration, as for \"o3 serve\"\n";

#define SLOWS_AT "35s"
#define URL_MARK "http://127.0.0.1:"

struct demo {
    struct o3_now started;
    pid_t simulator;
    char url[80], dir[512], results[600], preset_file[600];
    bool is_confirmed, is_told;
    struct o3_config_args args;
};

/* ---- the simulator ---- */

static void run_simulator(int out, const char *seed) {
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (dup2(out, STDOUT_FILENO) < 0) _exit(71);
    char *const argv[] = {(char[]){"o3"},
                          (char[]){"sim"},
                          (char[]){"--listen"},
                          (char[]){"127.0.0.1:0"},
                          (char[]){"--gpu"},
                          (char[]){"24GiB"},
                          (char[]){"--preload"},
                          (char[]){"sim-small:8192"},
                          (char[]){"--event"},
                          (char[]){"at " SLOWS_AT " decode -40 %"},
                          (char[]){"--seed"},
                          strdup(seed),
                          NULL};
    execv("/proc/self/exe", argv);
    _exit(71);
}

/* Reads what the simulator says until its URL is whole. */
static bool read_url(int fd, char *out, size_t size) {
    char text[1024];
    size_t n = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (n < sizeof text - 1 && poll(&p, 1, 5000) > 0) {
        ssize_t got = read(fd, text + n, sizeof text - 1 - n);
        if (got <= 0) return false;
        n += (size_t)got;
        text[n] = '\0';
        char *url = strstr(text, URL_MARK);
        size_t len = url ? strspn(url + strlen(URL_MARK), "0123456789") + strlen(URL_MARK) : 0;
        if (url && url[len]) return o3_str_copy_n(out, size, url, len);
    }
    return false;
}

static int start_simulator(struct demo *d, const char *seed) {
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) return -1;
    d->simulator = fork();
    if (d->simulator == 0) run_simulator(pipe_fds[1], seed);
    close(pipe_fds[1]);
    bool is_up = d->simulator > 0 && read_url(pipe_fds[0], d->url, sizeof d->url);
    /* The read end stays open: the simulator may still print, and a closed pipe would end it. */
    return is_up ? 0 : -1;
}

static void stop_simulator(struct demo *d) {
    if (d->simulator <= 0) return;
    kill(d->simulator, SIGTERM);
    while (waitpid(d->simulator, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* ---- the screen ---- */

static const struct o3_field *field(const struct o3_field *f, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(f[i].name, name)) return &f[i];
    return NULL;
}

static const char *text_field(const struct o3_field *f, size_t n, const char *name) {
    const struct o3_field *x = field(f, n, name);
    return x && x->type == O3_FIELD_STR ? x->s : "";
}

static double number_field(const struct o3_field *f, size_t n, const char *name) {
    const struct o3_field *x = field(f, n, name);
    return !x ? 0 : x->type == O3_FIELD_DBL ? x->d : (double)x->i;
}

static void print_time(const struct demo *d) {
    printf("%6.1f s  ", (double)(o3_now_read().mono_ns - d->started.mono_ns) / 1e9);
}

static void print_file(const char *path) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 64 * 1024);
    struct o3_err e;
    if (o3_file_read(path, 64 * 1024, &text, &e) == 0) printf("\n----- %s\n%s-----\n\n", path, o3_buf_str(&text));
}

static void tell_result(struct demo *d) {
    if (d->is_told) return;
    d->is_told = true;
    print_file(d->preset_file);
    printf("The verdict is in the metrics, too: o3_drift_detected, o3_drift_change_ratio. Ctrl-C ends the demo.\n");
}

static void print_incident(const struct o3_field *f, size_t n) {
    const char *cause = text_field(f, n, "cause"), *evidence = text_field(f, n, "evidence");
    printf("incident %.0f of %s: ", number_field(f, n, "id"), text_field(f, n, "signals"));
    if (!strcmp(cause, o3_cause_name(O3_CAUSE_UNKNOWN)))
        printf("cause unknown, %s\n", evidence);
    else
        printf("probably %s (%.0f %%), %s\n", cause, 100 * number_field(f, n, "cause_weight"), evidence);
}

static void on_event(void *ctx, int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    struct demo *d = ctx;
    (void)wall_ms;
    const char *model = text_field(f, n, "model");
    if (ev == O3_EV_STARTED) {
        printf("metrics        http://%s/metrics\nstatus page    http://%s/\nsimulator      %s\nresults        "
               "%s\npreset file    %s\n",
               text_field(f, n, "listen"), text_field(f, n, "listen"), d->url, d->results, d->preset_file);
        printf("Probing every second: the probe budget is lifted for the demo. The simulated server slows down "
               "at " SLOWS_AT ".\n\n");
    } else if (ev == O3_EV_OLLAMA_UP) {
        print_time(d);
        printf("Ollama %s answers\n", text_field(f, n, "version"));
    } else if (ev == O3_EV_MODEL_LOADED) {
        print_time(d);
        printf("%s is loaded, context %.0f\n", model, number_field(f, n, "context"));
    } else if (ev == O3_EV_BASELINE_SET) {
        print_time(d);
        printf("%s\n", text_field(f, n, "text"));
    } else if (ev == O3_EV_DRIFT_SUSPECT) {
        print_time(d);
        printf("%s; waiting for confirmation\n", text_field(f, n, "text"));
    } else if (ev == O3_EV_DRIFT_CONFIRMED) {
        d->is_confirmed = true;
        print_time(d);
        printf("VERDICT: %s\n", text_field(f, n, "text"));
    } else if (ev == O3_EV_INCIDENT_OPENED || ev == O3_EV_INCIDENT_CHANGED) {
        print_time(d);
        print_incident(f, n);
    } else if (ev == O3_EV_PRESETS_PUBLISHED && !strcmp(text_field(f, n, "target"), "file")) {
        print_time(d);
        printf("preset file written: %s\n", text_field(f, n, "reason"));
        if (d->is_confirmed) tell_result(d);
    }
    fflush(stdout);
}

/* ---- start ---- */

static void set(struct demo *d, const char *key, const char *value) {
    for (size_t i = 0; i < d->args.n_flags; i++)
        if (!strcmp(d->args.flags[i].name, key)) return; /* given by the user */
    if (d->args.n_flags < O3_CONFIG_FLAGS_MAX) d->args.flags[d->args.n_flags++] = (struct o3_conf_pair){key, value};
}

static void set_config(struct demo *d) {
    set(d, "ollama.url", d->url);
    set(d, "results.path", d->results);
    set(d, "publish.file", d->preset_file);
    set(d, "publish.writes_per_hour", "60");
    set(d, "probe.interval", "1s");
    set(d, "probe.decode_tokens", "8");
    set(d, "probe.idle_for", "0s");
    set(d, "probe.keep_conversation", "0s");
    set(d, "probe.max_busy_ratio", "1");
    set(d, "probe.max_tokens_per_day", "0");
    set(d, "probe.linger", "30d");
    set(d, "drift.baseline_samples", "20"); /* a busy machine has not the time for 30 before the server slows down */
}

static int make_dirs(struct demo *d) {
    const char *tmp = getenv("TMPDIR");
    snprintf(d->dir, sizeof d->dir, "%s/o3-demo-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(d->dir)) return -1;
    snprintf(d->results, sizeof d->results, "%s/o3_results", d->dir);
    snprintf(d->preset_file, sizeof d->preset_file, "%s/presets.yaml", d->dir);
    return 0;
}

static int run(struct demo *d, const char *seed) {
    struct o3_err e = {0};
    d->started = o3_now_read();
    if (make_dirs(d) < 0) {
        fprintf(stderr, "o3 demo: cannot make a folder for the results: %s\n", strerror(errno));
        return 75;
    }
    if (start_simulator(d, seed) < 0) {
        fputs("o3 demo: the simulator did not start\n", stderr);
        stop_simulator(d);
        return 75;
    }
    set_config(d);
    struct o3_daemon_params p = {.args = &d->args, .on_event = on_event, .ctx = d, .is_log_silent = true};
    int r = o3_daemon_run(&p, &e);
    stop_simulator(d);
    if (r == 0) {
        printf("\nresults kept in %s\n", d->dir);
        return 0;
    }
    fprintf(stderr, "o3 demo: %s\n", e.text);
    return o3_error_row(r)->exit_status;
}

int o3_cmd_demo(int argc, char **argv) {
    struct demo d = {0};
    struct o3_err e;
    const char *seed = "1";
    if (o3_config_args_parse(&argc, argv, &d.args, &e) < 0) {
        fprintf(stderr, "o3 demo: %s\n", e.text);
        return 2;
    }
    if (argc == 2 && !strcmp(argv[1], "--help")) {
        fputs(HELP, stdout);
        return 0;
    }
    int64_t number;
    if (argc == 3 && !strcmp(argv[1], "--seed") && o3_int_parse(argv[2], &number))
        seed = argv[2];
    else if (argc > 1) {
        bool is_seed = !strcmp(argv[1], "--seed");
        if (is_seed)
            fprintf(stderr, "o3 demo: --seed needs a number; see \"o3 demo --help\"\n");
        else
            fprintf(stderr, "o3 demo: unknown argument \"%s\"; see \"o3 demo --help\"\n", argv[1]);
        return 2;
    }
    return run(&d, seed);
}
