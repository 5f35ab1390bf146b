/* SPDX-License-Identifier: Apache-2.0 */
/* Lines about what holds from the start: world, load, users, config. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/config.h"
#include "o3/text.h"
#include "rehearsal/grammar.h"

/* ---- world ---- */

static int take_seed(struct o3_grammar *g) {
    int64_t seed = 0;
    int r = o3_words_take_int(&g->w, "a number from 0", 0, INT64_MAX, &seed);
    g->s->world.seed = (uint64_t)seed;
    g->s->has_seed = r == 0;
    return r;
}

static int take_gpu(struct o3_grammar *g) {
    g->s->world.has_gpu = true;
    return o3_words_take_bytes(&g->w, "a size like \"24GiB\"", &g->s->world.vram_bytes);
}

static int take_ram(struct o3_grammar *g) {
    return o3_words_take_bytes(&g->w, "a size like \"32GiB\"", &g->s->world.ram_bytes);
}

static int take_version(struct o3_grammar *g) {
    const char *what = "a version like \"0.33.0\"", *p = o3_words_peek(&g->w);
    if (!p || *p < '0' || *p > '9') return o3_words_expected(&g->w, what);
    g->s->world.version = g->s->version;
    return o3_words_take_name(&g->w, what, g->s->version, sizeof g->s->version);
}

static int take_number(struct o3_grammar *g, const char *what, int64_t high, int *ret) {
    int64_t v = 0;
    int r = o3_words_take_int(&g->w, what, 1, high, &v);
    if (r == 0) *ret = (int)v;
    return r;
}

static int take_parallel(struct o3_grammar *g) {
    return take_number(g, "a number of requests from 1 to 64", O3_WORLD_PARALLEL_MAX, &g->s->world.parallel);
}

static int take_max_queue(struct o3_grammar *g) {
    return take_number(g, "a number of requests from 1", 1000000, &g->s->world.max_queue);
}

static int take_cores(struct o3_grammar *g) {
    return take_number(g, "a number of cores from 1 to 1024", 1024, &g->s->world.cores);
}

static int take_keep_alive(struct o3_grammar *g) {
    const char *what = "a duration like \"5m\", or -1 for ever";
    if (o3_words_take(&g->w, "-1")) {
        g->s->world.keep_alive_ms = -1;
        return 0;
    }
    int64_t ns;
    int r = o3_words_take_time(&g->w, what, &ns);
    if (r < 0) return r;
    g->s->world.keep_alive_ms = ns / O3_NS_PER_MS;
    if (g->s->world.keep_alive_ms > 0) return 0;
    g->w.next--; /* 0 means the default to the world, and "at once" to Ollama */
    return o3_words_expected(&g->w, what);
}

static int take_bandwidth(struct o3_grammar *g) {
    int r = o3_words_take_quantity(&g->w, "a rate from 1GB/s to 100000GB/s like \"1008GB/s\"", "GB/s", 1, 1e5,
                                   &g->s->world.bandwidth);
    g->s->world.bandwidth *= 1e9;
    return r;
}

static int take_library(struct o3_grammar *g) {
    if (!o3_words_take(&g->w, "recorded")) return o3_words_expected(&g->w, "\"recorded\"");
    g->s->world.has_recorded_models = true;
    return 0;
}

static int take_start(struct o3_grammar *g) {
    const char *p = o3_words_peek(&g->w);
    int64_t ms;
    if (!p || !o3_rfc3339_parse(p, &ms) || ms <= 0)
        return o3_words_expected(&g->w, "a time like \"2026-11-21T00:00:00Z\"");
    g->s->world.start_wall_ms = ms;
    g->w.next++;
    return 0;
}

static int take_memory(struct o3_grammar *g) {
    static const char *const TERMS[] = {"noise", "overhead", "bias"};
    const char *what = "noise, overhead or bias";
    if (!o3_words_peek(&g->w)) return o3_words_expected(&g->w, what);
    int r = 0;
    while (r == 0 && o3_words_peek(&g->w)) {
        if (o3_words_take(&g->w, "noise"))
            r = o3_words_take_bytes(&g->w, "a size like \"28MiB\"", &g->s->world.memory_noise_bytes);
        else if (o3_words_take(&g->w, "overhead"))
            r = o3_words_take_bytes(&g->w, "a size like \"400MiB\"", &g->s->world.memory_overhead_bytes);
        else if (o3_words_take(&g->w, "bias")) {
            r = o3_words_take_quantity(&g->w, "a share from -50 % to +50 % like \"+2 %\"", "%", -50, 50,
                                       &g->s->world.memory_bias);
            g->s->world.memory_bias /= 100;
        } else
            r = o3_words_unknown(&g->w, what, TERMS, 3);
    }
    return r;
}

static const struct {
    const char *word;
    int (*take)(struct o3_grammar *g);
} WORLD[] = {
    {"seed", take_seed},
    {"gpu", take_gpu},
    {"ram", take_ram},
    {"version", take_version},
    {"parallel", take_parallel},
    {"max-queue", take_max_queue},
    {"keep-alive", take_keep_alive},
    {"cores", take_cores},
    {"bandwidth", take_bandwidth},
    {"library", take_library},
    {"start", take_start},
    {"memory", take_memory},
};
enum { N_WORLD = sizeof WORLD / sizeof *WORLD };

/* "gpu" is both: the size of one, and the subject of a change. */
static bool is_change_of_gpu(const struct o3_grammar *g) {
    return g->w.n > 2 && !strcmp(g->w.text[1], "gpu") && !strcmp(g->w.text[2], "lost");
}

/* No setting: a change that is in force from the start, or an unknown word, which may be nearly a setting. */
static int take_change(struct o3_grammar *g) {
    const char *names[N_WORLD];
    for (size_t i = 0; i < N_WORLD; i++)
        names[i] = WORLD[i].word;
    struct o3_err e = {0}, *to = g->e;
    g->e = g->w.e = &e;
    int r = o3_grammar_happening(g, 0, true);
    if (r == O3_E_PARSE && e.col == g->w.col[1] && !strncmp(e.text, "expected what changes", 21)) {
        struct o3_err subject = e;
        g->w.next = 1;
        r = o3_words_unknown(&g->w, "a setting or a change of the world", names, N_WORLD);
        if (!strstr(e.text, "did you mean") && strstr(subject.text, "did you mean")) e = subject;
    }
    g->e = g->w.e = to;
    if (r < 0 && to) *to = e;
    return r;
}

int o3_grammar_world(struct o3_grammar *g) {
    if (!o3_words_peek(&g->w)) return o3_words_expected(&g->w, "a setting or a change of the world");
    if (is_change_of_gpu(g)) return take_change(g);
    for (size_t i = 0; i < N_WORLD; i++) {
        if (!o3_words_take(&g->w, WORLD[i].word)) continue;
        int r = WORLD[i].take(g);
        return r < 0 ? r : o3_words_end(&g->w);
    }
    return take_change(g);
}

/* ---- load ---- */

static int take_ctx(struct o3_grammar *g, int64_t *ret) {
    return o3_words_take_int(&g->w, "a number of tokens", 1, INT32_MAX, ret);
}

static int refuse_second_load(const struct o3_grammar *g, const struct o3_scenario_load *l) {
    for (const struct o3_scenario_load *other = g->s->loads; other < l; other++)
        if (o3_grammar_same_model(l->model, other->model) || o3_grammar_same_model(other->model, l->model))
            return o3_err_at(g->e, O3_E_PARSE, l->line, l->col,
                             "expected each model once, found \"%.64s\" also in line %u", l->model, other->line);
    return 0;
}

int o3_grammar_load(struct o3_grammar *g) {
    struct o3_scenario *s = g->s;
    if (s->n_loads == O3_SCENARIO_LOADS_MAX)
        return o3_err_at(g->e, O3_E_LIMIT, g->number, g->w.col[0], "expected at most %d models loaded at the start",
                         O3_SCENARIO_LOADS_MAX);
    struct o3_scenario_load *l = &s->loads[s->n_loads++];
    l->line = g->number;
    l->col = g->w.n > 1 ? g->w.col[1] : 0;
    int r = o3_words_take_name(&g->w, "a model's name", l->model, sizeof l->model);
    if (r == 0) r = refuse_second_load(g, l);
    if (r < 0 || !o3_words_peek(&g->w)) return r;
    if (!o3_words_take(&g->w, "ctx")) return o3_words_expected(&g->w, "\"ctx TOKENS\" or the end of the line");
    r = take_ctx(g, &l->num_ctx);
    return r < 0 ? r : o3_words_end(&g->w);
}

/* ---- users ---- */

static int take_users_daily(struct o3_grammar *g, struct o3_world_users *u) {
    int r = o3_words_take_quantity(&g->w, "a share from 0 to 100 % like \"50 %\"", "%", 0, 100, &u->daily);
    u->daily /= 100;
    return r;
}

static int take_users_pause(struct o3_grammar *g, struct o3_world_users *u) {
    const char *what = "a duration up to 7 days like \"40s\"";
    int64_t ns;
    int r = o3_words_take_time(&g->w, what, &ns);
    if (r < 0) return r;
    u->pause_ms = ns / O3_NS_PER_MS;
    if (u->pause_ms <= O3_WORLD_USERS_PAUSE_MAX_MS) return 0;
    g->w.next--;
    return o3_words_expected(&g->w, what);
}

static int take_tokens(struct o3_grammar *g, int *ret) {
    return take_number(g, "a number of tokens from 1 to 65536", O3_WORLD_USERS_TOKENS_MAX, ret);
}

static int take_users_option(struct o3_grammar *g, struct o3_world_users *u) {
    static const char *const OPTIONS[] = {"burst", "daily", "turns", "prompt", "answer", "pause", "ctx"};
    struct o3_words *w = &g->w;
    if (o3_words_take(w, "burst")) return o3_words_take_double(w, "a number from 1 to 100", 1, 100, &u->burst);
    if (o3_words_take(w, "daily")) return take_users_daily(g, u);
    if (o3_words_take(w, "turns")) return take_number(g, "a number from 1 to 100", 100, &u->turns);
    if (o3_words_take(w, "prompt")) return take_tokens(g, &u->prompt_tokens);
    if (o3_words_take(w, "answer")) return take_tokens(g, &u->answer_tokens);
    if (o3_words_take(w, "pause")) return take_users_pause(g, u);
    if (o3_words_take(w, "ctx")) return take_ctx(g, &u->num_ctx);
    return o3_words_unknown(w, "burst, daily, turns, prompt, answer, pause, ctx or the end", OPTIONS, 7);
}

int o3_grammar_users(struct o3_grammar *g) {
    struct o3_scenario *s = g->s;
    if (s->n_users == O3_SCENARIO_USERS_MAX)
        return o3_err_at(g->e, O3_E_LIMIT, g->number, g->w.col[0], "expected at most %d groups of users",
                         O3_SCENARIO_USERS_MAX);
    struct o3_world_users *u = &s->users[s->n_users];
    s->users_lines[s->n_users++] = g->number;
    *u = o3_world_users_default();
    int r = o3_words_take_quantity(&g->w, "conversations per hour from 0.001/h to 100000/h like \"12/h\"", "/h", 1e-3,
                                   1e5, &u->conversations_per_hour);
    if (r == 0) s->users_cols[s->n_users - 1] = g->w.next < g->w.n ? g->w.col[g->w.next] : 0;
    if (r == 0) r = o3_words_take_name(&g->w, "a model's name", u->model, sizeof u->model);
    while (r == 0 && o3_words_peek(&g->w))
        r = take_users_option(g, u);
    return r;
}

/* ---- config ---- */

/* What follows the key up to a comment: values may hold blanks. */
static char *rest_of_line(const struct o3_grammar *g) {
    size_t start = g->w.col[2] - 1, last = g->w.n - 1;
    size_t end = g->w.col[last] - 1 + strlen(g->w.text[last]);
    return strndup(g->line + start, end - start);
}

int o3_scenario_load_config(const struct o3_scenario_pair *p, size_t n, struct o3_config **ret, struct o3_err *e) {
    struct o3_conf_pair *flags = calloc(n ? n : 1, sizeof *flags);
    if (!flags) return o3_err_set(e, O3_E_NOMEM, "no memory for the configuration");
    for (size_t i = 0; i < n; i++)
        flags[i] = (struct o3_conf_pair){.name = p[i].name, .value = p[i].value};
    struct o3_conf_sources src = {.flags = flags, .n_flags = n};
    int r = o3_config_load(&src, NULL, NULL, ret, e);
    free(flags);
    return r;
}

static int check_pairs(const struct o3_scenario_pair *p, size_t n, struct o3_err *e) {
    struct o3_config *c = NULL;
    int r = o3_scenario_load_config(p, n, &c, e);
    if (r == 0) o3_config_free(c);
    return r;
}

static int check_key(struct o3_grammar *g) {
    const struct o3_conf_row *rows;
    size_t n = o3_conf_rows(&rows);
    const char *key = o3_words_peek(&g->w);
    for (size_t i = 0; i < n; i++)
        if (key && !strcmp(key, rows[i].key)) return 0;
    char nearest[96];
    if (!key || !o3_conf_nearest(key, nearest, sizeof nearest))
        return o3_words_expected(&g->w, "a configuration key like \"probe.interval\"");
    const char *const names[] = {nearest};
    return o3_words_unknown(&g->w, "a configuration key", names, 1);
}

int o3_grammar_config(struct o3_grammar *g) {
    struct o3_scenario *s = g->s;
    int r = check_key(g);
    if (r < 0) return r;
    for (size_t i = 0; i < s->n_config; i++)
        if (!strcmp(s->config[i].name, g->w.text[1]))
            return o3_err_at(g->e, O3_E_PARSE, g->number, g->w.col[1],
                             "expected each key once, found \"%s\" also in line %u", g->w.text[1], s->config[i].line);
    g->w.next++;
    if (!o3_words_peek(&g->w)) return o3_words_expected(&g->w, "the value of the key");
    struct o3_scenario_pair *p = o3_grammar_grow(g, s->config, &s->n_config, sizeof *p);
    if (!p) return O3_E_NOMEM;
    s->config = p;
    p += s->n_config - 1;
    p->line = g->number;
    p->col = g->w.col[2];
    p->name = strdup(g->w.text[1]);
    p->value = rest_of_line(g);
    return p->name && p->value ? 0 : o3_err_set(g->e, O3_E_NOMEM, "no memory for the scenario");
}

/* A value may be wrong alone or only beside another: the place is that of the line which is wrong alone, else of the
 * last. Some are right only beside a later one, so that nothing can be said before all lines are read. */
int o3_grammar_check_config(struct o3_grammar *g) {
    const struct o3_scenario *s = g->s;
    struct o3_err cause = {0};
    int r = s->n_config ? check_pairs(s->config, s->n_config, &cause) : 0;
    if (r == 0) return 0;
    const struct o3_scenario_pair *at = &s->config[s->n_config - 1];
    for (size_t i = 0; i < s->n_config; i++) {
        struct o3_err alone = {0};
        if (check_pairs(&s->config[i], 1, &alone) == 0 || strcmp(alone.text, cause.text) != 0) continue;
        at = &s->config[i];
        break;
    }
    const char *text = cause.text;
    if (!strncmp(text, "--", 2)) text += 2; /* there it is a flag, here a line */
    return o3_err_at(g->e, r == O3_E_NOMEM ? O3_E_NOMEM : O3_E_PARSE, at->line, at->col, "%s", text);
}
