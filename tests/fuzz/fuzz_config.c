/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the configuration file: an error with a place in the file, or a configuration whose dump reads back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "o3/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_dump(const struct o3_config *c) {
    O3_AUTO_BUF first, second;
    o3_buf_init(&first, 8u << 20);
    o3_buf_init(&second, 8u << 20);
    O3_ASSERT(o3_config_dump(c, false, &first) == 0);
    struct o3_conf_sources src = {.file_name = "dump", .file_text = o3_buf_str(&first), .file_len = first.len};
    struct o3_config *again;
    O3_ASSERT(o3_config_load(&src, NULL, NULL, &again, NULL) == 0);
    O3_ASSERT(o3_config_dump(again, false, &second) == 0);
    O3_ASSERT(!strcmp(o3_buf_str(&first), o3_buf_str(&second)));
    o3_config_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct o3_conf_sources src = {.file_name = "fuzz", .file_text = (const char *)data, .file_len = n};
    struct o3_config *c;
    struct o3_err e = {0};
    int r = o3_config_load(&src, NULL, NULL, &c, &e);
    if (r < 0) {
        O3_ASSERT(r == O3_E_CONFIG && e.line > 0 && e.col > 0 && e.text[0]);
        return 0;
    }
    check_dump(c);
    o3_config_free(c);
    return 0;
}
