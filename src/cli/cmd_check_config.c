/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include "app/config_source.h"
#include "app/web_source.h"
#include "cli/commands.h"

static const char HELP[] =
    "usage: o3 check-config [FILE | --config.file FILE] [--json] [--KEY VALUE ...]\n"
    "\n"
    "Checks a configuration as \"o3 serve\" would read it, with the environment and the flags on top, and lists the\n"
    "keys that this version accepts but does not use. The file of web.config_file, its certificates and its keys are\n"
    "checked as well. Without FILE: $O3_CONFIG_FILE, else " O3_CONFIG_DEFAULT_FILE ",\n"
    "else the built-in values.\n"
    "\n"
    "  --json   the result as one JSON object\n"
    "  --help   this text\n"
    "\n"
    "Exit status: 0 valid, 2 not valid.\n";

static void warn_stderr(void *ctx, const char *text) {
    (void)ctx;
    fprintf(stderr, "warning: %s\n", text);
}

static void print_unused(void *ctx, const char *key) {
    (void)ctx;
    printf("%s: not used by this version\n", key);
}

static void append_unused(void *ctx, const char *key) {
    json_array_append_new(ctx, json_string(key));
}

static int print_json(json_t *root) {
    int r = root ? json_dumpf(root, stdout, JSON_INDENT(2)) : -1;
    putchar('\n');
    json_decref(root);
    return r;
}

static void report_bad(const char *file, const struct o3_err *err, int is_json) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 8192);
    o3_config_format_error(file, err, &text);
    fprintf(stderr, "%s\n", o3_buf_str(&text));
    if (!is_json) return;
    json_t *root = json_pack("{s:b, s:s?, s:s}", "valid", 0, "file", file, "error", err->text);
    if (root && err->line) {
        json_object_set_new(root, "line", json_integer(err->line));
        json_object_set_new(root, "column", json_integer(err->col));
    }
    print_json(root);
}

static void report_good(const char *file, const struct o3_config *c, int is_json) {
    if (!is_json) {
        const char *web = o3_config_values(c)->web_config_file;
        printf("%s is valid\n", file ? file : "the built-in configuration");
        if (*web) printf("%s is valid\n", web);
        o3_config_each_unused(c, print_unused, NULL);
        return;
    }
    json_t *unused = json_array();
    o3_config_each_unused(c, append_unused, unused);
    print_json(json_pack("{s:b, s:s?, s:o}", "valid", 1, "file", file, "not_used", unused));
}

/* With the certificates and keys that it names. */
static int check_web(const char *path, struct o3_err *e) {
    struct o3_web *web = NULL;
    char text[400];
    int r = *path ? o3_web_load(path, &web, e) : 0;
    for (size_t i = 0; web && i < web->config->n_users; i++)
        if (o3_web_cost_warning(&web->config->users[i], text, sizeof text)) warn_stderr(NULL, text);
    o3_web_free(web);
    return r;
}

static int check(const char *file, const struct o3_config_args *args, int is_json) {
    struct o3_config *c;
    struct o3_err err = {0};
    const char *path = o3_config_source_path(file);
    int r = o3_config_source_load(file, args->flags, args->n_flags, warn_stderr, NULL, &c, NULL, &err);
    if (r < 0) {
        report_bad(path, &err, is_json);
        return o3_error_row(r)->exit_status;
    }
    const char *web_path = o3_config_values(c)->web_config_file;
    r = check_web(web_path, &err);
    if (r < 0)
        report_bad(web_path, &err, is_json);
    else
        report_good(path, c, is_json);
    o3_config_free(c);
    return r < 0 ? o3_error_row(r)->exit_status : 0;
}

int o3_cmd_check_config(int argc, char **argv) {
    static const struct option OPTIONS[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    struct o3_config_args args;
    struct o3_err err;
    int is_json = 0;
    int r = o3_config_args_parse(&argc, argv, &args, &err);
    if (r < 0) {
        fprintf(stderr, "o3 check-config: %s\n", err.text);
        return o3_error_row(r)->exit_status;
    }
    optind = 0; /* start over: the caller may have used getopt before */
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        if (option == 'h') {
            fputs(HELP, stdout);
            return 0;
        }
        if (option != 'j') {
            fputs("Try \"o3 check-config --help\".\n", stderr);
            return 2;
        }
        is_json = 1;
    }
    int n_files = argc - optind + (args.file != NULL);
    if (n_files > 1) {
        fputs("o3 check-config: one file at a time\nTry \"o3 check-config --help\".\n", stderr);
        return 2;
    }
    return check(optind < argc ? argv[optind] : args.file, &args, is_json);
}
