/* SPDX-License-Identifier: Apache-2.0 */
/* o3 replay: recorded measurements through the judgement that the sidecar passes live. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "app/config_source.h"
#include "cli/commands.h"
#include "cli/replay.h"
#include "io/series.h"
#include "o3/text.h"

static const char HELP[] =
    "usage: o3 replay [FILE ... | -] [--jsonl | --csv | --values] [OPTION ...] [--KEY VALUE ...]\n"
    "\n"
    "Judges recorded measurements as the sidecar judges live ones, and prints the verdicts. Without FILE, or with\n"
    "\"-\", it reads standard input.\n"
    "\n"
    "  --jsonl              logs of the sidecar (o3_results/logs): verdicts, incidents and comparisons as they were\n"
    "                       told live. Several files, also rotated ones and folders, are merged by time\n"
    "  --values             numbers, one a line\n"
    "  --csv                a table with a line of names; empty cells are values that are missing\n"
    "  --time COLUMN        its times: RFC 3339, or the time since 1970 (\"time\" or \"timestamp\" when there is one)\n"
    "  --value COLUMN       its values (the other column, when there is one only)\n"
    "                       Without one of these the name and the first line of FILE tell.\n"
    "\n"
    "  --level LEVEL        values: only alarms, one \"ALARM_INDEX CHANGE_INDEX\" a line, counted from 0. LEVEL is\n"
    "                       suspect, or confirmed\n"
    "  --after-alarm WHAT   values: restart: learn a new baseline after each alarm (the usual with --level),\n"
    "                       acknowledge: take the present level for normal, continue: as live (the usual without)\n"
    "\n"
    "  --detector NAME      cusum or rank (drift.detector)\n"
    "  --min-effect RATIO   smallest change that counts (drift.min_effect)\n"
    "  --false-alarms RATE  to accept, for example \"1 per 30d\" (drift.false_alarms)\n"
    "  --interval DURATION  between two values, where neither the log nor a column of times says it (probe.interval)\n"
    "  --config.file FILE   the configuration; every key is an option, too, for example --drift.season=false.\n"
    "                       A log gives the verdicts of its time with the configuration of its time: keys of\n"
    "                       drift, and probe.prefill_interval\n"
    "\n"
    "  --skip-bad           pass over broken lines, and count them\n"
    "  --json               one JSON object a verdict\n"
    "  --help               this text\n"
    "\n"
    "Exit status: 0 no confirmed change at the end (with --level: always), 1 a confirmed change, 2 usage,\n"
    "configuration, a broken line or no such file, 75 a file cannot be read.\n";

enum opt {
    OPT_JSONL = 256,
    OPT_VALUES,
    OPT_CSV,
    OPT_TIME,
    OPT_VALUE,
    OPT_LEVEL,
    OPT_AFTER,
    OPT_DETECTOR,
    OPT_MIN_EFFECT,
    OPT_FALSE_ALARMS,
    OPT_INTERVAL,
    OPT_SKIP_BAD,
    OPT_JSON,
    OPT_HELP
};
static const struct option OPTIONS[] = {
    {"jsonl", no_argument, NULL, OPT_JSONL},
    {"values", no_argument, NULL, OPT_VALUES},
    {"csv", no_argument, NULL, OPT_CSV},
    {"time", required_argument, NULL, OPT_TIME},
    {"value", required_argument, NULL, OPT_VALUE},
    {"level", required_argument, NULL, OPT_LEVEL},
    {"after-alarm", required_argument, NULL, OPT_AFTER},
    {"detector", required_argument, NULL, OPT_DETECTOR},
    {"min-effect", required_argument, NULL, OPT_MIN_EFFECT},
    {"false-alarms", required_argument, NULL, OPT_FALSE_ALARMS},
    {"interval", required_argument, NULL, OPT_INTERVAL},
    {"skip-bad", no_argument, NULL, OPT_SKIP_BAD},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static int usage(const char *text) {
    fprintf(stderr, "o3 replay: %s\nTry \"o3 replay --help\".\n", text);
    return 2;
}

void replay_complain(const struct replay_input *in, const struct o3_err *e) {
    if (in->lines.number)
        fprintf(stderr, "%s:%lld: %s\n", in->name, (long long)in->lines.number, e->text);
    else
        fprintf(stderr, "o3 replay: %s: %s\n", in->name, e->text);
}

/* ---- arguments ---- */

static bool take_format(struct replay *r, enum replay_format f) {
    bool is_first = r->format == REPLAY_GUESS || r->format == f;
    r->format = f;
    return is_first;
}

static bool take_word(const char *text, const char *const *words, int n, int *ret) {
    for (int i = 0; i < n; i++)
        if (!strcmp(text, words[i])) {
            *ret = i + 1;
            return true;
        }
    return false;
}

/* An option that is short for a key of the configuration. */
static bool take_key(struct o3_config_args *args, const char *key, const char *value) {
    if (args->n_flags == O3_CONFIG_FLAGS_MAX) return false;
    args->flags[args->n_flags++] = (struct o3_conf_pair){key, value};
    return true;
}

static bool take_option(struct replay *r, struct o3_config_args *args, enum opt opt, const char *value) {
    static const char *const LEVELS[] = {"suspect", "confirmed"}, *const AFTER[] = {"restart", "acknowledge",
                                                                                    "continue"};
    int which = 0;
    switch (opt) {
    case OPT_JSONL:
        return take_format(r, REPLAY_JSONL);
    case OPT_VALUES:
        return take_format(r, REPLAY_VALUES);
    case OPT_CSV:
        return take_format(r, REPLAY_CSV);
    case OPT_TIME:
        r->time_column = value;
        return true;
    case OPT_VALUE:
        r->value_column = value;
        return true;
    case OPT_LEVEL:
        if (!take_word(value, LEVELS, 2, &which)) return false;
        r->level = (enum replay_level)which;
        return true;
    case OPT_AFTER:
        if (!take_word(value, AFTER, 3, &which)) return false;
        r->after = (enum replay_after)which;
        return true;
    case OPT_DETECTOR:
        return take_key(args, "drift.detector", value);
    case OPT_MIN_EFFECT:
        return take_key(args, "drift.min_effect", value);
    case OPT_FALSE_ALARMS:
        return take_key(args, "drift.false_alarms", value);
    case OPT_INTERVAL:
        r->has_interval = true;
        return o3_duration_parse(value, &r->interval_ms) && r->interval_ms > 0 && r->interval_ms <= 30 * 86400000LL;
    case OPT_SKIP_BAD:
        return r->is_skip_bad = true;
    case OPT_JSON:
        return r->is_json = true;
    case OPT_HELP:
        break;
    }
    return false;
}

static const char *what_of(enum opt opt) {
    switch (opt) {
    case OPT_LEVEL:
        return "suspect or confirmed";
    case OPT_AFTER:
        return "restart, acknowledge or continue";
    case OPT_INTERVAL:
        return "a duration such as 60s, at most 30d";
    case OPT_JSONL:
    case OPT_VALUES:
    case OPT_CSV:
        return "one format only";
    case OPT_TIME:
    case OPT_VALUE:
    case OPT_DETECTOR:
    case OPT_MIN_EFFECT:
    case OPT_FALSE_ALARMS:
    case OPT_SKIP_BAD:
    case OPT_JSON:
    case OPT_HELP:
        break;
    }
    return "fewer options";
}

/* 0: go on; 1: the help was printed; 2: wrong. */
static int take_arguments(struct replay *r, struct o3_config_args *args, int argc, char **argv) {
    optind = 0; /* start over: the caller may have used getopt before */
    for (int which, index = 0; (which = getopt_long(argc, argv, "", OPTIONS, &index)) != -1;) {
        if (which == OPT_HELP) {
            fputs(HELP, stdout);
            return 1;
        }
        if (which == '?') {
            fputs("Try \"o3 replay --help\".\n", stderr);
            return 2;
        }
        if (!take_option(r, args, (enum opt)which, optarg)) {
            fprintf(stderr, "o3 replay: --%s: expected %s%s%s\nTry \"o3 replay --help\".\n", OPTIONS[index].name,
                    what_of((enum opt)which), optarg ? ", found " : "", optarg ? optarg : "");
            return 2;
        }
    }
    if (r->level != REPLAY_VERDICTS && r->is_json) return usage("--level prints indices only: no --json");
    return 0;
}

/* ---- the input ---- */

static bool has_suffix(const char *name, const char *suffix) {
    size_t n = strlen(name), m = strlen(suffix);
    return n > m && !strcmp(name + n - m, suffix);
}

static enum replay_format guess_by_content(struct replay_input *in) {
    double value;
    char *first = o3_lines_peek(&in->lines);
    size_t n = first ? strlen(first) : 0;
    if (n && first[n - 1] == '\r') first[n - 1] = '\0';
    bool is_number = !first || o3_series_value_parse(first, &value), is_object = first && first[0] == '{';
    free(first);
    return is_object ? REPLAY_JSONL : is_number ? REPLAY_VALUES : REPLAY_CSV;
}

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static enum replay_format guess_by_name(const char *path) {
    if (!path || !strcmp(path, "-")) return REPLAY_GUESS;
    if (has_suffix(path, ".csv")) return REPLAY_CSV;
    return is_folder(path) || strstr(path, ".jsonl") ? REPLAY_JSONL : REPLAY_GUESS;
}

int replay_open(struct replay_input *in, const char *path) {
    struct o3_err e = {0};
    bool is_stdin = !path || !strcmp(path, "-");
    *in = (struct replay_input){.name = is_stdin ? "(standard input)" : path, .fd = STDIN_FILENO};
    if (!is_stdin) in->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0) {
        fprintf(stderr, "o3 replay: %s: %s\n", path, strerror(errno));
        return errno == ENOENT || errno == ENOTDIR ? 2 : 75;
    }
    if (o3_lines_init(&in->lines, o3_lines_read_fd, &in->fd, &e) == 0) return 0;
    replay_complain(in, &e);
    return 75;
}

void replay_close(struct replay_input *in) {
    o3_lines_done(&in->lines);
    if (in->fd > STDIN_FILENO) close(in->fd);
}

/* One file whose name does not tell its format, or a series. */
static int replay_one(struct replay *r, const char *path) {
    struct replay_input in;
    int status = replay_open(&in, path);
    if (status == 0 && r->format == REPLAY_GUESS) r->format = guess_by_content(&in);
    if (status == 0 && r->format == REPLAY_JSONL)
        status = replay_log(r, &in);
    else if (status == 0)
        status = replay_series(r, &in);
    replay_close(&in);
    return status;
}

static int replay(struct replay *r, char *const *paths, int n) {
    if (n == 0 && isatty(STDIN_FILENO)) return usage("name a file, or send the measurements to standard input");
    if (r->format == REPLAY_GUESS && n > 1) r->format = REPLAY_JSONL;
    if (r->format == REPLAY_GUESS) r->format = guess_by_name(n ? paths[0] : NULL);
    if (n > 1 && r->format != REPLAY_JSONL) return usage("one file at a time, but for logs");
    if (r->after == REPLAY_AFTER_DEFAULT) r->after = r->level == REPLAY_VERDICTS ? REPLAY_CONTINUE : REPLAY_RESTART;
    if (n == 0 || r->format != REPLAY_JSONL) return replay_one(r, n ? paths[0] : NULL);
    return replay_logs(r, paths, n);
}

int o3_cmd_replay(int argc, char **argv) {
    struct o3_config_args args;
    struct o3_config *config = NULL;
    struct o3_err e = {0};
    struct replay r = {0};
    if (o3_config_args_parse(&argc, argv, &args, &e) < 0) return usage(e.text);
    int status = take_arguments(&r, &args, argc, argv);
    if (status) return status == 1 ? 0 : status;
    if (o3_config_source_load(args.file, args.flags, args.n_flags, NULL, NULL, &config, NULL, &e) < 0) {
        O3_AUTO_BUF text;
        o3_buf_init(&text, 8192);
        o3_config_format_error(o3_config_source_path(args.file), &e, &text);
        fprintf(stderr, "o3 replay: %s\n", o3_buf_str(&text));
        return 2;
    }
    r.values = o3_config_values(config);
    if (!r.interval_ms) r.interval_ms = r.values->probe_interval_ms;
    status = replay(&r, argv + optind, argc - optind);
    o3_config_free(config);
    return status;
}
