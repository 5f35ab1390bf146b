/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/events.h"
#include <string.h>
#include "base/words.h"
#include "o3/text.h"
#include "o3/world.h"

/* ---- what follows a subject ---- */

static int take_rate(struct o3_words *w, struct o3_sim_event *ev) {
    const char *what = "a change like \"-40 %\" or a rate like \"22 tok/s\"";
    size_t start = w->next;
    const char *p = o3_words_peek(w);
    bool is_signed = p && (*p == '-' || *p == '+');
    char unit[16];
    double v;
    if (o3_words_take_number(w, &v, unit)) {
        if (!strcmp(unit, "%") && is_signed && v > -100 && v <= 10000) {
            ev->value = 1 + v / 100;
            return 0;
        }
        if (!strcmp(unit, "tok/s") && !is_signed && v > 0 && v <= 1e6) {
            ev->is_absolute = true;
            ev->value = v;
            return 0;
        }
    }
    w->next = start;
    return o3_words_expected(w, what);
}

static int take_factor(struct o3_words *w, struct o3_sim_event *ev) {
    size_t start = w->next;
    int r = take_rate(w, ev);
    if (r < 0 || !ev->is_absolute) return r;
    w->next = start;
    return o3_words_expected(w, "a change like \"+50 %\"");
}

static int take_delay(struct o3_words *w, struct o3_sim_event *ev) {
    const char *p = o3_words_peek(w);
    int64_t ns;
    if (!p || *p != '+' || !o3_words_time(p + 1, &ns)) return o3_words_expected(w, "a delay like \"+200ms\"");
    w->next++;
    ev->value = (double)ns;
    return 0;
}

static int take_percent(struct o3_words *w, const char *what, double high, double *ret) {
    int r = o3_words_take_quantity(w, what, "%", 0, high, ret);
    *ret /= 100;
    return r;
}

static int take_noise(struct o3_words *w, struct o3_sim_event *ev) {
    int r = take_percent(w, "a coefficient of variation like \"8 %\"", 100, &ev->value);
    if (r < 0 || !o3_words_take(w, "ar")) return r;
    return o3_words_take_double(w, "a correlation from 0 to 0.95", 0, 0.95, &ev->ar);
}

static int take_load_effect(struct o3_words *w, struct o3_sim_event *ev) {
    return take_percent(w, "a coefficient of variation like \"4 %\"", 100, &ev->value);
}

static int take_daily(struct o3_words *w, struct o3_sim_event *ev) {
    return take_percent(w, "a share from 0 to 95 % like \"10 %\"", 95, &ev->value);
}

static int take_neighbour(struct o3_words *w, struct o3_sim_event *ev) {
    return take_percent(w, "a share from 0 to 95 % like \"50 %\"", 95, &ev->value);
}

static int take_decay(struct o3_words *w, struct o3_sim_event *ev) {
    int r = o3_words_take_quantity(w, "a decay from 0 to 99 %/day like \"4 %/day\"", "%/day", 0, 99, &ev->value);
    ev->value /= 100;
    return r;
}

/* The unit may stand in the singular and in the plural. */
static int take_counted(struct o3_words *w, const char *what, const char *const units[2], double low, double high,
                        double *ret) {
    size_t start = w->next;
    char unit[16];
    double v;
    if (o3_words_take_number(w, &v, unit) && (!strcmp(unit, units[0]) || !strcmp(unit, units[1])) && v >= low &&
        v <= high) {
        *ret = v;
        return 0;
    }
    w->next = start;
    return o3_words_expected(w, what);
}

static int take_warm_up(struct o3_words *w, struct o3_sim_event *ev) {
    static const char *const UNITS[] = {"request", "requests"};
    size_t start = w->next;
    const char *what = "a number from 0 to 100 like \"3 requests\"";
    int r = take_counted(w, what, UNITS, 0, 100, &ev->value);
    if (r < 0 || ev->value == (double)(int)ev->value) return r;
    w->next = start;
    return o3_words_expected(w, what);
}

static int take_quota(struct o3_words *w, struct o3_sim_event *ev) {
    static const char *const UNITS[] = {"core", "cores"};
    return take_counted(w, "a number from 0.01 to 1024 like \"4 cores\"", UNITS, 0.01, 1024, &ev->value);
}

static int take_thermal(struct o3_words *w, struct o3_sim_event *ev) {
    return o3_words_take_quantity(w, "a temperature from 30C to 120C like \"83C\"", "C", 30, 120, &ev->value);
}

static int take_ambient(struct o3_words *w, struct o3_sim_event *ev) {
    return o3_words_take_quantity(w, "a temperature from 0C to 60C like \"35C\"", "C", 0, 60, &ev->value);
}

static int take_size(struct o3_words *w, struct o3_sim_event *ev) {
    int64_t bytes = 0;
    int r = o3_words_take_bytes(w, "a size like \"6GiB\"", &bytes);
    ev->value = (double)bytes;
    return r;
}

static int take_oom(struct o3_words *w, struct o3_sim_event *ev) {
    static const char *const WHEN[] = {"load", "fill"};
    ev->change = O3_SIM_CHANGE_OOM_LOAD;
    if (o3_words_take(w, "load")) return 0;
    ev->change = O3_SIM_CHANGE_OOM_FILL;
    if (o3_words_take(w, "fill")) return 0;
    return o3_words_unknown(w, "\"load\" or \"fill\"", WHEN, 2);
}

static int refuse_sidecar(const struct o3_words *w, const char *what) {
    return o3_err_at(w->e, O3_E_PARSE, w->line, w->col[w->next],
                     "\"%s\" befalls the sidecar, not the server: it belongs in a scenario for \"o3 simulate\"", what);
}

static int take_disk(struct o3_words *w, struct o3_sim_event *ev) {
    static const char *const HOW[] = {"slow", "full", "read-only"};
    const char *p = o3_words_peek(w);
    if (p && (!strcmp(p, "full") || !strcmp(p, "read-only"))) {
        w->next--;
        return refuse_sidecar(w, *p == 'f' ? "disk full" : "disk read-only");
    }
    if (!o3_words_take(w, "slow")) return o3_words_unknown(w, "\"slow\"", HOW, 3);
    return o3_words_take_quantity(w, "a factor from 1x to 1000x like \"20x\"", "x", 1, 1000, &ev->value);
}

static int take_status(struct o3_words *w, struct o3_sim_event *ev) {
    int64_t status = 0;
    int r = o3_words_take_int(w, "a status from 400 to 599", 400, 599, &status);
    ev->value = (double)status;
    return r;
}

static int take_model(struct o3_words *w, struct o3_sim_event *ev) {
    return o3_words_take_name(w, "a model's name", ev->model, sizeof ev->model);
}

static int take_load(struct o3_words *w, struct o3_sim_event *ev) {
    const char *what = "a number of tokens";
    int r = take_model(w, ev);
    while (r == 0 && o3_words_peek(w)) {
        if (o3_words_take(w, "ctx"))
            r = o3_words_take_int(w, what, 1, INT32_MAX, &ev->num_ctx);
        else if (o3_words_take(w, "batch"))
            r = o3_words_take_int(w, what, 1, INT32_MAX, &ev->num_batch);
        else
            break;
    }
    return r;
}

static int take_optional_model(struct o3_words *w, struct o3_sim_event *ev) {
    const char *p = o3_words_peek(w);
    return !p || !strcmp(p, "for") ? 0 : take_model(w, ev);
}

static int take_killed(struct o3_words *w, struct o3_sim_event *ev) {
    (void)ev;
    return o3_words_take(w, "killed") ? 0 : o3_words_expected(w, "\"killed\"");
}

static int take_lost(struct o3_words *w, struct o3_sim_event *ev) {
    if (!o3_words_take(w, "lost")) return o3_words_expected(w, "\"lost\"");
    ev->is_unseen = o3_words_take(w, "unseen");
    return 0;
}

static int take_version(struct o3_words *w, struct o3_sim_event *ev) {
    const char *what = "a version like \"0.33.0\"", *p = o3_words_peek(w);
    if (!p || *p < '0' || *p > '9') return o3_words_expected(w, what);
    return o3_words_take_name(w, what, ev->version, sizeof ev->version);
}

static int take_nothing(struct o3_words *w, struct o3_sim_event *ev) {
    (void)w;
    (void)ev;
    return 0;
}

static const struct subject {
    const char *word;
    enum o3_sim_change change;
    int (*take)(struct o3_words *w, struct o3_sim_event *ev);
    bool lasts;     /* "for" is allowed */
    bool has_model; /* "model=" is allowed */
} SUBJECTS[] = {
    {"decode", O3_SIM_CHANGE_DECODE, take_rate, true, true},
    {"prefill", O3_SIM_CHANGE_PREFILL, take_rate, true, true},
    {"load-time", O3_SIM_CHANGE_LOAD_TIME, take_factor, true, true},
    {"ttft", O3_SIM_CHANGE_TTFT, take_delay, true, true},
    {"noise", O3_SIM_CHANGE_NOISE, take_noise, true, true},
    {"load-effect", O3_SIM_CHANGE_LOAD_EFFECT, take_load_effect, true, true},
    {"warm-up", O3_SIM_CHANGE_WARM_UP, take_warm_up, true, true},
    {"daily", O3_SIM_CHANGE_DAILY, take_daily, true, false},
    {"decay", O3_SIM_CHANGE_DECAY, take_decay, true, false},
    {"thermal", O3_SIM_CHANGE_THERMAL, take_thermal, true, false},
    {"ambient", O3_SIM_CHANGE_AMBIENT, take_ambient, true, false},
    {"quota", O3_SIM_CHANGE_QUOTA, take_quota, true, false},
    {"neighbour", O3_SIM_CHANGE_NEIGHBOUR, take_neighbour, true, false},
    {"tenant", O3_SIM_CHANGE_TENANT, take_size, true, false},
    {"memory-limit", O3_SIM_CHANGE_MEMORY_LIMIT, take_size, true, false},
    {"disk", O3_SIM_CHANGE_SLOW_DISK, take_disk, true, false},
    {"oom", O3_SIM_CHANGE_OOM_LOAD, take_oom, true, true},
    {"http", O3_SIM_CHANGE_HTTP, take_status, true, false},
    {"hang", O3_SIM_CHANGE_HANG, take_nothing, true, false},
    {"freeze", O3_SIM_CHANGE_FREEZE, take_nothing, true, false},
    {"refuse", O3_SIM_CHANGE_REFUSE, take_nothing, true, false},
    {"truncate-stream", O3_SIM_CHANGE_TRUNCATE, take_nothing, true, false},
    {"malformed", O3_SIM_CHANGE_MALFORMED, take_nothing, true, false},
    {"unload", O3_SIM_CHANGE_UNLOAD, take_optional_model, false, false},
    {"load", O3_SIM_CHANGE_LOAD, take_load, false, false},
    {"update", O3_SIM_CHANGE_UPDATE, take_model, false, false},
    {"runner", O3_SIM_CHANGE_RUNNER_KILLED, take_killed, false, true},
    {"gpu", O3_SIM_CHANGE_GPU_LOST, take_lost, true, false},
    {"version", O3_SIM_CHANGE_VERSION, take_version, false, false},
    {"restart", O3_SIM_CHANGE_RESTART, take_nothing, false, false},
};
/* They befall the sidecar: the parser of scenarios knows them. */
static const char *const SIDECAR_SUBJECTS[] = {"sidecar", "clock", "pool", "foreign"};
enum {
    N_SUBJECTS = sizeof SUBJECTS / sizeof *SUBJECTS,
    N_SIDECAR_SUBJECTS = sizeof SIDECAR_SUBJECTS / sizeof *SIDECAR_SUBJECTS
};

static int unknown_subject(struct o3_words *w) {
    const char *p = o3_words_peek(w);
    if (!p) return o3_words_expected(w, "what changes, for example \"decode\"");
    for (size_t i = 0; i < N_SIDECAR_SUBJECTS; i++)
        if (!strcmp(p, SIDECAR_SUBJECTS[i])) return refuse_sidecar(w, p);
    if (!strcmp(p, "expect"))
        return o3_err_at(w->e, O3_E_PARSE, w->line, w->col[w->next],
                         "\"expect\" tells of the sidecar, not of the server: it belongs in a scenario");
    const char *names[N_SUBJECTS + N_SIDECAR_SUBJECTS];
    for (size_t i = 0; i < N_SUBJECTS; i++)
        names[i] = SUBJECTS[i].word;
    for (size_t i = 0; i < N_SIDECAR_SUBJECTS; i++)
        names[N_SUBJECTS + i] = SIDECAR_SUBJECTS[i];
    return o3_words_unknown(w, "what changes", names, N_SUBJECTS + N_SIDECAR_SUBJECTS);
}

static const struct subject *take_subject(struct o3_words *w) {
    for (size_t i = 0; i < N_SUBJECTS; i++)
        if (o3_words_take(w, SUBJECTS[i].word)) return &SUBJECTS[i];
    return NULL;
}

static int take_rest(struct o3_words *w, const struct subject *s, struct o3_sim_event *ev) {
    const char *p = o3_words_peek(w);
    if (s->has_model && p && !strncmp(p, "model=", 6)) {
        if (!p[6] || !o3_str_copy(ev->model, sizeof ev->model, p + 6)) return o3_words_expected(w, "\"model=NAME\"");
        w->next++;
    }
    if (s->lasts && o3_words_take(w, "for")) {
        int64_t duration_ns;
        int r = o3_words_take_time(w, "a duration like \"10m\"", &duration_ns);
        if (r < 0) return r;
        ev->until_ns = ev->at_ns + duration_ns;
    }
    if (!o3_words_peek(w)) return 0;
    if (s->lasts)
        return o3_words_expected(w, s->has_model ? "\"model=NAME\", \"for DURATION\" or the end"
                                                 : "\"for DURATION\" or the end");
    return o3_words_end(w);
}

int o3_sim_event_parse(const char *text, uint32_t line, struct o3_sim_event *ret, struct o3_err *e) {
    struct o3_words w;
    struct o3_sim_event ev = {.until_ns = INT64_MAX, .num_ctx = -1, .num_batch = -1};
    int r = o3_words_split(&w, text, strlen(text), line, e);
    if (r < 0) return r;
    if (!o3_words_take(&w, "at")) return o3_words_expected(&w, "\"at\"");
    r = o3_words_take_time(&w, "a time like \"2m\" or \"18h20\"", &ev.at_ns);
    if (r < 0) return r;
    const struct subject *s = take_subject(&w);
    if (!s) return unknown_subject(&w);
    ev.change = s->change;
    r = s->take(&w, &ev);
    if (r == 0) r = take_rest(&w, s, &ev);
    if (r < 0) return r;
    *ret = ev;
    return 0;
}

int o3_world_check_event(const char *line, uint32_t number, int64_t *ret_at_ns, struct o3_err *e) {
    struct o3_sim_event ev;
    int r = o3_sim_event_parse(line, number, &ev, e);
    if (r == 0 && ret_at_ns) *ret_at_ns = ev.at_ns;
    return r;
}
