/* SPDX-License-Identifier: Apache-2.0 */
/* What the sidecar wrote under o3_results/defaults, for people and for scripts. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "app/config_source.h"
#include "app/places.h"
#include "cli/commands.h"
#include "io/file.h"
#include "o3/preset.h"
#include "o3/text.h"

static const char HELP[] =
    "usage: o3 preset list [--json]\n"
    "       o3 preset get NAME --model MODEL [--format FORMAT]\n"
    "\n"
    "list   shows the presets of every model\n"
    "get    prints one: NAME is max_context, balanced or fast_response\n"
    "\n"
    "  --model MODEL       the model, as Ollama prints it; \":latest\" may be left out\n"
    "  --format FORMAT     yaml (default), json, env, modelfile or ollama-options\n"
    "  --results DIR       the results folder; without it the configured one, else $STATE_DIRECTORY/o3_results,\n"
    "                      else ./o3_results\n"
    "  --config.file FILE  the configuration that names the results folder\n"
    "  --json              the list as JSON; with get the same as --format json\n"
    "  --help              this text\n"
    "\n"
    "Exit status: 0 good, 1 no such preset, 2 usage or configuration, 75 the folder cannot be read.\n";

enum { PATH_SIZE = 4096, FILES_MAX = 4096 };

struct options {
    const char *model, *format, *results;
    bool is_json;
};

static int usage(const char *text) {
    fprintf(stderr, "o3 preset: %s\nTry \"o3 preset --help\".\n", text);
    return 2;
}

static int print_buf(const struct o3_buf *b) {
    fwrite(o3_buf_str(b), 1, b->len, stdout);
    return 0;
}

/* ---- the folder ---- */

static bool has_suffix(const char *name, const char *suffix) {
    size_t n = strlen(name), m = strlen(suffix);
    return n > m && !strcmp(name + n - m, suffix);
}

/* A hidden file is the sidecar's unfinished one, or ConfigMap's bookkeeping. */
static int is_preset_file(const struct dirent *d) {
    return d->d_name[0] != '.' && has_suffix(d->d_name, ".yaml");
}

static int read_doc(const char *path, struct o3_preset_doc *ret, struct o3_err *e) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, O3_PRESET_DOC_MAX);
    int r = o3_file_read(path, O3_PRESET_DOC_MAX, &text, e);
    return r < 0 ? r : o3_preset_doc_decode_yaml(o3_buf_str(&text), text.len, ret, e);
}

static void report_file(const char *prefix, const char *path, const struct o3_err *e) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 2 * PATH_SIZE);
    o3_config_format_error(path, e, &text);
    fprintf(stderr, "%s: %s\n", prefix, o3_buf_str(&text));
}

/* Calls fn for every readable document of DIR/defaults, by file name; one that is broken is told and left out. */
typedef void doc_fn(void *ctx, const struct o3_preset_doc *d);
static int each_doc(const char *results, doc_fn *fn, void *ctx) {
    char path[PATH_SIZE];
    struct dirent **names;
    bool fits = (size_t)snprintf(path, sizeof path, "%s/defaults", results) < sizeof path;
    errno = ENAMETOOLONG;
    int n = fits ? scandir(path, &names, is_preset_file, alphasort) : -1;
    if (n < 0 && errno == ENOENT) return 0; /* nothing was written yet */
    if (n < 0) {
        fprintf(stderr, "o3 preset: %s: %s\n", path, strerror(errno));
        return O3_E_IO;
    }
    for (int i = 0; i < n; i++) {
        struct o3_preset_doc d;
        struct o3_err e = {0};
        int len = snprintf(path, sizeof path, "%s/defaults/%s", results, names[i]->d_name);
        if (i < FILES_MAX && len > 0 && (size_t)len < sizeof path) {
            if (read_doc(path, &d, &e) < 0)
                report_file("warning", path, &e);
            else
                fn(ctx, &d);
        }
        free(names[i]);
    }
    free(names);
    return 0;
}

/* ---- list ---- */

static const char *figure(bool is_set, double v, int decimals, char out[24]) {
    if (!is_set || !isfinite(v)) return "-";
    snprintf(out, 24, "%.*f", decimals, v);
    return out;
}

static void print_row(const struct o3_preset_doc *d, enum o3_preset_name name) {
    const struct o3_preset *p = &d->presets[name];
    const struct o3_performance *f = &p->performance;
    char tps[24], ttft[24], stability[24], batch[24] = "-", time[32] = "-";
    if (p->batch > 0) snprintf(batch, sizeof batch, "%lld", (long long)p->batch);
    if (p->as_of_ms) o3_rfc3339_format(p->as_of_ms, time, sizeof time);
    printf("%-32s  %-13s  %8lld  %6s  %8s  %8s  %9s  %-9s  %s\n", d->model, o3_preset_name(name), (long long)p->num_ctx,
           batch, figure(f->is_set, f->tokens_per_sec, 2, tps), figure(f->is_set, f->ttft_ms, 0, ttft),
           figure(f->is_set, f->stability, 2, stability), o3_preset_source_name(p->source), time);
}

static void print_doc(void *ctx, const struct o3_preset_doc *d) {
    int *n = ctx;
    for (int p = 0; p < O3_PRESET_COUNT; p++) {
        if (!d->presets[p].is_set) continue;
        if (!(*n)++)
            printf("%-32s  %-13s  %8s  %6s  %8s  %8s  %9s  %-9s  %s\n", "MODEL", "PRESET", "NUM_CTX", "BATCH", "TOK/S",
                   "TTFT MS", "STABILITY", "SOURCE", "AS OF");
        print_row(d, (enum o3_preset_name)p);
    }
}

static void append_doc(void *ctx, const struct o3_preset_doc *d) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, O3_PRESET_DOC_MAX * 2);
    if (o3_preset_doc_encode_json(d, &text) < 0) return;
    json_array_append_new(ctx, json_loadb(o3_buf_str(&text), text.len, 0, NULL));
}

static int list_json(const char *results) {
    json_t *docs = json_array();
    int r = each_doc(results, append_doc, docs);
    if (r == 0 && json_dumpf(docs, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) < 0) r = O3_E_NOMEM;
    if (r == 0) putchar('\n');
    json_decref(docs);
    return r < 0 ? o3_error_row(r)->exit_status : 0;
}

static int list(const char *results, bool is_json) {
    if (is_json) return list_json(results);
    int n = 0;
    int r = each_doc(results, print_doc, &n);
    if (r < 0) return o3_error_row(r)->exit_status;
    if (n == 0) fprintf(stderr, "no presets in %s yet\n", results);
    return 0;
}

/* ---- get ---- */

struct wanted {
    const char *model;
    bool is_found, is_exact;
    struct o3_preset_doc doc;
};

static bool is_latest_of(const char *full, const char *model) {
    size_t n = strlen(model);
    return !strncmp(full, model, n) && !strcmp(full + n, ":latest");
}

static void find_doc(void *ctx, const struct o3_preset_doc *d) {
    struct wanted *w = ctx;
    bool is_exact = !strcmp(d->model, w->model);
    if (w->is_exact || (!is_exact && !is_latest_of(d->model, w->model))) return;
    w->is_found = true;
    w->is_exact = is_exact;
    w->doc = *d;
}

static int get(const char *results, const struct options *o, const char *name) {
    enum o3_preset_name preset;
    if (!o3_preset_name_parse(name, &preset)) return usage("NAME must be max_context, balanced or fast_response");
    if (!o->model) return usage("get needs --model");
    struct wanted w = {.model = o->model};
    int r = each_doc(results, find_doc, &w);
    if (r < 0) return o3_error_row(r)->exit_status;
    if (!w.is_found) {
        fprintf(stderr, "o3 preset: no presets of model %s in %s\n", o->model, results);
        return 1;
    }
    struct o3_err e = {0};
    O3_AUTO_BUF out;
    o3_buf_init(&out, O3_PRESET_DOC_MAX);
    r = o3_preset_encode(&w.doc, preset, o->format ? o->format : o->is_json ? "json" : "yaml", &out, &e);
    if (r == 0) return print_buf(&out);
    fprintf(stderr, "o3 preset: %s\n", e.text);
    return o3_error_row(r)->exit_status;
}

/* ---- the command line ---- */

static void warn_stderr(void *ctx, const char *text) {
    (void)ctx;
    fprintf(stderr, "warning: %s\n", text);
}

/* Where the results are, as "o3 serve" with the same configuration would decide. */
static int results_folder(const struct o3_config_args *args, const char *given, char out[PATH_SIZE]) {
    if (given) {
        o3_str_copy(out, PATH_SIZE, given);
        return 0;
    }
    struct o3_config *c;
    struct o3_err e = {0};
    int r = o3_config_source_load(args->file, args->flags, args->n_flags, warn_stderr, NULL, &c, NULL, &e);
    if (r < 0) {
        report_file("o3 preset", o3_config_source_path(args->file), &e);
        return r;
    }
    o3_results_folder(o3_config_values(c), out, PATH_SIZE);
    o3_config_free(c);
    return 0;
}

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, struct options *o) {
    static const struct option OPTIONS[] = {
        {"model", required_argument, NULL, 'm'},   {"format", required_argument, NULL, 'f'},
        {"results", required_argument, NULL, 'r'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    optind = 0; /* start over: the caller may have used getopt before */
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        switch (option) {
        case 'm':
            o->model = optarg;
            break;
        case 'f':
            o->format = optarg;
            break;
        case 'r':
            o->results = optarg;
            break;
        case 'j':
            o->is_json = true;
            break;
        case 'h':
            fputs(HELP, stdout);
            return 0;
        default:
            fputs("Try \"o3 preset --help\".\n", stderr);
            return 2;
        }
    }
    return -1;
}

int o3_cmd_preset(int argc, char **argv) {
    struct o3_config_args args;
    struct o3_err e;
    struct options o = {0};
    if (o3_config_args_parse(&argc, argv, &args, &e) < 0) return usage(e.text);
    int status = parse_options(argc, argv, &o);
    if (status >= 0) return status;
    int n = argc - optind;
    char **words = argv + optind;
    bool is_list = n == 1 && !strcmp(words[0], "list");
    bool is_get = n == 2 && !strcmp(words[0], "get");
    if (!is_list && !is_get) return usage("say what to do: list, or get NAME");
    char results[PATH_SIZE];
    int r = results_folder(&args, o.results, results);
    if (r < 0) return o3_error_row(r)->exit_status;
    return is_list ? list(results, o.is_json) : get(results, &o, words[1]);
}
