/* SPDX-License-Identifier: Apache-2.0 */
/* The summary of states that a ConfigMap keeps for the next pod: what is small and matters most of what the store
 * holds, as one JSON text of bounded size: {"version", "saved_at", "by", "states"}, the states as base64 of the gzip of
 * a JSON object. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "app/daemon_internal.h"
#include "base/json.h"
#include "io/gzip.h"
#include "o3/base64.h"
#include "o3/configmap.h"

#define VERSION 1
#define WAIT_MAX_MS 30000
#define WAIT_REQUESTS 3 /* that may time out before it is given up */
#define LIST_MAX 512
#define LIST_BYTES_MAX (2u << 20)
#define RAW_BYTES_MAX (256u * 1024) /* of all states, before they are compressed */
#define RAW_BYTES_SURE (20u * 1024) /* which fits, however badly it is compressed */

/* In this order, as long as there is room; of what has numbers in its name the newest first. */
static const struct part {
    const char *prefix, *with;
    size_t max_bytes;
} PARTS[] = {
    {"acknowledged/", "", 4096},
    {"preset/", "", 49152},
    {"told/", "", 4096},
    {"strike/", "", 2048},
    {"budget", "", 256},
    {"judge/model/", "", 65536},
    {"sizes/", "", 8192},
    {"judge/incident/", "", 32768},
    {"judge/series/", "/decode_rate/", RAW_BYTES_MAX},
    {"judge/series/", "/ttft/", RAW_BYTES_MAX},
    {"judge/series/", "/success/", RAW_BYTES_MAX},
    {"judge/series/", "/prefill_rate/", RAW_BYTES_MAX},
    {"judge/series/", "/memory/", RAW_BYTES_MAX},
    {"judge/series/", "/load_time/", RAW_BYTES_MAX},
    {"judge/series/", "/gpu_ratio/", RAW_BYTES_MAX},
    {"judge/series/", "/context/", RAW_BYTES_MAX},
};
enum { N_PARTS = sizeof PARTS / sizeof *PARTS };

/* ---- made ---- */

struct list {
    const struct part *part;
    struct o3_buf entries[LIST_MAX]; /* "key":"value" */
    size_t n, bytes;
};

static void add_entry(void *ctx, const char *key, const char *value, size_t n) {
    struct list *l = ctx;
    if (l->n == LIST_MAX || l->bytes + n > LIST_BYTES_MAX || n >= RAW_BYTES_MAX) return;
    if (!strstr(key, l->part->with) || memchr(value, '\0', n)) return;
    char *text = o3_daemon_copy_bytes(value, n);
    struct o3_buf *b = &l->entries[l->n];
    o3_buf_init(b, RAW_BYTES_MAX);
    o3_buf_add_quoted(b, key);
    o3_buf_add_char(b, ':');
    o3_buf_add_quoted(b, text ? text : "");
    bool is_good = text && !b->err;
    free(text);
    if (!is_good) {
        o3_buf_done(b);
        return;
    }
    l->bytes += b->len;
    l->n++;
}

static void add_part(struct o3_store *store, const struct part *part, size_t max, struct list *l, struct o3_buf *raw) {
    size_t from = raw->len;
    l->part = part;
    l->n = l->bytes = 0;
    if (o3_store_each(store, part->prefix, add_entry, l, NULL) < 0) l->n = 0;
    for (size_t i = l->n; i-- > 0;) {
        const struct o3_buf *b = &l->entries[i];
        if (raw->len + b->len + 2 > max || raw->len - from + b->len > part->max_bytes) continue;
        if (raw->len > 1) o3_buf_add_char(raw, ',');
        o3_buf_add(raw, b->p, b->len);
    }
    for (size_t i = 0; i < l->n; i++)
        o3_buf_done(&l->entries[i]);
}

/* At most so many bytes of states; LIMIT when they are too many all the same. */
static int encode(struct o3_store *store, size_t max, struct list *l, struct o3_buf *out) {
    O3_AUTO_BUF raw;
    O3_AUTO_BUF packed;
    o3_buf_init(&raw, RAW_BYTES_MAX);
    o3_buf_init(&packed, O3_CONFIGMAP_STATE_MAX);
    char time[32];
    o3_buf_add_char(&raw, '{');
    for (int i = 0; i < N_PARTS; i++)
        add_part(store, &PARTS[i], max, l, &raw);
    o3_buf_clear(out);
    if (raw.len <= 1) return 0;
    o3_buf_add_char(&raw, '}');
    int r = raw.err ? raw.err : o3_gzip_encode(o3_buf_str(&raw), raw.len, 9, &packed);
    if (r < 0) return r;
    o3_rfc3339_format(o3_now_read().wall_ms, time, sizeof time);
    o3_buf_addf(out, "{\"version\":%d,\"saved_at\":\"%s\",\"by\":\"%s\",\"states\":\"", VERSION, time, O3_VERSION);
    (void)o3_base64_encode(o3_buf_str(&packed), packed.len, out);
    return o3_buf_adds(out, "\"}");
}

static void run_summary(void *job) {
    struct o3_state_summary *s = job;
    struct list *l = calloc(1, sizeof *l);
    int r = l ? O3_E_LIMIT : O3_E_NOMEM;
    for (size_t max = RAW_BYTES_MAX; r == O3_E_LIMIT && max >= RAW_BYTES_SURE; max -= max / 4)
        r = encode(s->store, max, l, &s->text);
    if (r < 0) o3_buf_clear(&s->text);
    free(l);
}

static void done_summary(void *job) {
    struct o3_state_summary *s = job;
    s->done(s);
}

bool o3_daemon_summarize(struct o3_state_summary *s) {
    s->store = s->daemon->store;
    o3_buf_init(&s->text, O3_CONFIGMAP_STATE_MAX);
    return s->store && o3_loop_submit(s->daemon->loop, run_summary, done_summary, s) == 0;
}

/* ---- taken up ---- */

void o3_daemon_await_state(struct o3_daemon *d) {
    int64_t wait_ms = WAIT_REQUESTS * d->values->kubernetes_timeout_ms;
    if (wait_ms > WAIT_MAX_MS) wait_ms = WAIT_MAX_MS;
    if (!d->n_restored) d->state_until_ns = o3_now_read().mono_ns + wait_ms * O3_NS_PER_MS;
}

bool o3_daemon_awaits_state(struct o3_daemon *d, int64_t now_ns) {
    if (d->state_until_ns && now_ns >= d->state_until_ns) {
        d->state_until_ns = 0;
        d->has_awaited_state = true;
        O3_DAEMON_EVENT(d, O3_EV_STATE_NOT_FOUND, O3_F_STR("why", "the ConfigMap could not be read in time"));
    }
    return d->state_until_ns != 0;
}

/* Only what a summary may hold: the text is as trusted as the object that holds it. */
static size_t take_part(struct o3_daemon *d, const struct part *part, json_t *states) {
    const char *key;
    json_t *value;
    size_t n = 0;
    json_object_foreach(states, key, value) {
        const char *text = json_string_value(value);
        if (!text || strncmp(key, part->prefix, strlen(part->prefix)) != 0 || !strstr(key, part->with)) continue;
        if (strlen(key) > 500) continue;
        size_t len = json_string_length(value);
        o3_sidecar_restore(d->sidecar, key, text, len, o3_now_read());
        o3_daemon_save_state(d, key, text, len); /* so that the next summary has it, too */
        n++;
    }
    return n;
}

static int unpack(const json_t *o, struct json_t **ret) {
    O3_AUTO_BUF packed;
    O3_AUTO_BUF raw;
    size_t n;
    struct o3_err e;
    const char *text = o3_json_text(o, "states", &n);
    o3_buf_init(&packed, O3_CONFIGMAP_STATE_MAX);
    o3_buf_init(&raw, RAW_BYTES_MAX);
    int r = o3_base64_decode(text, n, &packed);
    if (r == 0) r = o3_gzip_decode(o3_buf_str(&packed), packed.len, &raw);
    return r < 0 ? r : o3_json_load_object(o3_buf_str(&raw), raw.len, ret, &e);
}

static const char *take_all(struct o3_daemon *d, const char *text, size_t *ret_n, char *ret_time, size_t size) {
    O3_AUTO_JSON *o = NULL;
    O3_AUTO_JSON *states = NULL;
    struct o3_err e;
    if (!*text) return "the ConfigMap holds none";
    if (o3_json_load_object(text, strlen(text), &o, &e) < 0) return "what the ConfigMap holds is damaged";
    if (o3_json_count(o, "version") != VERSION) return "what the ConfigMap holds is of another version";
    if (unpack(o, &states) < 0) return "what the ConfigMap holds is damaged";
    o3_json_copy(o, "saved_at", ret_time, size);
    for (int i = 0; i < N_PARTS; i++)
        *ret_n += take_part(d, &PARTS[i], states);
    return *ret_n ? NULL : "what the ConfigMap holds is empty";
}

void o3_daemon_state_came(struct o3_daemon *d, const char *text) {
    size_t n = 0;
    char time[48] = "";
    d->state_until_ns = 0;
    d->has_awaited_state = true;
    const char *why = take_all(d, text, &n, time, sizeof time);
    if (why)
        O3_DAEMON_EVENT(d, O3_EV_STATE_NOT_FOUND, O3_F_STR("why", why));
    else
        O3_DAEMON_EVENT(d, O3_EV_STATE_TAKEN_OVER, O3_F_INT("states", (int64_t)n), O3_F_STR("saved_at", time));
}
