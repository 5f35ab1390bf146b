/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/scenario_file.h"
#include <stdio.h>
#include "io/file.h"

void o3_scenario_file_error(const char *path, const struct o3_err *e) {
    if (e->line)
        fprintf(stderr, "%s:%u:%u: %s\n", path, e->line, e->col ? e->col : 1, e->text);
    else
        fprintf(stderr, "o3: %s\n", e->text);
}

struct o3_scenario *o3_scenario_file_read(const char *path) {
    struct o3_err e = {0};
    struct o3_scenario *s = NULL;
    O3_AUTO_BUF text;
    o3_buf_init(&text, O3_SCENARIO_FILE_MAX);
    int r = o3_file_read(path, O3_SCENARIO_FILE_MAX, &text, &e);
    if (r == 0) r = o3_scenario_parse(path, o3_buf_str(&text), text.len, &s, &e);
    if (r < 0) o3_scenario_file_error(path, &e);
    return s;
}
