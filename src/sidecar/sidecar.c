/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include "sidecar/internal.h"

#define CLOCK_JUMP_MS 2000
#define BUDGET_KEY "budget"

const char *const SKIP_NAMES[SKIP_COUNT] = {"",           "paused",   "not_loaded", "updated", "options_unknown",
                                            "idle",       "expiring", "budget",     "busy",    "conversation",
                                            "ollama_down"};

void o3_sc_event(struct o3_sidecar *s, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    s->ops.event(s->ops.ctx, ev, f, n);
}

void o3_sc_free_model(struct model *m) {
    for (int i = 0; i < O3_EPOCHS_MAX; i++)
        free(m->epochs[i]);
    free(m);
}

int o3_sidecar_new(const struct o3_sidecar_params *p, struct o3_now now, struct o3_sidecar **ret, struct o3_err *e) {
    struct o3_sidecar *s = calloc(1, sizeof *s);
    if (!s) return o3_err_set(e, O3_E_NOMEM, "no memory for the sidecar");
    s->max_models = (int)p->config->models_max;
    s->models = calloc((size_t)s->max_models, sizeof *s->models);
    if (!s->models) {
        free(s);
        return o3_err_set(e, O3_E_NOMEM, "no memory for %d models", (int)p->config->models_max);
    }
    s->config = p->config;
    s->metrics = p->metrics;
    s->ops = p->ops;
    if (o3_sc_judge_new(s, e) < 0) {
        free(s->models);
        free(s);
        return O3_E_NOMEM;
    }
    o3_rand_seed(&s->rand, p->seed);
    o3_gate_init(&s->gate);
    o3_token_budget_init(&s->budget);
    o3_token_budget_init(&s->haste_tokens);
    o3_token_budget_init(&s->haste_busy_ms);
    s->started_ns = s->version_due_ns = s->ps_due_ns = now.mono_ns;
    s->ps_at_ns = INT64_MIN;
    s->sockets_at_ns = now.mono_ns - O3_NS_PER_S;
    s->next_ticket = 1;
    o3_metric_set(s->metrics, O3_M_OLLAMA_UP, O3_NO_LABELS, 0);
    o3_metric_set(s->metrics, O3_M_OLLAMA_MODELS_LOADED, O3_NO_LABELS, 0);
    o3_metric_set(s->metrics, O3_M_MODELS_OVER_LIMIT, O3_NO_LABELS, 0);
    *ret = s;
    return 0;
}

void o3_sidecar_free(struct o3_sidecar *s) {
    if (!s) return;
    for (int i = 0; i < s->n_models; i++)
        o3_sc_free_model(s->models[i]);
    free(s->models);
    o3_judge_free(s->judge);
    for (int i = 0; i < s->n_restored; i++) {
        free(s->restored[i].key);
        free(s->restored[i].value);
    }
    o3_buf_done(&s->control.body);
    o3_buf_done(&s->ps_text);
    o3_ollama_models_free(s->ps_list);
    o3_buf_done(&s->library_text);
    o3_probe_reply_done(&s->probe.reply);
    free(s);
}

static int index_of_restored(const struct o3_sidecar *s, const char *key) {
    for (int i = 0; i < s->n_restored; i++)
        if (!strcmp(s->restored[i].key, key)) return i;
    return -1;
}

static void drop_restored(struct o3_sidecar *s, int i) {
    struct restored *r = &s->restored[i];
    free(r->key);
    free(r->value);
    s->restored_bytes -= r->n;
    *r = s->restored[--s->n_restored];
}

static void put_restored(struct o3_sidecar *s, const char *key, const char *value, size_t n) {
    int old = index_of_restored(s, key);
    if (old >= 0) drop_restored(s, old);
    if (s->n_restored == O3_RESTORED_MAX || n > O3_RESTORED_BYTES_MAX - s->restored_bytes) return;
    struct restored r = {.key = strdup(key), .value = malloc(n + 1), .n = n};
    if (!r.key || !r.value) {
        free(r.key);
        free(r.value);
        return;
    }
    memcpy(r.value, value, n);
    r.value[n] = '\0';
    s->restored[s->n_restored++] = r;
    s->restored_bytes += n;
}

/* Models with presets are known from the start, loaded or not: their documents belong into the file of all models. */
void o3_sc_save_budget(struct o3_sidecar *s) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 1024);
    if (o3_token_budget_encode(&s->budget, &text) == 0)
        s->ops.save_state(s->ops.ctx, BUDGET_KEY, o3_buf_str(&text), text.len);
    s->n_tokens_unsaved = 0;
}

/* A model of which something is known before it is loaded; NULL when there is no room. */
static struct model *restored_model(struct o3_sidecar *s, const char *name, struct o3_now now) {
    struct o3_ollama_model ps = {
        .size_bytes = -1, .size_vram_bytes = -1, .context_length = -1, .expires_at_ms = -1, .expires_stamp_ms = -1};
    struct model *m = o3_sc_find_model(s, name);
    return m || !o3_str_copy(ps.name, sizeof ps.name, name) ? m : o3_sc_add_model(s, &ps, now);
}

void o3_sidecar_restore(struct o3_sidecar *s, const char *key, const char *value, size_t n, struct o3_now now) {
    static const char PRESET[] = "preset/", WANTED[] = "wanted/";
    if (!strcmp(key, BUDGET_KEY)) {
        (void)o3_token_budget_decode(value, &s->budget);
        return;
    }
    if (o3_sc_restore_haste(s, key, value)) return;
    if (!strncmp(key, WANTED, sizeof WANTED - 1)) {
        struct model *m = restored_model(s, key + sizeof WANTED - 1, now);
        if (m) o3_sc_restore_wanted(s, m, value, n, now);
        return;
    }
    const char *acknowledged = o3_sc_acknowledged_model(key);
    if (acknowledged) {
        struct model *m = restored_model(s, acknowledged, now);
        if (m) o3_sc_restore_acknowledged(m, value);
        return;
    }
    put_restored(s, key, value, n);
    if (strncmp(key, PRESET, sizeof PRESET - 1)) return;
    struct model *m = restored_model(s, key + sizeof PRESET - 1, now);
    if (m && !m->has_published) o3_sc_restore_presets(s, m);
}

bool o3_sc_take_restored(struct o3_sidecar *s, const char *key, struct o3_buf *ret) {
    int i = index_of_restored(s, key);
    if (i < 0) return false;
    bool is_whole = o3_buf_add(ret, s->restored[i].value, s->restored[i].n) == 0;
    drop_restored(s, i);
    return is_whole;
}

const char *o3_sc_find_restored(const struct o3_sidecar *s, const char *key) {
    int i = index_of_restored(s, key);
    return i < 0 ? NULL : s->restored[i].value;
}

void o3_sc_keep_state(struct o3_sidecar *s, const char *key, const char *value, size_t n) {
    s->ops.save_state(s->ops.ctx, key, value, n);
    put_restored(s, key, value, n);
}

bool o3_sc_is_probed(const struct o3_sidecar *s, const struct model *m) {
    return s->probe.id && s->probe.model == m;
}

struct model *o3_sc_find_model(const struct o3_sidecar *s, const char *name) {
    for (int i = 0; i < s->n_models; i++)
        if (!strcmp(s->models[i]->ps.name, name)) return s->models[i];
    return NULL;
}

void o3_sidecar_configure(struct o3_sidecar *s, const struct o3_config_values *config, struct o3_now now) {
    s->config = config;
    o3_sc_offer_soon(s, "the configuration changed");
    o3_sc_judge_configure(s);
    for (int i = 0; i < s->n_models; i++) {
        struct model *m = s->models[i];
        if (!m->is_loaded) continue;
        o3_sc_new_interval(s, m);
        int64_t latest = now.mono_ns + m->interval_ms * O3_NS_PER_MS;
        if (m->base_due_ns > latest) m->base_due_ns = latest;
        if (m->due_ns > latest) m->due_ns = latest;
    }
    if (s->has_version) s->ps_due_ns = now.mono_ns;
}

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int64_t o3_sidecar_deadline_ns(const struct o3_sidecar *s) {
    if (s->is_stopped) return INT64_MAX;
    int64_t t = INT64_MAX;
    if (!s->control.id) t = min64(s->version_due_ns, s->ps_due_ns);
    t = min64(t, o3_sc_schedule_deadline(s));
    return min64(t, o3_sc_publish_deadline(s));
}

/* The wall clock only labels; a jump spoils what compares wall times: expiry, and the sample in flight. */
static void watch_clock(struct o3_sidecar *s, struct o3_now now) {
    int64_t offset = now.wall_ms - now.mono_ns / O3_NS_PER_MS;
    int64_t moved = offset - s->clock_offset_ms;
    bool has_jumped = s->has_clock_offset && (moved > CLOCK_JUMP_MS || moved < -CLOCK_JUMP_MS);
    s->clock_offset_ms = offset;
    s->has_clock_offset = true;
    if (!has_jumped) return;
    s->probe.is_tainted = true;
    for (int i = 0; i < s->n_models; i++) {
        s->models[i]->session_ms = -1;
        s->models[i]->expires_shift_ms += moved;
        s->models[i]->own_finished_wall_ms = 0;
        s->models[i]->is_gap = true;
    }
    O3_SC_EVENT(s, O3_EV_CLOCK_JUMPED, O3_F_DBL("seconds", (double)moved / 1000.0));
}

void o3_sidecar_turn(struct o3_sidecar *s, struct o3_now now) {
    if (s->is_stopped) return;
    o3_sc_resume_incidents(s);
    watch_clock(s, now);
    o3_sc_probe_turn(s, now);
    o3_sc_schedule_turn(s, now);
    o3_sc_control_turn(s, now);
    o3_sc_publish_turn(s, now);
}

void o3_sidecar_data(struct o3_sidecar *s, uint64_t id, int status, const char *bytes, size_t n, int64_t mono_ns) {
    if (id == s->probe.id && id) {
        o3_probe_reply_data(&s->probe.reply, status, bytes, n, mono_ns);
    } else if (id == s->control.id && id) {
        (void)o3_buf_add(&s->control.body, bytes, n);
    }
}

void o3_sidecar_end(struct o3_sidecar *s, uint64_t id, int status, int transport, const char *text, struct o3_now now) {
    if (id == s->probe.id && id)
        o3_sc_probe_end(s, status, transport, text, now);
    else if (id == s->control.id && id)
        o3_sc_control_end(s, status, transport, text, now);
}

void o3_sidecar_lag(struct o3_sidecar *s, int64_t lag_ns) {
    o3_metric_observe(s->metrics, O3_M_LOOP_LAG_SECONDS, O3_NO_LABELS, (double)lag_ns / 1e9);
    /* 20 ms: above every lag that a scrape storm caused, far below what moves a rate by a per cent of a second's probe.
     */
    if (s->probe.id && lag_ns > 20 * O3_NS_PER_MS) s->probe.is_tainted = true;
}

bool o3_sidecar_is_probing(const struct o3_sidecar *s) {
    return s->probe.id != 0;
}

void o3_sidecar_stop(struct o3_sidecar *s, struct o3_now now) {
    if (s->is_stopped) return;
    if (s->probe.id) o3_sc_probe_cancel(s, now);
    if (s->control.id) s->ops.call_cancel(s->ops.ctx, s->control.id);
    s->control.id = 0;
    o3_judge_save(s->judge);
    if (s->n_tokens_unsaved) o3_sc_save_budget(s);
    o3_sc_save_haste(s);
    s->is_stopped = true;
}
