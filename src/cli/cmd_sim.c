/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "app/sim_server.h"
#include "base/words.h"
#include "cli/commands.h"
#include "cli/scenario_file.h"

static const char HELP[] =
    "usage: o3 sim [OPTION ...]\n"
    "\n"
    "An Ollama simulator over HTTP: the API, the scheduling and the figures of a real server, with made-up models and\n"
    "words, and with the troubles you name. Its models: sim-small, sim-medium, sim-think, sim-embed,\n"
    "sim-vision, sim-code, sim-remote:cloud.\n"
    "\n"
    "  --listen ADDRESS         where to listen (127.0.0.1:11434); port 0 picks one\n"
    "  --seed N                 of the noise and of the words (1)\n"
    "  --speed X                world time runs X times as fast (1), keep-alives too: at 1000 an idle model goes "
    "after\n"
    "                           0.3 s, unless --keep-alive -1\n"
    "  --event 'at TIME ...'    something that happens; repeatable. Times count from the start:\n"
    "                             at 2m decode -40 %          at 18h decode 22 tok/s for 10m\n"
    "                             at 35s prefill -20 %        at 3m ttft +200ms\n"
    "                             at 19h http 503 for 10m     at 5m hang for 1m\n"
    "                             at 1m load sim-small ctx 8192   at 5m unload\n"
    "                             at 10s runner killed        at 4m gpu lost\n"
    "  --scenario FILE          a scenario: its world, loads, users and events; a flag given here stands above its\n"
    "                           \"world\" lines. What only \"o3 simulate\" can play is named and left out\n"
    "  --preload MODEL[:CTX]    loaded at the start; repeatable\n"
    "  --version V              what /api/version says (0.32.15); below 0.30 the older scheduler's rules\n"
    "  --gpu BYTES              memory of a GPU, for example 24GiB (no GPU)\n"
    "  --ram BYTES              memory of the machine (32GiB)\n"
    "  --noise CV               of the rates, from request to request (0.03)\n"
    "  --parallel N             requests at once per model (1), 64 at most\n"
    "  --max-queue N            requests that may wait for a load (512)\n"
    "  --keep-alive DURATION    how long an idle model stays loaded (5m); -1 for ever\n"
    "  --library recorded       adds the models of the recorded exchanges (o3-tiny, o3-small, ...)\n"
    "  --help                   this text\n"
    "\n"
    "Exit status: 0 stopped by a signal, 2 wrong usage, 75 the address is taken.\n";

enum { MAX_PRELOADS = 8, MAX_EVENTS = 256 };
enum opt {
    OPT_LISTEN = 256,
    OPT_SEED,
    OPT_SPEED,
    OPT_EVENT,
    OPT_SCENARIO,
    OPT_PRELOAD,
    OPT_VERSION,
    OPT_GPU,
    OPT_RAM,
    OPT_NOISE,
    OPT_PARALLEL,
    OPT_MAX_QUEUE,
    OPT_KEEP_ALIVE,
    OPT_LIBRARY,
    OPT_HELP
};
static const struct option OPTIONS[] = {
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"seed", required_argument, NULL, OPT_SEED},
    {"speed", required_argument, NULL, OPT_SPEED},
    {"event", required_argument, NULL, OPT_EVENT},
    {"scenario", required_argument, NULL, OPT_SCENARIO},
    {"preload", required_argument, NULL, OPT_PRELOAD},
    {"version", required_argument, NULL, OPT_VERSION},
    {"gpu", required_argument, NULL, OPT_GPU},
    {"ram", required_argument, NULL, OPT_RAM},
    {"noise", required_argument, NULL, OPT_NOISE},
    {"parallel", required_argument, NULL, OPT_PARALLEL},
    {"max-queue", required_argument, NULL, OPT_MAX_QUEUE},
    {"keep-alive", required_argument, NULL, OPT_KEEP_ALIVE},
    {"library", required_argument, NULL, OPT_LIBRARY},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

struct sim {
    struct o3_sim_server_params params;
    struct o3_sim_preload preloads[MAX_PRELOADS];
    char preload_names[MAX_PRELOADS][160];
    const char *events[MAX_EVENTS];
    size_t n_events;
    const char *scenario_path;
    struct o3_scenario *scenario;
    struct o3_loop *loop;
    struct o3_sim_server *server;
};

/* ---- values ---- */

static bool take_int(const char *text, int64_t high, int *ret) {
    int64_t v;
    if (!o3_int_parse(text, &v) || v < 1 || v > high) return false;
    *ret = (int)v;
    return true;
}

static bool take_preload(struct sim *s, const char *text) {
    if (s->params.n_preloads == MAX_PRELOADS) return false;
    size_t i = s->params.n_preloads++;
    struct o3_sim_preload *p = &s->preloads[i];
    const char *colon = strrchr(text, ':');
    bool has_ctx = colon && o3_int_parse(colon + 1, &p->num_ctx) && p->num_ctx > 0;
    p->model = s->preload_names[i];
    return o3_str_copy_n(s->preload_names[i], sizeof s->preload_names[i], text,
                         has_ctx ? (size_t)(colon - text) : strlen(text));
}

static bool take_event(struct sim *s, const char *text) {
    if (s->n_events == MAX_EVENTS) return false;
    s->events[s->n_events++] = text;
    return true;
}

static bool take_noise(const char *text, double *ret) {
    return o3_double_parse(text, ret) && *ret >= 0 && *ret <= 1;
}

static bool take_seed(const char *text, uint64_t *ret) {
    int64_t v;
    if (!o3_int_parse(text, &v) || v < 0) return false;
    *ret = (uint64_t)v;
    return true;
}

static bool take_keep_alive(const char *text, int64_t *ret) {
    if (!strcmp(text, "-1")) {
        *ret = -1;
        return true;
    }
    return o3_duration_parse(text, ret) && *ret > 0;
}

static bool take_option(struct sim *s, enum opt opt, const char *value) {
    struct o3_world_params *w = &s->params.world;
    switch (opt) {
    case OPT_LISTEN:
        s->params.listen = value;
        return true;
    case OPT_SEED:
        return take_seed(value, &w->seed);
    case OPT_SPEED:
        return o3_double_parse(value, &s->params.speed) && s->params.speed > 0 && s->params.speed <= 1e6;
    case OPT_EVENT:
        return take_event(s, value);
    case OPT_SCENARIO:
        return true; /* read before */
    case OPT_PRELOAD:
        return take_preload(s, value);
    case OPT_VERSION:
        w->version = value;
        return *value >= '0' && *value <= '9' && strlen(value) < 32;
    case OPT_GPU:
        w->has_gpu = true;
        return o3_words_bytes(value, &w->vram_bytes);
    case OPT_RAM:
        return o3_words_bytes(value, &w->ram_bytes);
    case OPT_NOISE:
        return take_noise(value, &w->noise_cv);
    case OPT_PARALLEL:
        return take_int(value, O3_WORLD_PARALLEL_MAX, &w->parallel);
    case OPT_MAX_QUEUE:
        return take_int(value, 1000000, &w->max_queue);
    case OPT_KEEP_ALIVE:
        return take_keep_alive(value, &w->keep_alive_ms);
    case OPT_LIBRARY:
        w->has_recorded_models = true;
        return !strcmp(value, "recorded");
    case OPT_HELP:
        break;
    }
    return false;
}

/* What is looked for first: help, a wrong option, the scenario. 0: go on; 1: the help was printed; 2: wrong. */
static int take_scenario(struct sim *s, int argc, char **argv) {
    optind = 1;
    for (int which; (which = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        if (which == OPT_HELP) {
            fputs(HELP, stdout);
            return 1;
        }
        if (which == '?') {
            fputs("o3 sim --help lists the options\n", stderr);
            return 2;
        }
        if (which != OPT_SCENARIO) continue;
        if (s->scenario_path) {
            fputs("o3 sim: --scenario: there can be one\n", stderr);
            return 2;
        }
        s->scenario_path = optarg;
    }
    if (!s->scenario_path) return 0;
    s->scenario = o3_scenario_file_read(s->scenario_path);
    if (!s->scenario) return 2;
    uint64_t seed = s->params.world.seed;
    s->params.world = s->scenario->world;
    if (!s->scenario->has_seed) s->params.world.seed = seed;
    return 0;
}

static const char *what_of(enum opt opt) {
    switch (opt) {
    case OPT_SEED:
        return "a number from 0";
    case OPT_SPEED:
        return "a factor above 0, at most 1000000";
    case OPT_EVENT:
        return "at most 256 events";
    case OPT_PRELOAD:
        return "a model's name, or MODEL:CTX, at most 8 times";
    case OPT_VERSION:
        return "a version like \"0.33.0\"";
    case OPT_GPU:
    case OPT_RAM:
        return "a size like \"24GiB\"";
    case OPT_NOISE:
        return "a number from 0 to 1";
    case OPT_PARALLEL:
        return "a number from 1 to 256";
    case OPT_MAX_QUEUE:
        return "a number from 1 to 1000000";
    case OPT_KEEP_ALIVE:
        return "a duration above 0 like \"5m\", or -1 for ever";
    case OPT_LIBRARY:
        return "\"recorded\"";
    case OPT_LISTEN:
    case OPT_SCENARIO:
    case OPT_HELP:
        break;
    }
    return "another value";
}

/* A flag stands above what the scenario says. */
static int take_arguments(struct sim *s, int argc, char **argv) {
    int status = take_scenario(s, argc, argv);
    if (status) return status;
    optind = 1;
    for (int which, index = 0; (which = getopt_long(argc, argv, "", OPTIONS, &index)) != -1;) {
        if (!take_option(s, (enum opt)which, optarg)) {
            fprintf(stderr, "o3 sim: --%s: expected %s, found \"%s\"\n", OPTIONS[index].name, what_of((enum opt)which),
                    optarg);
            return 2;
        }
    }
    if (optind == argc) return 0;
    fprintf(stderr, "o3 sim: unexpected argument \"%s\"; see \"o3 sim --help\"\n", argv[optind]);
    return 2;
}

/* ---- running ---- */

static int64_t deadline_ns(void *ctx) {
    struct sim *s = ctx;
    return o3_sim_server_deadline_ns(s->server);
}

static void turn(void *ctx, struct o3_now now) {
    struct sim *s = ctx;
    o3_sim_server_turn(s->server, now);
}

static void on_signal(void *ctx, int signo) {
    struct sim *s = ctx;
    if (signo != SIGHUP) o3_loop_stop(s->loop);
}

static int fill_world(struct sim *s) {
    struct o3_world *w = o3_sim_server_world(s->server);
    struct o3_err e = {0};
    for (size_t i = 0; i < s->n_events; i++) {
        if (o3_world_add_event(w, s->events[i], &e) == 0) continue;
        fprintf(stderr, "o3 sim: --event \"%s\": column %u: %s\n", s->events[i], e.col ? e.col : 1, e.text);
        return 2;
    }
    if (!s->scenario || o3_scenario_fill_world(s->scenario, w, &e) == 0) return 0;
    o3_scenario_file_error(s->scenario_path, &e);
    return 2;
}

/* Lines that concern the sidecar beside the server: marks[line] is set. */
static size_t mark_sidecar_lines(const struct o3_scenario *s, bool marks[O3_SCENARIO_LINES_MAX + 1]) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_faults; i++)
        if (s->faults[i].kind != O3_FAULT_DISK_SLOW) marks[s->faults[i].line] = true;
    for (size_t i = 0; i < s->n_expects; i++)
        marks[s->expects[i].line] = true;
    for (size_t i = 0; i < s->n_config; i++)
        marks[s->config[i].line] = true;
    marks[s->run_line] = s->run_line > 0;
    for (size_t i = 1; i <= O3_SCENARIO_LINES_MAX; i++)
        n += marks[i];
    return n;
}

static void announce_scenario(const struct o3_scenario *s) {
    for (size_t i = 0; i < s->n_loads; i++)
        printf("loaded: %s\n", s->loads[i].model);
    for (size_t i = 0; i < s->n_users; i++)
        printf("users: %g conversations an hour with %s\n", s->users[i].conversations_per_hour, s->users[i].model);
    for (size_t i = 0; i < s->n_events; i++)
        printf("%s\n", s->events[i].text + strspn(s->events[i].text, " \t"));
    bool marks[O3_SCENARIO_LINES_MAX + 2] = {0};
    size_t n = mark_sidecar_lines(s, marks);
    if (!n) return;
    printf("for \"o3 simulate\" only: line%s", n > 1 ? "s" : "");
    for (unsigned from = 1, to; from <= O3_SCENARIO_LINES_MAX; from = to + 1) {
        for (to = from; marks[from] && marks[to + 1];)
            to++;
        if (marks[from] && to > from)
            printf(" %u-%u", from, to);
        else if (marks[from])
            printf(" %u", from);
    }
    printf("\n");
}

static void announce(const struct sim *s) {
    const struct o3_sim_server_params *p = &s->params;
    const char *colon = strrchr(p->listen, ':');
    int host = colon ? (int)(colon - p->listen) : 0;
    printf("o3 sim: listening on http://%.*s:%u\n", host ? host : 9, host ? p->listen : "127.0.0.1",
           (unsigned)o3_sim_server_port(s->server));
    printf("seed %llu, speed %g, Ollama %s, %s\n", (unsigned long long)p->world.seed, p->speed > 0 ? p->speed : 1,
           p->world.version ? p->world.version : "0.32.15", p->world.has_gpu ? "with a GPU" : "no GPU");
    for (size_t i = 0; i < p->n_preloads; i++)
        printf("loaded: %s\n", p->preloads[i].model);
    for (size_t i = 0; i < s->n_events; i++)
        printf("%s\n", s->events[i]);
    if (s->scenario) announce_scenario(s->scenario);
    fflush(stdout);
}

static int report(const struct o3_err *e) {
    fprintf(stderr, "o3 sim: %s\n", e->text);
    return e->code == O3_E_NOT_FOUND || e->code == O3_E_LIMIT ? 2 : o3_error_row(e->code)->exit_status;
}

static int run(struct sim *s) {
    struct o3_err e = {0};
    if (o3_loop_new(&s->loop, &e) < 0 || o3_sim_server_new(s->loop, &s->params, &s->server, &e) < 0) return report(&e);
    int status = fill_world(s);
    if (status) return status;
    announce(s);
    struct o3_loop_hooks hooks = {.deadline_ns = deadline_ns, .turn = turn, .on_signal = on_signal, .ctx = s};
    o3_loop_set_hooks(s->loop, &hooks);
    o3_loop_run(s->loop);
    return 0;
}

int o3_cmd_sim(int argc, char **argv) {
    struct sim s = {.params = {.listen = "127.0.0.1:11434", .world = {.seed = 1, .noise_cv = -1}}};
    s.params.preloads = s.preloads;
    int status = take_arguments(&s, argc, argv);
    if (status == 0)
        status = run(&s);
    else if (status == 1)
        status = 0;
    o3_sim_server_free(s.server);
    o3_loop_free(s.loop);
    o3_scenario_free(s.scenario);
    return status;
}
