/* SPDX-License-Identifier: Apache-2.0 */
/* o3 history: what was measured and what was made of it, from the store, also while the sidecar runs. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "app/config_source.h"
#include "app/places.h"
#include "cli/commands.h"
#include "cli/history.h"
#include "io/loop.h"
#include "o3/judge_params.h"
#include "o3/text.h"

static const char HELP[] =
    "usage: o3 history [MODEL] [--since 7d] [--signal SIGNAL] [OPTION ...]\n"
    "\n"
    "Shows for each model and signal the normal level, the level now, the level over the time with a mark where a\n"
    "change began (^ and the number of its incident), and the verdict; below them, oldest first, incidents, new\n"
    "settings, comparisons of releases, acknowledgements, written presets and when Ollama did not answer. Reads the\n"
    "store of the sidecar, which may run meanwhile.\n"
    "\n"
    "  --since TIME         a duration before now, an RFC 3339 time or Unix seconds (the first sample of the last 7\n"
    "                       days)\n"
    "  --signal SIGNAL      decode_rate, prefill_rate, ttft, load_time, memory, gpu_ratio, context or success\n"
    "  --now TIME           the end of the time shown (now)\n"
    "  --width N            characters of a curve, 8 to 240 (what the terminal has and the samples fill)\n"
    "  --ascii              curves without UTF-8\n"
    "  --json               the same as one JSON object\n"
    "  --config.file FILE   the configuration that names the store; also --results.path DIR, --store.path FILE\n"
    "  --help               this text\n"
    "\n"
    "Exit status: 0 good, 1 no such model or no store, 2 usage, configuration or a store of a newer version, 75 the\n"
    "store cannot be read.\n";

#define SINCE_DEFAULT_MS (7 * 86400000LL)
#define WIDTH_MIN 8
#define WIDTH_DEFAULT 72

static int usage(const char *text) {
    fprintf(stderr, "o3 history: %s\nTry \"o3 history --help\".\n", text);
    return 2;
}

/* 0: no terminal. */
static int terminal_columns(void) {
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0) return 0;
    return size.ws_col;
}

static int curve_width(int columns) {
    int width = columns ? columns - 5 : WIDTH_DEFAULT; /* without the margin */
    return width < WIDTH_MIN ? WIDTH_MIN : width > HISTORY_WIDTH_MAX ? HISTORY_WIDTH_MAX : width;
}

struct arguments {
    const char *since, *now, *signal, *width;
    bool is_ascii, is_json;
};

/* -1: go on; else the exit status. */
static int take_arguments(struct arguments *a, int argc, char **argv) {
    static const struct option OPTIONS[] = {
        {"since", required_argument, NULL, 's'},  {"now", required_argument, NULL, 'n'},
        {"signal", required_argument, NULL, 'g'}, {"width", required_argument, NULL, 'w'},
        {"ascii", no_argument, NULL, 'a'},        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    optind = 0; /* start over: the caller may have used getopt before */
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        switch (option) {
        case 's':
            a->since = optarg;
            break;
        case 'n':
            a->now = optarg;
            break;
        case 'g':
            a->signal = optarg;
            break;
        case 'w':
            a->width = optarg;
            break;
        case 'a':
            a->is_ascii = true;
            break;
        case 'j':
            a->is_json = true;
            break;
        case 'h':
            fputs(HELP, stdout);
            return 0;
        default:
            fputs("Try \"o3 history --help\".\n", stderr);
            return 2;
        }
    }
    return argc - optind > 1 ? usage("one model at a time") : -1;
}

/* 0 or 2. */
static int read_arguments(const struct arguments *a, const char *model, struct history_options *o) {
    int columns = terminal_columns();
    int64_t width = curve_width(columns), wall_ms = o3_now_read().wall_ms;
    enum o3_signal signal = O3_SIGNAL_COUNT;
    o->now_ms = wall_ms;
    if (a->now && !o3_since_parse(a->now, wall_ms, &o->now_ms))
        return usage("--now: expected an RFC 3339 time, Unix seconds or a duration before now");
    o->since_ms = o->now_ms - SINCE_DEFAULT_MS;
    if (a->since && !o3_since_parse(a->since, o->now_ms, &o->since_ms))
        return usage("--since: expected a duration such as 7d, an RFC 3339 time or Unix seconds");
    if (o->since_ms >= o->now_ms) return usage("--since: expected a time before the end of what is shown");
    if (a->signal && !o3_signal_parse(a->signal, &signal)) return usage("--signal: unknown; see --help");
    o->signal = a->signal ? (int)signal : -1;
    if (a->width && (!o3_int_parse(a->width, &width) || width < WIDTH_MIN || width > HISTORY_WIDTH_MAX))
        return usage("--width: expected a number from 8 to 240");
    o->width = (int)width;
    o->columns = columns;
    o->has_width = a->width != NULL;
    o->has_since = a->since != NULL;
    o->is_ascii = a->is_ascii;
    o->is_json = a->is_json;
    /* Ollama prints "name:latest" for what people call "name". */
    if (model) snprintf(o->model, sizeof o->model, "%s%s", model, strchr(model, ':') ? "" : ":latest");
    return 0;
}

static int show(const struct history_options *o, const char *path) {
    struct o3_store *store = NULL;
    struct history h = {.options = o};
    struct o3_err e = {0};
    int r = o3_store_open_read(path, &store, &e);
    if (r == 0) r = history_read(&h, store, &e);
    int status = 0;
    if (r < 0) {
        fprintf(stderr, "o3 history: %s: %s\n", path, e.text);
        status = o3_error_row(r)->exit_status;
    } else if (o->model[0] && h.n_models == 0 && !h.has_own_events) {
        fprintf(stderr, "o3 history: nothing of %s in this time\n", o->model);
        status = 1;
    } else {
        status = o->is_json ? history_print_json(&h) : history_print_text(&h);
    }
    history_done(&h);
    o3_store_close(store);
    return status;
}

int o3_cmd_history(int argc, char **argv) {
    struct o3_config_args args;
    struct arguments a = {0};
    struct history_options o = {0};
    struct o3_config *config = NULL;
    struct o3_err e = {0};
    if (o3_config_args_parse(&argc, argv, &args, &e) < 0) return usage(e.text);
    int status = take_arguments(&a, argc, argv);
    if (status >= 0) return status;
    status = read_arguments(&a, optind < argc ? argv[optind] : NULL, &o);
    if (status) return status;
    if (o3_config_source_load(args.file, args.flags, args.n_flags, NULL, NULL, &config, NULL, &e) < 0) {
        O3_AUTO_BUF text;
        o3_buf_init(&text, 8192);
        o3_config_format_error(o3_config_source_path(args.file), &e, &text);
        fprintf(stderr, "o3 history: %s\n", o3_buf_str(&text));
        return 2;
    }
    char path[1100];
    o3_store_file(o3_config_values(config), path, sizeof path);
    o3_judge_params_of(o3_config_values(config), &o.judge);
    o3_config_free(config);
    return show(&o, path);
}
