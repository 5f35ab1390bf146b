/* SPDX-License-Identifier: Apache-2.0 */
/* o3 simulate: scenarios rehearsed on a virtual clock, for one seed or many, and the report. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/scenario_file.h"
#include "cli/workers.h"
#include "io/file.h"
#include "io/loop.h"
#include "o3/rehearsal.h"
#include "o3/text.h"

static const char HELP[] =
    "usage: o3 simulate [OPTION ...]\n"
    "\n"
    "Plays days of a simulated Ollama server with the whole sidecar beside it in seconds, and reports what the "
    "sidecar\n"
    "told against the truth, and what it cost the users. The same seed gives the same report on every machine.\n"
    "\n"
    "  --scenario FILE     what happens and what is expected (a month of three models in which nothing goes wrong)\n"
    "  --days N            how long, instead of what the scenario says\n"
    "  --for DURATION      the same, for example 36h\n"
    "  --seed N            of the world and of the sidecar (1, or what the scenario says)\n"
    "  --runs N            as many runs, of the seeds N, N+1, ... (1)\n"
    "  --jobs N            processes at a time (the processors available); the report does not depend on it\n"
    "  --no-twin           no second world without a sidecar: half the time, but no added wait\n"
    "  --json              the report as JSON\n"
    "  --html FILE         also as a page with plots, all in one file\n"
    "  --print-scenario    print the scenario and stop\n"
    "  --verbose           each event of the sidecar as it happens, on stderr (one run)\n"
    "  --help              this text\n"
    "\n"
    "Exit status: 0 good, 1 a run broke an expectation, tore a file or made Ollama load a model, 2 wrong usage or\n"
    "scenario, 75 stopped, or no memory, process or disk for it.\n";

#define SLICES 100 /* of a run, for its progress; in whole minutes, at which the truth is looked at anyway */
#define MINUTE_NS (60 * O3_NS_PER_S)
#define DAYS_MAX 3650.0
#define REPORT_MAX ((size_t)64 << 20)

enum opt {
    OPT_SCENARIO = 256,
    OPT_DAYS,
    OPT_FOR,
    OPT_SEED,
    OPT_RUNS,
    OPT_JOBS,
    OPT_NO_TWIN,
    OPT_JSON,
    OPT_HTML,
    OPT_PRINT_SCENARIO,
    OPT_VERBOSE,
    OPT_HELP
};
static const struct option OPTIONS[] = {
    {"scenario", required_argument, NULL, OPT_SCENARIO},
    {"days", required_argument, NULL, OPT_DAYS},
    {"for", required_argument, NULL, OPT_FOR},
    {"seed", required_argument, NULL, OPT_SEED},
    {"runs", required_argument, NULL, OPT_RUNS},
    {"jobs", required_argument, NULL, OPT_JOBS},
    {"no-twin", no_argument, NULL, OPT_NO_TWIN},
    {"json", no_argument, NULL, OPT_JSON},
    {"html", required_argument, NULL, OPT_HTML},
    {"print-scenario", no_argument, NULL, OPT_PRINT_SCENARIO},
    {"verbose", no_argument, NULL, OPT_VERBOSE},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

struct simulate {
    const char *path, *html; /* NULL: none */
    int64_t duration_ns;     /* 0: as the scenario says */
    int64_t seed, n_runs, n_jobs;
    bool has_seed, has_no_twin, is_json, is_verbose, is_print;
    struct o3_scenario *scenario;
    struct o3_runs *runs;
    struct o3_progress progress;
};

/* ---- arguments ---- */

static bool take_days(const char *text, int64_t *ret_ns) {
    double days;
    if (!o3_double_parse(text, &days) || !(days > 0) || days > DAYS_MAX) return false;
    *ret_ns = (int64_t)(days * 86400e9);
    return *ret_ns > 0;
}

static bool take_duration(const char *text, int64_t *ret_ns) {
    int64_t ms;
    if (!o3_duration_parse(text, &ms) || ms <= 0 || (double)ms > DAYS_MAX * 86400e3) return false;
    *ret_ns = ms * O3_NS_PER_MS;
    return true;
}

static bool take_number(const char *text, int64_t low, int64_t high, int64_t *ret) {
    return o3_int_parse(text, ret) && *ret >= low && *ret <= high;
}

static bool take_option(struct simulate *s, enum opt opt, const char *value) {
    switch (opt) {
    case OPT_SCENARIO:
        s->path = value;
        return true;
    case OPT_DAYS:
        return take_days(value, &s->duration_ns);
    case OPT_FOR:
        return take_duration(value, &s->duration_ns);
    case OPT_SEED:
        s->has_seed = true;
        return take_number(value, 0, INT64_MAX - O3_RUNS_MAX, &s->seed);
    case OPT_RUNS:
        return take_number(value, 1, O3_RUNS_MAX, &s->n_runs);
    case OPT_JOBS:
        return take_number(value, 1, O3_WORKERS_MAX, &s->n_jobs);
    case OPT_NO_TWIN:
        return s->has_no_twin = true;
    case OPT_JSON:
        return s->is_json = true;
    case OPT_HTML:
        s->html = value;
        return *value != '\0';
    case OPT_PRINT_SCENARIO:
        return s->is_print = true;
    case OPT_VERBOSE:
        return s->is_verbose = true;
    case OPT_HELP:
        break;
    }
    return false;
}

static const char *what_of(enum opt opt) {
    switch (opt) {
    case OPT_DAYS:
        return "a number of days above 0, at most 3650";
    case OPT_FOR:
        return "a duration above 0 like \"36h\", at most ten years";
    case OPT_SEED:
        return "a number from 0";
    case OPT_RUNS:
        return "a number from 1 to 10000";
    case OPT_JOBS:
        return "a number from 1 to 256";
    case OPT_HTML:
    case OPT_SCENARIO:
    case OPT_NO_TWIN:
    case OPT_JSON:
    case OPT_PRINT_SCENARIO:
    case OPT_VERBOSE:
    case OPT_HELP:
        break;
    }
    return "the name of a file";
}

static int usage(const char *text) {
    fprintf(stderr, "o3 simulate: %s; see \"o3 simulate --help\"\n", text);
    return 2;
}

/* 0: go on; 1: the help was printed; 2: wrong. */
static int take_arguments(struct simulate *s, int argc, char **argv) {
    optind = 1;
    for (int which, index = 0; (which = getopt_long(argc, argv, "", OPTIONS, &index)) != -1;) {
        if (which == OPT_HELP) {
            fputs(HELP, stdout);
            return 1;
        }
        if (which == '?') {
            fputs("o3 simulate --help lists the options\n", stderr);
            return 2;
        }
        bool has_duration = s->duration_ns > 0;
        if (has_duration && (which == OPT_DAYS || which == OPT_FOR)) return usage("one of --days and --for, and once");
        if (!take_option(s, (enum opt)which, optarg)) {
            fprintf(stderr, "o3 simulate: --%s: expected %s, found \"%s\"\n", OPTIONS[index].name,
                    what_of((enum opt)which), optarg);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "o3 simulate: unexpected argument \"%s\"; see \"o3 simulate --help\"\n", argv[optind]);
        return 2;
    }
    if (s->is_verbose && s->n_runs > 1) return usage("--verbose is for one run");
    return 0;
}

/* ---- the scenario ---- */

static const char *scenario_name(const struct simulate *s) {
    const char *slash = s->path ? strrchr(s->path, '/') : NULL;
    return !s->path ? "a quiet month" : slash ? slash + 1 : s->path;
}

static int read_scenario(struct simulate *s) {
    struct o3_err e = {0};
    if (s->path)
        s->scenario = o3_scenario_file_read(s->path);
    else if (o3_scenario_parse("month", o3_scenario_month(), strlen(o3_scenario_month()), &s->scenario, &e) < 0)
        o3_scenario_file_error("month", &e);
    if (!s->scenario) return 2;
    /* A flag stands above the scenario, whose seed counts for the first of the runs. */
    if (!s->has_seed && s->scenario->has_seed) s->seed = (int64_t)(s->scenario->world.seed & INT64_MAX);
    s->scenario->has_seed = false;
    if (s->duration_ns) s->scenario->duration_ns = s->duration_ns;
    return 0;
}

static int print_scenario(const struct simulate *s) {
    struct o3_err e = {0};
    O3_AUTO_BUF text;
    o3_buf_init(&text, O3_SCENARIO_FILE_MAX);
    if (s->path && o3_file_read(s->path, O3_SCENARIO_FILE_MAX, &text, &e) < 0) {
        o3_scenario_file_error(s->path, &e);
        return 2;
    }
    fputs(s->path ? o3_buf_str(&text) : o3_scenario_month(), stdout);
    return 0;
}

/* What only shows when the world is made, told before any process is started. */
static int report_error(const struct simulate *s, const struct o3_err *e) {
    if (e->code == O3_E_NOMEM) {
        fprintf(stderr, "o3 simulate: %s\n", e->text);
        return 75;
    }
    o3_scenario_file_error(s->path ? s->path : "month", e);
    return 2;
}

/* ---- one run ---- */

static void print_event(void *ctx, struct o3_now now, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    (void)ctx;
    O3_AUTO_BUF line;
    o3_buf_init(&line, 64 * 1024);
    int64_t ms = now.mono_ns / O3_NS_PER_MS;
    (void)o3_event_encode_logfmt(now.wall_ms, ev, f, n, &line);
    fprintf(stderr, "%3lldd %02d:%02d:%02d.%03d  %s\n", (long long)(ms / 86400000), (int)(ms / 3600000 % 24),
            (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000), o3_buf_str(&line));
}

static int new_rehearsal(const struct simulate *s, uint64_t seed, struct o3_rehearsal **ret, struct o3_err *e) {
    struct o3_rehearsal_params p = {.scenario = s->scenario, .seed = seed, .has_twin = !s->has_no_twin};
    if (s->is_verbose) p.on_event = print_event;
    return o3_rehearsal_new(&p, ret, e);
}

/* tell may be NULL. */
static int run_one(struct simulate *s, uint64_t seed, struct o3_progress *tell, struct o3_run *ret) {
    struct o3_rehearsal *r = NULL;
    struct o3_err e = {0};
    int64_t began_ns = o3_now_read().mono_ns, duration_ns = s->scenario->duration_ns;
    if (new_rehearsal(s, seed, &r, &e) < 0) return report_error(s, &e);
    int64_t slice_ns = duration_ns / SLICES / MINUTE_NS * MINUTE_NS;
    for (int64_t t = slice_ns; slice_ns > 0 && t < duration_ns; t += slice_ns) {
        o3_rehearsal_run(r, t);
        if (tell) o3_progress_tell(tell, t / MINUTE_NS);
    }
    o3_rehearsal_run(r, duration_ns);
    if (tell) o3_progress_tell(tell, tell->n);
    *ret = *o3_rehearsal_finish(r);
    ret->wall_seconds = (double)(o3_now_read().mono_ns - began_ns) / 1e9;
    o3_rehearsal_free(r);
    return 0;
}

static int add_run(struct simulate *s, const struct o3_run *run) {
    if (o3_runs_add(s->runs, run) == 0) return 0;
    fputs("o3 simulate: no memory for the report\n", stderr);
    return 75;
}

/* Nothing is open and nothing half written: the process may end on the spot. */
static void end_by_signal(int signo) {
    static const char TEXT[] = "\no3 simulate: stopped\n";
    (void)signo;
    ssize_t n = write(STDERR_FILENO, TEXT, sizeof TEXT - 1);
    (void)n;
    _exit(75);
}

/* What the caller ignores stays ignored. */
static void catch_signals(struct sigaction old[2]) {
    static const int SIGNALS[2] = {SIGINT, SIGTERM};
    for (int i = 0; i < 2; i++) {
        struct sigaction a = {.sa_handler = end_by_signal};
        sigemptyset(&a.sa_mask);
        sigaction(SIGNALS[i], NULL, &old[i]);
        if (old[i].sa_handler != SIG_IGN) sigaction(SIGNALS[i], &a, NULL);
    }
}

static void release_signals(const struct sigaction old[2]) {
    sigaction(SIGINT, &old[0], NULL);
    sigaction(SIGTERM, &old[1], NULL);
}

static int run_single(struct simulate *s) {
    struct sigaction old[2];
    struct o3_run *run = calloc(1, sizeof *run);
    if (!run) {
        fputs("o3 simulate: no memory for the run\n", stderr);
        return 75;
    }
    o3_progress_begin(&s->progress, "o3 simulate", "%", s->scenario->duration_ns / MINUTE_NS);
    s->progress.is_silent = s->is_verbose;
    catch_signals(old);
    int status = run_one(s, (uint64_t)s->seed, &s->progress, run);
    release_signals(old);
    o3_progress_end(&s->progress);
    if (status == 0) status = add_run(s, run);
    free(run);
    return status;
}

/* ---- many ---- */

static int work(void *ctx, size_t i, void *result) {
    struct simulate *s = ctx;
    return run_one(s, (uint64_t)s->seed + i, NULL, result);
}

static int take(void *ctx, size_t i, const void *result) {
    struct simulate *s = ctx;
    o3_progress_tell(&s->progress, (int64_t)i + 1);
    return add_run(s, result);
}

static int available_processors(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n > O3_WORKERS_MAX ? O3_WORKERS_MAX : n;
}

static int run_many(struct simulate *s) {
    struct o3_workers_params p = {.n = (size_t)s->n_runs,
                                  .jobs = s->n_jobs ? (int)s->n_jobs : available_processors(),
                                  .result_size = sizeof(struct o3_run),
                                  .work = work,
                                  .take = take,
                                  .ctx = s};
    o3_progress_begin(&s->progress, "o3 simulate", "runs", s->n_runs);
    struct o3_workers_result r = o3_workers_run(&p);
    o3_progress_end(&s->progress);
    switch (r.end) {
    case O3_WORKERS_DONE:
        return 0;
    case O3_WORKERS_STOPPED:
        fprintf(stderr, "o3 simulate: stopped after %zu of %lld runs\n", o3_runs_count(s->runs), (long long)s->n_runs);
        return 75;
    case O3_WORKERS_DIED:
        fprintf(stderr, "o3 simulate: the process of seed %llu %s\n", (unsigned long long)s->seed + r.piece, r.text);
        return r.exit_status == 2 ? 2 : 75;
    case O3_WORKERS_REFUSED:
        return r.taken;
    case O3_WORKERS_FAILED:
        fprintf(stderr, "o3 simulate: %s\n", r.text);
        return 75;
    }
    return 75;
}

/* ---- the report ---- */

/* Told before the work rather than after it. */
static int check_html(const struct simulate *s) {
    if (!s->html) return 0;
    char folder[4096] = ".";
    const char *slash = strrchr(s->html, '/');
    if (slash && !o3_str_copy_n(folder, sizeof folder, s->html, slash == s->html ? 1 : (size_t)(slash - s->html)))
        return usage("--html: the path is too long");
    struct stat st;
    const char *why = NULL;
    if (access(folder, W_OK) < 0)
        why = strerror(errno);
    else if (!stat(s->html, &st) && !S_ISREG(st.st_mode))
        why = "it is not a plain file";
    if (!why) return 0;
    fprintf(stderr, "o3 simulate: cannot write %s: %s\n", s->html, why);
    return 75;
}

static int write_page(const struct simulate *s) {
    struct o3_err e = {0};
    O3_AUTO_BUF page;
    o3_buf_init(&page, REPORT_MAX);
    if (o3_runs_html(s->runs, false, &page) < 0) {
        fputs("o3 simulate: no memory for the page\n", stderr);
        return 75;
    }
    if (o3_file_replace(s->html, page.p, page.len, NULL, &e) == 0) return 0;
    fprintf(stderr, "o3 simulate: %s\n", e.text);
    return 75;
}

static int print_report(const struct simulate *s) {
    O3_AUTO_BUF out;
    o3_buf_init(&out, REPORT_MAX);
    int r = s->is_json ? o3_runs_json(s->runs, false, &out) : o3_runs_text(s->runs, false, &out);
    if (r < 0) {
        fputs("o3 simulate: no memory for the report\n", stderr);
        return 75;
    }
    fwrite(out.p, 1, out.len, stdout);
    return s->html ? write_page(s) : 0;
}

static int rehearse(struct simulate *s) {
    int64_t began_ns = o3_now_read().mono_ns;
    s->runs = o3_runs_new(scenario_name(s));
    if (!s->runs) {
        fputs("o3 simulate: no memory for the report\n", stderr);
        return 75;
    }
    int status = s->n_runs == 1 ? run_single(s) : run_many(s);
    if (status) return status;
    char simulated[48];
    o3_duration_format(s->scenario->duration_ns / O3_NS_PER_MS * s->n_runs, simulated, sizeof simulated);
    fprintf(stderr, "o3 simulate: %s in %.3g s\n", simulated, (double)(o3_now_read().mono_ns - began_ns) / 1e9);
    status = print_report(s);
    return status ? status : o3_runs_count_bad(s->runs) ? 1 : 0;
}

/* Errors that show only when the world is made; before processes are started, so that they are told once. */
static int check_scenario(const struct simulate *s) {
    struct simulate silent = *s;
    struct o3_rehearsal *r = NULL;
    struct o3_err e = {0};
    silent.is_verbose = false;
    if (new_rehearsal(&silent, (uint64_t)s->seed, &r, &e) < 0) return report_error(s, &e);
    o3_rehearsal_free(r);
    return 0;
}

int o3_cmd_simulate(int argc, char **argv) {
    struct simulate s = {.seed = 1, .n_runs = 1};
    int status = take_arguments(&s, argc, argv);
    if (status == 1) return 0;
    if (status == 0) status = read_scenario(&s);
    if (status == 0) status = check_scenario(&s);
    if (status == 0 && s.is_print) {
        status = print_scenario(&s);
    } else if (status == 0) {
        status = check_html(&s);
        if (status == 0) status = rehearse(&s);
    }
    o3_runs_free(s.runs);
    o3_scenario_free(s.scenario);
    return status;
}
