/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/events.h"
#include <math.h>
#include <string.h>
#include "o3/text.h"

enum { MAX_WORDS = 16, WORD_SIZE = 160 };

struct words {
    char text[MAX_WORDS][WORD_SIZE];
    uint32_t col[MAX_WORDS]; /* from 1 */
    size_t n, next;
    uint32_t line, end_col;
    struct o3_err *e;
};

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int split(const char *text, struct words *w) {
    const char *p = text;
    for (;;) {
        while (is_space(*p))
            p++;
        if (!*p || *p == '#') break;
        const char *start = p;
        while (*p && !is_space(*p))
            p++;
        uint32_t col = (uint32_t)(start - text) + 1;
        if (w->n == MAX_WORDS) return o3_err_at(w->e, O3_E_PARSE, w->line, col, "too many words, expected the end");
        if ((size_t)(p - start) >= WORD_SIZE) return o3_err_at(w->e, O3_E_PARSE, w->line, col, "word too long");
        o3_str_copy_n(w->text[w->n], WORD_SIZE, start, (size_t)(p - start));
        w->col[w->n++] = col;
    }
    w->end_col = (uint32_t)(p - text) + 1;
    return 0;
}

static const char *peek(const struct words *w) {
    return w->next < w->n ? w->text[w->next] : NULL;
}

static bool take_word(struct words *w, const char *word) {
    const char *p = peek(w);
    if (!p || strcmp(p, word) != 0) return false;
    w->next++;
    return true;
}

/* Names the word that stands where something else was expected. */
static int expected(const struct words *w, const char *what) {
    const char *p = peek(w);
    if (!p) return o3_err_at(w->e, O3_E_PARSE, w->line, w->end_col, "expected %s, found the end of the line", what);
    return o3_err_at(w->e, O3_E_PARSE, w->line, w->col[w->next], "expected %s, found \"%.64s\"", what, p);
}

bool o3_sim_time_parse(const char *text, int64_t *ret_ns) {
    size_t n = strlen(text);
    char with_unit[48];
    if (n == 0 || n + 2 > sizeof with_unit) return false;
    o3_str_copy(with_unit, sizeof with_unit, text);
    char last = text[n - 1];
    size_t digits = n;
    while (digits > 0 && text[digits - 1] >= '0' && text[digits - 1] <= '9')
        digits--;
    /* "18h20": what follows the hours are minutes, what follows the minutes are seconds. */
    if (last >= '0' && last <= '9' && digits > 0 && (text[digits - 1] == 'h' || text[digits - 1] == 'm')) {
        with_unit[n] = text[digits - 1] == 'h' ? 'm' : 's';
        with_unit[n + 1] = '\0';
    }
    int64_t ms;
    if (!o3_duration_parse(with_unit, &ms) || ms > INT64_MAX / 4 / O3_NS_PER_MS) return false;
    *ret_ns = ms * O3_NS_PER_MS;
    return true;
}

static int take_time(struct words *w, const char *what, int64_t *ret_ns) {
    const char *p = peek(w);
    if (!p || !o3_sim_time_parse(p, ret_ns)) return expected(w, what);
    w->next++;
    return 0;
}

/* A number and its unit, written as one word or two: "-40%", "-40 %", "22 tok/s". */
static bool take_number(struct words *w, double *ret, char unit[16]) {
    const char *p = peek(w);
    if (!p) return false;
    size_t len = 0;
    while (p[len] && strchr("+-.0123456789", p[len]))
        len++;
    char number[32];
    if (len == 0 || len >= sizeof number) return false;
    o3_str_copy_n(number, sizeof number, p, len);
    if (!o3_double_parse(number, ret) || !isfinite(*ret)) return false;
    const char *rest = p + len;
    bool is_split = !*rest && w->next + 1 < w->n;
    if (is_split) rest = w->text[w->next + 1];
    if (!o3_str_copy(unit, 16, rest)) return false;
    w->next += is_split ? 2 : 1;
    return true;
}

static int take_rate(struct words *w, struct o3_sim_event *ev) {
    const char *what = "a change like \"-40 %\" or a rate like \"22 tok/s\"";
    size_t start = w->next;
    const char *p = peek(w);
    bool is_signed = p && (*p == '-' || *p == '+');
    char unit[16];
    double v;
    if (take_number(w, &v, unit)) {
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
    return expected(w, what);
}

static int take_factor(struct words *w, struct o3_sim_event *ev) {
    size_t start = w->next;
    int r = take_rate(w, ev);
    if (r < 0 || !ev->is_absolute) return r;
    w->next = start;
    return expected(w, "a change like \"+50 %\"");
}

static int take_delay(struct words *w, struct o3_sim_event *ev) {
    const char *p = peek(w);
    int64_t ns;
    if (!p || *p != '+' || !o3_sim_time_parse(p + 1, &ns)) return expected(w, "a delay like \"+200ms\"");
    w->next++;
    ev->value = (double)ns;
    return 0;
}

static int take_share(struct words *w, struct o3_sim_event *ev) {
    size_t start = w->next;
    char unit[16];
    double v;
    if (take_number(w, &v, unit) && !strcmp(unit, "%") && v >= 0 && v <= 100) {
        ev->value = v / 100;
        return 0;
    }
    w->next = start;
    return expected(w, "a coefficient of variation like \"8 %\"");
}

static int take_status(struct words *w, struct o3_sim_event *ev) {
    const char *p = peek(w);
    int64_t status;
    if (!p || !o3_int_parse(p, &status) || status < 400 || status > 599) return expected(w, "a status from 400 to 599");
    w->next++;
    ev->value = (double)status;
    return 0;
}

static int take_name(struct words *w, char *out, size_t size, const char *what) {
    const char *p = peek(w);
    if (!p || strlen(p) >= size || !o3_utf8_valid(p, strlen(p))) return expected(w, what);
    w->next++;
    o3_str_copy(out, size, p);
    return 0;
}

static int take_count(struct words *w, int64_t *ret) {
    const char *p = peek(w);
    if (!p || !o3_int_parse(p, ret) || *ret < 1 || *ret > INT32_MAX) return expected(w, "a number of tokens");
    w->next++;
    return 0;
}

static int take_load(struct words *w, struct o3_sim_event *ev) {
    int r = take_name(w, ev->model, sizeof ev->model, "a model's name");
    while (r == 0 && peek(w)) {
        if (take_word(w, "ctx"))
            r = take_count(w, &ev->num_ctx);
        else if (take_word(w, "batch"))
            r = take_count(w, &ev->num_batch);
        else
            break;
    }
    return r;
}

static int take_optional_model(struct words *w, struct o3_sim_event *ev) {
    const char *p = peek(w);
    if (!p || !strcmp(p, "for")) return 0;
    return take_name(w, ev->model, sizeof ev->model, "a model's name");
}

static int take_model(struct words *w, struct o3_sim_event *ev) {
    return take_name(w, ev->model, sizeof ev->model, "a model's name");
}

static int take_killed(struct words *w, struct o3_sim_event *ev) {
    (void)ev;
    return take_word(w, "killed") ? 0 : expected(w, "\"killed\"");
}

static int take_lost(struct words *w, struct o3_sim_event *ev) {
    (void)ev;
    return take_word(w, "lost") ? 0 : expected(w, "\"lost\"");
}

static int take_version(struct words *w, struct o3_sim_event *ev) {
    const char *p = peek(w);
    if (!p || *p < '0' || *p > '9') return expected(w, "a version like \"0.33.0\"");
    return take_name(w, ev->version, sizeof ev->version, "a version like \"0.33.0\"");
}

static int take_nothing(struct words *w, struct o3_sim_event *ev) {
    (void)w;
    (void)ev;
    return 0;
}

static const struct subject {
    const char *word;
    enum o3_sim_change change;
    int (*take)(struct words *w, struct o3_sim_event *ev);
    bool lasts;     /* "for" is allowed */
    bool has_model; /* "model=" is allowed */
} SUBJECTS[] = {
    {"decode", O3_SIM_CHANGE_DECODE, take_rate, true, true},
    {"prefill", O3_SIM_CHANGE_PREFILL, take_rate, true, true},
    {"load-time", O3_SIM_CHANGE_LOAD_TIME, take_factor, true, true},
    {"ttft", O3_SIM_CHANGE_TTFT, take_delay, true, true},
    {"noise", O3_SIM_CHANGE_NOISE, take_share, true, true},
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
enum { N_SUBJECTS = sizeof SUBJECTS / sizeof *SUBJECTS };

static int unknown_subject(struct words *w) {
    const char *p = peek(w);
    if (!p) return expected(w, "what changes, for example \"decode\"");
    const char *nearest = "decode";
    int best = 64;
    for (size_t i = 0; i < N_SUBJECTS; i++) {
        int d = o3_edit_distance(p, SUBJECTS[i].word);
        if (d < best) {
            best = d;
            nearest = SUBJECTS[i].word;
        }
    }
    return o3_err_at(w->e, O3_E_PARSE, w->line, w->col[w->next],
                     "expected what changes, found \"%.64s\"; did you mean \"%s\"?", p, nearest);
}

static const struct subject *take_subject(struct words *w) {
    for (size_t i = 0; i < N_SUBJECTS; i++)
        if (take_word(w, SUBJECTS[i].word)) return &SUBJECTS[i];
    return NULL;
}

static int take_rest(struct words *w, const struct subject *s, struct o3_sim_event *ev) {
    const char *p = peek(w);
    if (s->has_model && p && !strncmp(p, "model=", 6)) {
        if (!p[6] || !o3_str_copy(ev->model, sizeof ev->model, p + 6)) return expected(w, "\"model=NAME\"");
        w->next++;
    }
    if (s->lasts && take_word(w, "for")) {
        int64_t duration_ns;
        int r = take_time(w, "a duration like \"10m\"", &duration_ns);
        if (r < 0) return r;
        ev->until_ns = ev->at_ns + duration_ns;
    }
    if (!peek(w)) return 0;
    if (s->lasts)
        return expected(w,
                        s->has_model ? "\"model=NAME\", \"for DURATION\" or the end" : "\"for DURATION\" or the end");
    return expected(w, "the end of the line");
}

int o3_sim_event_parse(const char *text, uint32_t line, struct o3_sim_event *ret, struct o3_err *e) {
    struct words w = {.line = line, .e = e};
    struct o3_sim_event ev = {.until_ns = INT64_MAX, .num_ctx = -1, .num_batch = -1};
    int r = split(text, &w);
    if (r < 0) return r;
    if (!take_word(&w, "at")) return expected(&w, "\"at\"");
    r = take_time(&w, "a time like \"2m\" or \"18h20\"", &ev.at_ns);
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
