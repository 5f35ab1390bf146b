/* SPDX-License-Identifier: Apache-2.0 */
#include "app/log_record.h"
#include <jansson.h>
#include <string.h>
#include "base/json.h"
#include "o3/judge_params.h"
#include "o3/text.h"

#define FORMAT_VERSION 1
#define MARK "\"record\""

static int add_keys(const struct o3_config *c, struct o3_buf *out) {
    for (size_t i = 0; i < O3_JUDGE_KEYS; i++) {
        O3_AUTO_BUF value;
        o3_buf_init(&value, 256);
        int r = o3_config_value_text(c, o3_judge_keys[i], &value);
        if (r < 0) return r;
        o3_buf_addf(out, "%s\"%s\": ", i ? ", " : "", o3_judge_keys[i]);
        o3_buf_add_quoted(out, o3_buf_str(&value));
    }
    return out->err;
}

int o3_log_record_encode(const struct o3_config *c, const char *model, const char *run_id, int64_t wall_ms,
                         struct o3_buf *out) {
    char timestamp[40];
    o3_rfc3339_format(wall_ms, timestamp, sizeof timestamp);
    o3_buf_addf(out, "{\"v\": %d, " MARK ": \"config\", \"timestamp\": \"%s\", \"run_id\": \"%s\", \"model\": ",
                FORMAT_VERSION, timestamp, run_id);
    o3_buf_add_quoted(out, model);
    o3_buf_adds(out, ", \"keys\": {");
    int r = add_keys(c, out);
    return r < 0 ? r : o3_buf_adds(out, "}}");
}

static bool is_known(const char *key) {
    for (size_t i = 0; i < O3_JUDGE_KEYS; i++)
        if (!strcmp(o3_judge_keys[i], key)) return true;
    return false;
}

bool o3_log_record_decode(const char *line, size_t n, struct o3_log_record *ret) {
    O3_AUTO_JSON *o = NULL;
    struct o3_err e;
    char what[16];
    if (!memmem(line, n, MARK, sizeof MARK - 1) || o3_json_load_object(line, n, &o, &e) < 0) return false;
    o3_json_copy(o, "record", what, sizeof what);
    if (strcmp(what, "config") != 0 || o3_json_count(o, "v") != FORMAT_VERSION) return false;
    ret->n = 0;
    json_t *keys = json_object_get(o, "keys"), *value;
    const char *key;
    json_object_foreach(keys, key, value) {
        const char *text = json_string_value(value);
        if (ret->n == O3_LOG_KEYS_MAX || !text || !is_known(key)) continue;
        bool fits = o3_str_copy(ret->v[ret->n].key, sizeof ret->v->key, key) &&
                    o3_str_copy(ret->v[ret->n].value, sizeof ret->v->value, text);
        ret->n += fits;
    }
    return true;
}
