/* SPDX-License-Identifier: Apache-2.0 */
/* The versioned text form of a sample, one JSON object per line. Some members are for people and other programs only
 * (timestamp, run_id, success, ttft_ms, ram_bytes) and are not read back; the exact ones stand beside them. */
#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "o3/sample.h"
#include "o3/signal.h"
#include "o3/text.h"
#include "base/json.h"

#define FORMAT_VERSION 1

static const struct {
    uint32_t flag;
    const char *name;
} FLAGS[] = {
    {O3_SAMPLE_WARMUP, "warmup"},           {O3_SAMPLE_BUSY, "busy"},
    {O3_SAMPLE_TAINTED, "tainted"},         {O3_SAMPLE_INCOMPLETE, "incomplete"},
    {O3_SAMPLE_IMPLAUSIBLE, "implausible"}, {O3_SAMPLE_AFTER_OTHER, "after_other"},
    {O3_SAMPLE_AFTER_GAP, "after_gap"},     {O3_SAMPLE_THROTTLED, "throttled"},
};
enum { N_FLAGS = sizeof FLAGS / sizeof *FLAGS };

/* Members that are -1 when unknown: then they are left out. */
static const struct {
    const char *name;
    size_t offset;
} COUNTS[] = {
#define COUNT(field) {#field, offsetof(struct o3_sample, field)}
    COUNT(ttft_ns),           COUNT(ttfc_ns),        COUNT(wall_ns),    COUNT(total_ns),
    COUNT(load_ns),           COUNT(prompt_eval_ns), COUNT(eval_ns),    COUNT(queue_ns),
    COUNT(prompt_eval_count), COUNT(eval_count),     COUNT(size_bytes),
#undef COUNT
};
enum { N_COUNTS = sizeof COUNTS / sizeof *COUNTS };

/* Members of "around". One that is unknown, or a count of 0, is left out: then it is as o3_surroundings_init leaves it.
 */
#define AROUND(field) {#field, offsetof(struct o3_surroundings, field)}
static const struct {
    const char *name;
    size_t offset;
} AROUND_INTEGERS[] =
    {
        AROUND(parallel),         AROUND(preset_num_ctx), AROUND(loaded_wall_ms), AROUND(weight_bytes),
        AROUND(interval_ms),      AROUND(n_models),       AROUND(n_loads),        AROUND(n_user_requests),
        AROUND(swapped_bytes),    AROUND(n_throttled),    AROUND(n_quota),        AROUND(memory_available_bytes),
        AROUND(other_vram_bytes),
},
  AROUND_REALS[] = {
      AROUND(bandwidth_bytes_per_s),
      AROUND(pressure_cpu),
      AROUND(pressure_memory),
      AROUND(pressure_io),
};
#undef AROUND
enum {
    N_AROUND_INTEGERS = sizeof AROUND_INTEGERS / sizeof *AROUND_INTEGERS,
    N_AROUND_REALS = sizeof AROUND_REALS / sizeof *AROUND_REALS
};

static void put(json_t *o, const char *key, json_t *value, int *r) {
    if (json_object_set_new(o, key, value) < 0 && *r == 0) *r = O3_E_NOMEM;
}

/* Text formed here is UTF-8; text from elsewhere may not be, and must not cost the whole line. */
static json_t *text_value(const char *s) {
    if (o3_utf8_valid(s, strlen(s))) return json_string(s);
    char ascii[256];
    o3_str_copy(ascii, sizeof ascii, s);
    for (char *p = ascii; *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    return json_string(ascii);
}

static json_t *count_value(int64_t v) {
    return v >= 0 ? json_integer(v) : json_null();
}

static json_t *real_value(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *ms_value(int64_t ns) {
    return ns >= 0 ? json_real((double)ns / (double)O3_NS_PER_MS) : json_null();
}

/* A probe that was cancelled says nothing about the server. */
static json_t *success_value(enum o3_outcome o) {
    return o == O3_OUTCOME_CANCELLED ? json_null() : json_boolean(!o3_outcome_is_failure(o));
}

static json_t *flags_value(uint32_t flags, int *r) {
    json_t *list = json_array();
    for (size_t i = 0; i < N_FLAGS; i++)
        if (flags & FLAGS[i].flag && json_array_append_new(list, json_string(FLAGS[i].name)) < 0) *r = O3_E_NOMEM;
    return list;
}

static json_t *config_value(const struct o3_sample *s, int *r) {
    json_t *config = json_object();
    put(config, "num_ctx", count_value(s->num_ctx), r);
    put(config, "num_batch", count_value(s->num_batch), r);
    put(config, "num_predict", count_value(s->num_predict), r);
    return config;
}

static int64_t ram_bytes(const struct o3_sample *s) {
    if (s->size_bytes < 0 || s->vram_bytes < 0) return s->size_bytes;
    return s->size_bytes > s->vram_bytes ? s->size_bytes - s->vram_bytes : 0;
}

static json_t *acknowledged_value(uint32_t bits, int *r) {
    json_t *list = json_array();
    for (int i = 0; i < O3_SIGNAL_COUNT; i++)
        if (bits >> i & 1 && json_array_append_new(list, json_string(o3_signal_name((enum o3_signal)i))) < 0)
            *r = O3_E_NOMEM;
    return list;
}

static json_t *around_value(const struct o3_surroundings *s, int *r) {
    struct o3_surroundings unknown;
    o3_surroundings_init(&unknown);
    json_t *o = json_object();
    if (s->version[0]) put(o, "version", text_value(s->version), r);
    if (s->gpu[0]) put(o, "gpu", text_value(s->gpu), r);
    for (size_t i = 0; i < N_AROUND_INTEGERS; i++) {
        int64_t v, v0;
        memcpy(&v, (const char *)s + AROUND_INTEGERS[i].offset, sizeof v);
        memcpy(&v0, (const char *)&unknown + AROUND_INTEGERS[i].offset, sizeof v0);
        if (v != v0) put(o, AROUND_INTEGERS[i].name, json_integer(v), r);
    }
    for (size_t i = 0; i < N_AROUND_REALS; i++) {
        double v;
        memcpy(&v, (const char *)s + AROUND_REALS[i].offset, sizeof v);
        if (isfinite(v)) put(o, AROUND_REALS[i].name, json_real(v), r);
    }
    return o;
}

int o3_sample_encode_json(const struct o3_sample *s, const char *run_id, struct o3_buf *out) {
    char timestamp[32];
    o3_rfc3339_format(s->wall_ms, timestamp, sizeof timestamp);
    int r = 0;
    O3_AUTO_JSON *o = json_object();
    put(o, "v", json_integer(FORMAT_VERSION), &r);
    put(o, "timestamp", text_value(timestamp), &r);
    put(o, "run_id", text_value(run_id ? run_id : ""), &r);
    put(o, "model", text_value(s->model), &r);
    put(o, "digest", text_value(s->digest), &r);
    put(o, "kind", text_value(o3_probe_kind_name(s->kind)), &r);
    put(o, "outcome", text_value(o3_outcome_name(s->outcome)), &r);
    put(o, "success", success_value(s->outcome), &r);
    put(o, "config", config_value(s, &r), &r);
    put(o, "ttft_ms", ms_value(s->ttft_ns), &r);
    put(o, "tokens_per_sec", real_value(s->decode_tps), &r);
    put(o, "prefill_tokens_per_sec", real_value(s->prefill_tps), &r);
    put(o, "tpot_s", real_value(s->tpot_s), &r);
    put(o, "ram_bytes", count_value(ram_bytes(s)), &r);
    put(o, "vram_bytes", count_value(s->vram_bytes), &r);
    put(o, "flags", flags_value(s->flags, &r), &r);
    put(o, "http_status", json_integer(s->http_status), &r);
    put(o, "wall_ms", json_integer(s->wall_ms), &r);
    put(o, "mono_ns", json_integer(s->mono_ns), &r);
    for (size_t i = 0; i < N_COUNTS; i++) {
        int64_t v;
        memcpy(&v, (const char *)s + COUNTS[i].offset, sizeof v);
        if (v >= 0) put(o, COUNTS[i].name, json_integer(v), &r);
    }
    if (s->acknowledged) put(o, "acknowledged", acknowledged_value(s->acknowledged, &r), &r);
    put(o, "around", around_value(&s->around, &r), &r);
    if (s->detail[0]) put(o, "detail", text_value(s->detail), &r);
    if (r == 0) return o3_json_write(o, out);
    if (!out->err) out->err = r;
    return r;
}

static double take_real(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

static bool take_integer(const json_t *o, const char *key, int64_t *ret) {
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v)) return false;
    *ret = json_integer_value(v);
    return true;
}

static bool take_kind(const json_t *o, enum o3_probe_kind *ret) {
    char name[32];
    o3_json_copy(o, "kind", name, sizeof name);
    for (int i = 0; i < O3_PROBE_KIND_COUNT; i++) {
        *ret = (enum o3_probe_kind)i;
        if (!strcmp(name, o3_probe_kind_name(*ret))) return true;
    }
    return false;
}

static bool take_outcome(const json_t *o, enum o3_outcome *ret) {
    char name[32];
    o3_json_copy(o, "outcome", name, sizeof name);
    for (int i = 0; i < O3_OUTCOME_COUNT; i++) {
        *ret = (enum o3_outcome)i;
        if (!strcmp(name, o3_outcome_name(*ret))) return true;
    }
    return false;
}

static bool take_flags(const json_t *o, uint32_t *ret) {
    const json_t *list = json_object_get(o, "flags");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        uint32_t flag = 0;
        for (size_t k = 0; k < N_FLAGS; k++)
            if (name && !strcmp(name, FLAGS[k].name)) flag = FLAGS[k].flag;
        if (!flag) return false;
        *ret |= flag;
    }
    return json_is_array(list);
}

/* Lines of earlier versions have none. */
static bool take_acknowledged(const json_t *o, uint32_t *ret) {
    const json_t *list = json_object_get(o, "acknowledged");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        enum o3_signal signal;
        if (!name || !o3_signal_parse(name, &signal)) return false;
        *ret |= 1u << signal;
    }
    return !list || json_is_array(list);
}

static void take_around(const json_t *o, struct o3_surroundings *s) {
    o3_surroundings_init(s);
    o3_json_copy(o, "version", s->version, sizeof s->version);
    o3_json_copy(o, "gpu", s->gpu, sizeof s->gpu);
    for (size_t i = 0; i < N_AROUND_INTEGERS; i++) {
        int64_t v;
        if (take_integer(o, AROUND_INTEGERS[i].name, &v)) memcpy((char *)s + AROUND_INTEGERS[i].offset, &v, sizeof v);
    }
    for (size_t i = 0; i < N_AROUND_REALS; i++) {
        double v = take_real(o, AROUND_REALS[i].name);
        memcpy((char *)s + AROUND_REALS[i].offset, &v, sizeof v);
    }
}

static bool take_model(const json_t *o, char out[O3_MODEL_NAME_SIZE]) {
    size_t n;
    const char *s = o3_json_text(o, "model", &n);
    return n < O3_MODEL_NAME_SIZE && !o3_text_has_control(s, n) && o3_str_copy_n(out, O3_MODEL_NAME_SIZE, s, n);
}

static int check_version(const json_t *o, struct o3_err *e) {
    int64_t version;
    if (!take_integer(o, "v", &version) || version < 1)
        return o3_err_set(e, O3_E_PARSE, "not a sample: it has no version");
    if (version > FORMAT_VERSION)
        return o3_err_set(e, O3_E_PARSE, "the sample has format %lld, known is %d", (long long)version, FORMAT_VERSION);
    return 0;
}

int o3_sample_decode_json(const char *line, size_t n, struct o3_sample *ret, struct o3_err *e) {
    O3_AUTO_JSON *o = NULL;
    int r = o3_json_load_object(line, n, &o, e);
    if (r < 0) return r;
    r = check_version(o, e);
    if (r < 0) return r;
    struct o3_sample s = {0};
    if (!take_kind(o, &s.kind)) return o3_err_set(e, O3_E_PARSE, "the sample's kind is unknown");
    if (!take_outcome(o, &s.outcome)) return o3_err_set(e, O3_E_PARSE, "the sample's outcome is unknown");
    if (!take_flags(o, &s.flags)) return o3_err_set(e, O3_E_PARSE, "the sample's flags are unknown");
    if (!take_acknowledged(o, &s.acknowledged))
        return o3_err_set(e, O3_E_PARSE, "the sample's acknowledged signals are unknown");
    if (!take_model(o, s.model)) return o3_err_set(e, O3_E_PARSE, "the sample's model has an unusable name");
    if (!take_integer(o, "wall_ms", &s.wall_ms) || !take_integer(o, "mono_ns", &s.mono_ns))
        return o3_err_set(e, O3_E_PARSE, "the sample has no time");
    o3_json_copy(o, "digest", s.digest, sizeof s.digest);
    o3_json_copy(o, "detail", s.detail, sizeof s.detail);
    int64_t http_status = o3_json_count(o, "http_status");
    s.http_status = http_status >= 0 && http_status <= 999 ? (int)http_status : 0;
    const json_t *config = json_object_get(o, "config");
    s.num_ctx = o3_json_count(config, "num_ctx");
    s.num_batch = o3_json_count(config, "num_batch");
    s.num_predict = o3_json_count(config, "num_predict");
    s.decode_tps = take_real(o, "tokens_per_sec");
    s.prefill_tps = take_real(o, "prefill_tokens_per_sec");
    s.tpot_s = take_real(o, "tpot_s");
    s.vram_bytes = o3_json_count(o, "vram_bytes");
    for (size_t i = 0; i < N_COUNTS; i++) {
        int64_t v = o3_json_count(o, COUNTS[i].name);
        memcpy((char *)&s + COUNTS[i].offset, &v, sizeof v);
    }
    take_around(json_object_get(o, "around"), &s.around);
    *ret = s;
    return 0;
}
