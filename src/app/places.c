/* SPDX-License-Identifier: Apache-2.0 */
#include "app/places.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/text.h"

void o3_results_folder(const struct o3_config_values *v, char *out, size_t size) {
    const char *state = getenv("STATE_DIRECTORY");
    if (v->results_path[0])
        o3_str_copy(out, size, v->results_path);
    else if (state && *state) /* systemd lists several as a:b; the first one is ours */
        snprintf(out, size, "%.*s/o3_results", (int)strcspn(state, ":"), state);
    else
        o3_str_copy(out, size, "./o3_results");
}

void o3_store_file(const struct o3_config_values *v, char *out, size_t size) {
    char folder[1024];
    o3_results_folder(v, folder, sizeof folder);
    if (v->store_path[0])
        o3_str_copy(out, size, v->store_path);
    else
        snprintf(out, size, "%s/o3.db", folder);
}

bool o3_since_parse(const char *text, int64_t now_ms, int64_t *ret_ms) {
    int64_t v;
    double seconds;
    if (o3_duration_parse(text, &v))
        *ret_ms = now_ms - v;
    else if (o3_rfc3339_parse(text, &v))
        *ret_ms = v;
    else if (o3_double_parse(text, &seconds) && seconds >= 0 && seconds < 1e11)
        *ret_ms = (int64_t)(seconds * 1000);
    else
        return false;
    return true;
}
