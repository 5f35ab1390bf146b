/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept besides the series: a model's settings and the comparisons that wait, its trail of samples, incidents.
 * A state that makes no sense is as none. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "judge/codec.h"
#include "judge/parts.h"
#include "o3/text.h"

#define VERSION 1
#define MODEL_VERSION 3
#define INCIDENT_VERSION 4 /* 1 to 3 are read, too: without is_unproven, grown_ms, the names of before */
#define STATE_BYTES_MAX (256 * 1024)
#define TRAIL_BYTES_USUAL (60 * 1024)
#define ANY INT64_MIN, INT64_MAX
#define COUNT_MAX (INT64_C(1) << 60)

bool o3_judge_saves(const struct o3_judge *j) {
    return (j->ops.save && !j->is_recalling) || (j->is_keeping && (j->ops.keep || j->ops.save));
}

void o3_judge_put(const struct o3_judge *j, const char *key, const char *value, size_t n) {
    if (j->is_keeping && j->ops.keep)
        j->ops.keep(j->ops.ctx, key, value, n);
    else if (j->ops.save)
        j->ops.save(j->ops.ctx, key, value, n);
}

static void save(const struct o3_judge *j, const char *key, const struct o3_buf *text) {
    if (!text->err) o3_judge_put(j, key, o3_buf_str(text), text->len);
}

/* The text of a state, to be read by c; false when there is none. */
static bool take(const struct o3_judge *j, const char *key, struct o3_buf *text, struct codec *c) {
    if (!j->ops.take || !j->ops.take(j->ops.ctx, key, text)) return false;
    *c = (struct codec){.r = {.p = o3_buf_str(text), .end = o3_buf_str(text) + text->len}};
    return true;
}

static int64_t head(struct codec *c, const char *what, int64_t oldest, int64_t version) {
    o3_codec_name(c, what);
    int64_t found = version;
    o3_codec_int(c, &found, oldest, version);
    return found;
}

/* ---- settings ---- */

static void identity(struct codec *c, struct identity *k) {
    o3_codec_text(c, k->digest, sizeof k->digest);
    o3_codec_text(c, k->version, sizeof k->version);
    o3_codec_text(c, k->gpu, sizeof k->gpu);
    o3_codec_int(c, &k->num_ctx, ANY);
    o3_codec_int(c, &k->num_batch, ANY);
    o3_codec_int(c, &k->parallel, ANY);
}

static void setting(struct codec *c, struct setting *g) {
    o3_codec_int(c, &g->id, 1, COUNT_MAX);
    o3_codec_int(c, &g->used, 0, COUNT_MAX);
    identity(c, &g->key);
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
        for (int i = 0; i < O3_JUDGE_COMPARED; i++)
            o3_codec_int(c, &g->compared[sig][i], 0, COUNT_MAX);
}

/* Empty places stay empty, so that the order in them is the same after a restart. */
static void settings(struct codec *c, struct setting **v, int n, struct setting **present) {
    for (int i = 0; i < n; i++) {
        bool is_there = v[i] != NULL, is_present = is_there && v[i] == *present;
        O3_CODEC(c, is_there, 0, 1);
        O3_CODEC(c, is_present, 0, 1);
        if (!is_there || c->r.is_bad) continue;
        if (!c->out && !(v[i] = calloc(1, sizeof *v[i]))) {
            c->r.is_bad = true;
            continue;
        }
        setting(c, v[i]);
        if (is_present) *present = v[i];
    }
}

static void level(struct codec *c, struct level *l) {
    o3_codec_double(c, &l->mean);
    o3_codec_double(c, &l->sd);
    o3_codec_double(c, &l->rho);
    o3_codec_double(c, &l->drifted);
    o3_codec_int(c, &l->n, 1, COUNT_MAX);
}

static void pending(struct codec *c, struct pending *p) {
    O3_CODEC(c, p->is_set, 0, 1);
    if (!p->is_set) return;
    O3_CODEC(c, p->is_ours, 0, 1);
    o3_codec_int(c, &p->from_id, 1, COUNT_MAX);
    o3_codec_int(c, &p->wall_ms, ANY);
    identity(c, &p->from);
    level(c, &p->before);
}

static void release(struct codec *c, struct model *m, enum o3_signal sig, int kind) {
    struct o3_release *r = m->releases[sig][kind];
    bool is_set = r != NULL;
    O3_CODEC(c, is_set, 0, 1);
    if (!is_set || c->r.is_bad) return;
    if (!r && !(r = m->releases[sig][kind] = calloc(1, sizeof *r))) {
        c->r.is_bad = true;
        return;
    }
    if (!c->out) o3_str_copy(r->model, sizeof r->model, m->name);
    r->signal = sig;
    r->reason = o3_release_reason(kind);
    o3_codec_text(c, r->from, sizeof r->from);
    o3_codec_text(c, r->to, sizeof r->to);
    o3_codec_text(c, r->reasons, sizeof r->reasons);
    int64_t *const ints[] = {&r->wall_ms, &r->n_before, &r->n_after};
    double *const doubles[] = {&r->before, &r->after, &r->change_ratio, &r->change_lo, &r->change_hi, &r->drifted};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        o3_codec_int(c, ints[i], ANY);
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++)
        o3_codec_double(c, doubles[i]);
    O3_CODEC(c, r->is_ours, 0, 1);
}

static void model(struct codec *c, struct model *m) {
    char name[O3_MODEL_NAME_SIZE];
    memcpy(name, m->name, sizeof name);
    head(c, "o3judge_model", MODEL_VERSION, MODEL_VERSION);
    o3_codec_text(c, name, sizeof name);
    if (strcmp(name, m->name) != 0) c->r.is_bad = true;
    o3_codec_int(c, &m->next_id, 1, COUNT_MAX);
    o3_codec_int(c, &m->n_switches, 0, COUNT_MAX);
    o3_codec_int(c, &m->n_here, 0, COUNT_MAX);
    O3_CODEC(c, m->has_come_back, 0, 1);
    O3_CODEC(c, m->has_seen, 0, 1);
    o3_codec_int(c, &m->seen_wall_ms, ANY);
    o3_codec_int(c, &m->seen_mono_ns, ANY);
    settings(c, m->epochs, O3_JUDGE_EPOCHS, &m->epoch);
    settings(c, m->digests, O3_JUDGE_DIGESTS, &m->digest);
    for (int i = 0; i < O3_SIGNAL_COUNT; i++)
        pending(c, &m->pending[i]);
    for (int i = 0; i < O3_SIGNAL_COUNT; i++)
        for (int kind = 0; kind < O3_RELEASE_REASONS; kind++)
            release(c, m, (enum o3_signal)i, kind);
    o3_codec_name(c, "end");
}

static void model_key(const struct model *m, char out[80]) {
    snprintf(out, 80, "judge/model/%s", m->hash);
}

void o3_judge_save_model(const struct o3_judge *j, struct model *m) {
    if (!o3_judge_saves(j)) return;
    O3_AUTO_BUF text;
    o3_buf_init(&text, STATE_BYTES_MAX);
    char key[80];
    model_key(m, key);
    model(&(struct codec){.out = &text}, m);
    save(j, key, &text);
    m->is_unsaved = m->has_news = false;
}

void o3_judge_forget_settings(struct model *m) {
    memset(m->epochs, 0, sizeof m->epochs);
    memset(m->digests, 0, sizeof m->digests);
    memset(m->pending, 0, sizeof m->pending);
    memset(m->releases, 0, sizeof m->releases);
    m->epoch = m->digest = NULL;
    m->next_id = 1;
    m->n_switches = m->n_here = 0;
    m->has_come_back = m->has_seen = false;
}

static void say_lost(struct model *m, const struct o3_buf *text, const char *what, int version) {
    struct o3_state_reader r = {.p = o3_buf_str(text), .end = o3_buf_str(text) + text->len};
    struct o3_err e = {0};
    bool is_other = o3_state_read_head(&r, what, version, &e) < 0;
    if (is_other)
        o3_str_copy(m->lost, sizeof m->lost, e.text);
    else
        snprintf(m->lost, sizeof m->lost, "%s state is damaged", what);
}

void o3_judge_take_model(const struct o3_judge *j, struct model *m) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, STATE_BYTES_MAX);
    char key[80];
    struct codec c;
    model_key(m, key);
    if (!take(j, key, &text, &c)) return;
    model(&c, m);
    m->has_lost_state = c.r.is_bad;
    if (c.r.is_bad) {
        say_lost(m, &text, "o3judge_model", MODEL_VERSION);
        o3_judge_free_settings(m);
        o3_judge_forget_settings(m);
    }
    if (m->epoch) o3_series_load(j, m, m->epoch);
    if (m->digest) o3_series_load(j, m, m->digest);
    struct setting *any = o3_judge_setting(m, O3_SIGNAL_SUCCESS);
    if (any) o3_series_load(j, m, any);
}

/* ---- trail ---- */

/* Most samples have the texts of the one before. */
static void text_or_same(struct codec *c, char *v, const char *before, size_t size) {
    bool is_same = before && !strcmp(v, before);
    O3_CODEC(c, is_same, 0, before ? 1 : 0);
    if (!is_same)
        o3_codec_text(c, v, size);
    else if (!c->out)
        memcpy(v, before, size);
}

static void surroundings(struct codec *c, struct o3_surroundings *a, const struct o3_surroundings *before) {
    text_or_same(c, a->version, before ? before->version : NULL, sizeof a->version);
    text_or_same(c, a->gpu, before ? before->gpu : NULL, sizeof a->gpu);
    int64_t *const ints[] = {&a->parallel,        &a->preset_num_ctx, &a->loaded_wall_ms, &a->weight_bytes,
                             &a->interval_ms,     &a->n_models,       &a->n_loads,        &a->n_user_requests,
                             &a->swapped_bytes,   &a->n_throttled,    &a->n_quota,        &a->memory_available_bytes,
                             &a->other_vram_bytes};
    double *const doubles[] = {&a->bandwidth_bytes_per_s, &a->pressure_cpu, &a->pressure_memory, &a->pressure_io};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        o3_codec_int(c, ints[i], ANY);
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++)
        o3_codec_double(c, doubles[i]);
}

static void trail_sample(struct codec *c, struct o3_sample *s, const struct o3_sample *before) {
    text_or_same(c, s->digest, before ? before->digest : NULL, sizeof s->digest);
    O3_CODEC(c, s->kind, 0, O3_PROBE_KIND_COUNT - 1);
    O3_CODEC(c, s->outcome, 0, O3_OUTCOME_COUNT - 1);
    O3_CODEC(c, s->flags, 0, UINT32_MAX);
    int64_t *const ints[] = {&s->wall_ms,        &s->mono_ns,   &s->num_ctx,           &s->num_batch,  &s->num_predict,
                             &s->ttft_ns,        &s->ttfc_ns,   &s->wall_ns,           &s->total_ns,   &s->load_ns,
                             &s->prompt_eval_ns, &s->eval_ns,   &s->prompt_eval_count, &s->eval_count, &s->queue_ns,
                             &s->size_bytes,     &s->vram_bytes};
    double *const doubles[] = {&s->decode_tps, &s->prefill_tps, &s->tpot_s};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        o3_codec_int(c, ints[i], ANY);
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++)
        o3_codec_double(c, doubles[i]);
    surroundings(c, &s->around, before ? &before->around : NULL);
}

static void trail(struct codec *c, struct model *m) {
    head(c, "o3judge_trail", VERSION, VERSION);
    O3_CODEC(c, m->n_trail, 0, O3_JUDGE_TRAIL);
    for (size_t i = 0; i < m->n_trail && !c->r.is_bad; i++) {
        if (!c->out) memcpy(m->trail[i].model, m->name, sizeof m->name);
        trail_sample(c, &m->trail[i], i ? &m->trail[i - 1] : NULL);
    }
    o3_codec_name(c, "end");
}

static void trail_key(const struct model *m, char out[80]) {
    snprintf(out, 80, "judge/trail/%s", m->hash);
}

void o3_judge_save_trail(const struct o3_judge *j, struct model *m) {
    if (!o3_judge_saves(j) || !m->trail) return;
    O3_AUTO_BUF text;
    o3_buf_init(&text, STATE_BYTES_MAX);
    char key[80];
    trail_key(m, key);
    (void)o3_buf_reserve(&text, TRAIL_BYTES_USUAL);
    trail(&(struct codec){.out = &text}, m);
    save(j, key, &text);
    m->n_trail_unsaved = 0;
}

void o3_judge_take_trail(const struct o3_judge *j, struct model *m) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, STATE_BYTES_MAX);
    char key[80];
    struct codec c;
    trail_key(m, key);
    if (!take(j, key, &text, &c)) return;
    m->trail = calloc(O3_JUDGE_TRAIL, sizeof *m->trail);
    if (!m->trail) return;
    trail(&c, m);
    if (!c.r.is_bad) return;
    m->n_trail = 0;
    say_lost(m, &text, "o3judge_trail", VERSION);
}

/* ---- incidents ---- */

static void report(struct codec *c, struct o3_drift_report *r) {
    O3_CODEC(c, r->event, 0, O3_DRIFT_EV_RECOVERED);
    O3_CODEC(c, r->direction, -1, 1);
    O3_CODEC(c, r->is_slow, 0, 1);
    O3_CODEC(c, r->season_known, 0, 1);
    O3_CODEC(c, r->n_since, INT32_MIN, INT32_MAX);
    int64_t *const ints[] = {&r->change_wall_ms, &r->change_lo_ms, &r->change_hi_ms,
                             &r->change_index,   &r->index,        &r->baseline_n};
    double *const doubles[] = {&r->reference, &r->level,     &r->change_ratio, &r->change_lo,
                               &r->change_hi, &r->statistic, &r->threshold,    &r->baseline_sd_ratio};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        o3_codec_int(c, ints[i], ANY);
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++)
        o3_codec_double(c, doubles[i]);
}

static void member(struct codec *c, struct o3_incident_member *x, int64_t version) {
    o3_codec_text(c, x->verdict.model, sizeof x->verdict.model);
    O3_CODEC(c, x->verdict.signal, 0, O3_SIGNAL_COUNT - 1);
    O3_CODEC(c, x->verdict.stratum, 0, O3_STRATUM_COUNT - 1);
    report(c, &x->verdict.report);
    o3_codec_double(c, &x->verdict.budget_ms);
    O3_CODEC(c, x->end, 0, O3_MEMBER_UNSEEN);
    x->is_over = x->end != O3_MEMBER_STANDS;
    o3_codec_int(c, &x->setting, 0, COUNT_MAX);
    o3_codec_int(c, &x->seen_ms, ANY);
    if (version > 1) O3_CODEC(c, x->is_unproven, 0, 1);
}

static void circumstances(struct codec *c, struct o3_circumstances *x) {
    O3_CODEC(c, x->n_samples, 0, INT32_MAX);
    o3_codec_int(c, &x->from_wall_ms, ANY);
    o3_codec_int(c, &x->to_wall_ms, ANY);
    o3_codec_text(c, x->version, sizeof x->version);
    o3_codec_text(c, x->digest, sizeof x->digest);
    o3_codec_text(c, x->gpu, sizeof x->gpu);
    double *const doubles[] = {&x->gpu_ratio,
                               &x->num_ctx,
                               &x->size_bytes,
                               &x->preset_num_ctx,
                               &x->other_vram_bytes,
                               &x->memory_available_bytes,
                               &x->pressure_cpu,
                               &x->pressure_memory,
                               &x->pressure_io,
                               &x->queue_s,
                               &x->loads_per_h,
                               &x->user_requests_per_h,
                               &x->swapped_bytes_per_s,
                               &x->throttled_per_h,
                               &x->quota_per_h,
                               &x->efficiency,
                               &x->decode_tps,
                               &x->bytes_per_token,
                               &x->uptime_s,
                               &x->line.hours,
                               &x->line.log_rate,
                               &x->line.hours2,
                               &x->line.product,
                               &x->line.log_rate2};
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++)
        o3_codec_double(c, doubles[i]);
    O3_CODEC(c, x->n_loads, 0, INT32_MAX);
    O3_CODEC(c, x->line.n, 0, O3_CIRCUMSTANCES_MAX);
}

/* One, and it was not said of which model: of several there is no telling, and it is taken from the trail again. */
static void older_before(struct codec *c, struct kept_incident *k) {
    const struct o3_incident *i = &k->i;
    const char *model = i->member[0].verdict.model;
    bool is_its = true;
    circumstances(c, &k->before[0].around);
    for (int n = 1; n < i->n_members; n++)
        is_its &= !strcmp(i->member[n].verdict.model, model);
    o3_str_copy(k->before[0].model, sizeof k->before[0].model, model);
    k->n_before = is_its && k->before[0].around.n_samples > 0;
}

static void all_before(struct codec *c, struct kept_incident *k) {
    O3_CODEC(c, k->n_before, 0, O3_INCIDENT_MEMBERS_MAX);
    for (int n = 0; n < k->n_before && !c->r.is_bad; n++) {
        o3_codec_text(c, k->before[n].model, sizeof k->before[n].model);
        circumstances(c, &k->before[n].around);
    }
}

static void incident(struct codec *c, struct kept_incident *k) {
    struct o3_incident *i = &k->i;
    int64_t version = head(c, "o3judge_incident", VERSION, INCIDENT_VERSION);
    o3_codec_int(c, &i->id, 1, COUNT_MAX);
    O3_CODEC(c, i->is_open, 0, 1);
    int64_t *const times[] = {&i->opened_wall_ms, &i->closed_wall_ms, &i->since_ms, &i->since_lo_ms, &i->since_hi_ms};
    for (size_t n = 0; n < sizeof times / sizeof *times; n++)
        o3_codec_int(c, times[n], ANY);
    O3_CODEC(c, i->n_left_out, 0, INT32_MAX);
    O3_CODEC(c, i->n_members, 1, O3_INCIDENT_MEMBERS_MAX);
    for (int n = 0; n < i->n_members && !c->r.is_bad; n++)
        member(c, &i->member[n], version);
    O3_CODEC(c, i->n_causes, 0, O3_CAUSES_MAX);
    for (int n = 0; n < i->n_causes && !c->r.is_bad; n++) {
        O3_CODEC(c, i->cause[n].cause, 0, O3_CAUSE_COUNT - 1);
        o3_codec_double(c, &i->cause[n].weight);
        o3_codec_text(c, i->cause[n].evidence, sizeof i->cause[n].evidence);
    }
    o3_codec_text(c, i->text, sizeof i->text);
    if (version > 3)
        all_before(c, k);
    else
        older_before(c, k);
    if (version > 2) o3_codec_int(c, &i->grown_ms, ANY);
    o3_codec_name(c, "end");
}

/* As many places as incidents are kept: a new one takes that of the one that is given up. */
static void incident_key(int64_t id, char out[80]) {
    snprintf(out, 80, "judge/incident/%02d", (int)(id % O3_INCIDENTS_MAX));
}

void o3_judge_save_incident(const struct o3_judge *j, struct kept_incident *k) {
    if (!o3_judge_saves(j)) return;
    O3_AUTO_BUF text;
    o3_buf_init(&text, STATE_BYTES_MAX);
    char key[80];
    incident_key(k->i.id, key);
    incident(&(struct codec){.out = &text}, k);
    save(j, key, &text);
    k->is_seen_unsaved = false;
}

static bool is_of(const struct o3_incident *i, const char *name) {
    for (int n = 0; n < i->n_members; n++)
        if (!strcmp(i->member[n].verdict.model, name)) return true;
    return false;
}

void o3_judge_save_seen(const struct o3_judge *j, const struct model *m) {
    for (int n = 0; n < j->n_incidents; n++) {
        struct kept_incident *k = j->incidents[n];
        if (k->is_seen_unsaved && (!m || is_of(&k->i, m->name))) o3_judge_save_incident(j, k);
    }
}

static struct kept_incident *take_incident(const struct o3_judge *j, int slot) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, STATE_BYTES_MAX);
    char key[80];
    struct codec c;
    incident_key(slot, key);
    if (!take(j, key, &text, &c)) return NULL;
    struct kept_incident *k = calloc(1, sizeof *k);
    if (!k) return NULL;
    incident(&c, k);
    if (!c.r.is_bad && k->i.id % O3_INCIDENTS_MAX == slot) return k;
    free(k);
    return NULL;
}

void o3_judge_take_incidents(struct o3_judge *j) {
    for (int slot = 0; slot < O3_INCIDENTS_MAX; slot++) {
        struct kept_incident *k = take_incident(j, slot);
        if (!k) continue;
        int at = j->n_incidents++;
        for (; at > 0 && j->incidents[at - 1]->i.id > k->i.id; at--)
            j->incidents[at] = j->incidents[at - 1];
        j->incidents[at] = k;
        if (k->i.id >= j->next_incident) j->next_incident = k->i.id + 1;
    }
}
