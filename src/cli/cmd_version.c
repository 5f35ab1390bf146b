/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "cli/commands.h"

int o3_cmd_version(int argc, char **argv) {
    if (argc == 1) {
        puts("o3 " O3_VERSION " (" O3_REVISION ")");
        return 0;
    }
    if (argc == 2 && !strcmp(argv[1], "--help")) {
        puts("usage: o3 version [--json]\nPrints the version and the source revision.");
        return 0;
    }
    if (argc == 2 && !strcmp(argv[1], "--json")) {
        puts("{\"version\":\"" O3_VERSION "\",\"revision\":\"" O3_REVISION "\"}");
        return 0;
    }
    fprintf(stderr, "o3 version: only --json is known here; see \"o3 version --help\"\n");
    return 2;
}
