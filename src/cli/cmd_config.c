/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "app/config_source.h"
#include "cli/commands.h"

static const char HELP[] =
    "usage: o3 config dump [--origin] [--json] [--config.file FILE] [--KEY VALUE ...]\n"
    "       o3 config example\n"
    "       o3 config check ...\n"
    "\n"
    "dump      prints the configuration in force: built-in < file < environment < flag; secrets as \"***\"\n"
    "example   prints the example file: every key with its default and its help\n"
    "check     the same as o3 check-config\n"
    "\n"
    "  --origin   say where each value comes from: default, file, environment, flag\n"
    "  --json     the same as one JSON object\n"
    "  --help     this text\n"
    "\n"
    "Exit status: 0 good, 2 the configuration or the command line is wrong.\n";

static void warn_stderr(void *ctx, const char *text) {
    (void)ctx;
    fprintf(stderr, "warning: %s\n", text);
}

static int print_buf(const struct o3_buf *out) {
    if (out->err) {
        fputs("o3 config: no memory for the text\n", stderr);
        return o3_error_row(out->err)->exit_status;
    }
    fputs(o3_buf_str(out), stdout);
    return 0;
}

static int example(void) {
    O3_AUTO_BUF out;
    o3_buf_init(&out, 1 << 20);
    int r = o3_config_example(&out);
    if (r < 0 && !out.err) out.err = r;
    return print_buf(&out);
}

static int dump(const struct o3_config_args *args, bool with_origin, bool is_json) {
    struct o3_config *c;
    struct o3_err err = {0};
    O3_AUTO_BUF out;
    o3_buf_init(&out, 16 << 20);
    int r = o3_config_source_load(args->file, args->flags, args->n_flags, warn_stderr, NULL, &c, NULL, &err);
    if (r < 0) {
        o3_config_format_error(o3_config_source_path(args->file), &err, &out);
        fprintf(stderr, "%s\n", o3_buf_str(&out));
        return o3_error_row(r)->exit_status;
    }
    if (is_json) {
        o3_config_dump_json(c, with_origin, &out);
        o3_buf_adds(&out, "\n");
    } else {
        o3_config_dump(c, with_origin, &out);
    }
    o3_config_free(c);
    return print_buf(&out);
}

static int usage(const char *text) {
    fprintf(stderr, "o3 config: %s\nTry \"o3 config --help\".\n", text);
    return 2;
}

int o3_cmd_config(int argc, char **argv) {
    static const struct option OPTIONS[] = {{"origin", no_argument, NULL, 'o'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct o3_config_args args;
    struct o3_err err;
    bool with_origin = false, is_json = false;
    if (argc > 1 && !strcmp(argv[1], "check")) return o3_cmd_check_config(argc - 1, argv + 1);
    if (o3_config_args_parse(&argc, argv, &args, &err) < 0) return usage(err.text);
    optind = 0; /* start over: the caller may have used getopt before */
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        if (option == 'h') {
            fputs(HELP, stdout);
            return 0;
        }
        if (option != 'o' && option != 'j') return usage("an option is wrong");
        with_origin |= option == 'o';
        is_json |= option == 'j';
    }
    if (optind + 1 != argc) return usage("say what to do: dump, example or check");
    if (!strcmp(argv[optind], "dump")) return dump(&args, with_origin, is_json);
    if (!strcmp(argv[optind], "example")) return example();
    return usage("say what to do: dump, example or check");
}
