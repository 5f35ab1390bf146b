/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "app/daemon.h"
#include "cli/commands.h"

static const char HELP[] =
    "usage: o3 serve [--config.file FILE] [--KEY VALUE ...]\n"
    "Runs the sidecar until SIGTERM or Ctrl-C: probes the models that Ollama has loaded, judges whether they changed,\n"
    "serves /metrics (default http://127.0.0.1:21434/metrics) and keeps the preset files true.\n\n"
    "  --config.file FILE   configuration (YAML); default $O3_CONFIG_FILE, else /etc/o3/o3.yaml if it exists\n"
    "  --KEY VALUE          any key of the configuration, for example --probe.interval 30s; it wins over the file\n"
    "                       and over the environment; \"o3 config dump --origin\" prints all keys\n"
    "  --help               this text\n\n"
    "SIGHUP reads the configuration again. Exit status: 0 stopped by a signal, 2 configuration, 75 the port or the "
    "store is taken.\n";

int o3_cmd_serve(int argc, char **argv) {
    struct o3_config_args args;
    struct o3_err e;
    int r = o3_config_args_parse(&argc, argv, &args, &e);
    if (r < 0) {
        fprintf(stderr, "o3 serve: %s\n", e.text);
        return 2;
    }
    if (argc == 2 && !strcmp(argv[1], "--help")) {
        fputs(HELP, stdout);
        return 0;
    }
    if (argc > 1) {
        fprintf(stderr, "o3 serve: unknown argument \"%s\"; see \"o3 serve --help\"\n", argv[1]);
        return 2;
    }
    struct o3_daemon_params p = {.args = &args};
    r = o3_daemon_run(&p, &e);
    if (r == 0) return 0;
    O3_AUTO_BUF text;
    o3_buf_init(&text, 2048);
    (void)o3_config_format_error(r == O3_E_CONFIG ? o3_config_source_path(args.file) : NULL, &e, &text);
    fprintf(stderr, "o3 serve: %s\n", o3_buf_str(&text));
    return o3_error_row(r)->exit_status;
}
