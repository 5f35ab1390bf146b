/* SPDX-License-Identifier: Apache-2.0 */
/* A preset file from anywhere: refused with a reason, or read into a document that is written and read back equal. */
#include <stdlib.h>
#include <string.h>
#include "o3/preset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct o3_preset_doc d, back;
    struct o3_err e = {0};
    if (o3_preset_doc_decode_yaml((const char *)data, n, &d, &e) < 0) {
        if (!*e.text) abort();
        return 0;
    }
    O3_AUTO_BUF yaml, json;
    o3_buf_init(&yaml, O3_PRESET_DOC_MAX);
    o3_buf_init(&json, O3_PRESET_DOC_MAX);
    if (o3_preset_doc_encode_yaml(&d, &yaml) < 0 || o3_preset_doc_encode_json(&d, &json) < 0) abort();
    if (o3_preset_doc_decode_yaml(yaml.p, yaml.len, &back, &e) < 0 || !o3_preset_doc_equal(&d, &back)) abort();
    return 0;
}
