/* SPDX-License-Identifier: Apache-2.0 */
/* The layers: built-in < file < environment < flag; and what may be asked of a finished configuration. */
#include "conf/conf.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/text.h"

#define ARENA_MAX (8u * 1024 * 1024)

static void trim(const char **s, size_t *n) {
    while (*n && (**s == ' ' || **s == '\t'))
        (*s)++, (*n)--;
    while (*n && ((*s)[*n - 1] == ' ' || (*s)[*n - 1] == '\t'))
        (*n)--;
}

/* Splits "a, b" into at most max items; an empty text is the empty list. */
static int split(struct o3_config *c, const char *text, struct o3_conf_item *items, size_t max, size_t *ret_n) {
    size_t n_items = 0, len = strlen(text);
    trim(&text, &len);
    for (const char *end = text + len; len && text <= end && n_items < max; text++) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        size_t n = (size_t)((comma ? comma : end) - text);
        const char *item = text;
        text += n;
        trim(&item, &n);
        const char *copy = o3_arena_copy(&c->arena, item, n);
        if (!copy) return O3_E_NOMEM;
        items[n_items++] = (struct o3_conf_item){.text = copy, .len = n};
    }
    *ret_n = n_items;
    return 0;
}

/* A text of the built-in table, the environment or a flag. */
static int set_text(struct o3_config *c, size_t row, enum o3_conf_origin origin, const char *text, struct o3_err *e) {
    struct o3_conf_item items[O3_CONF_LIST_MAX + 1]; /* one too many is enough for the error */
    struct o3_conf_input in = {.row = row, .origin = origin, .items = items, .n = 1};
    in.is_list = o3_conf_is_list(o3_conf_row(row)->type);
    items[0] = (struct o3_conf_item){.text = text, .len = strlen(text)};
    if (in.is_list) {
        if (items[0].len > (size_t)O3_CONF_LIST_MAX * 256)
            return o3_conf_fail(row, origin, 0, 0, e, "longer than %d bytes", O3_CONF_LIST_MAX * 256);
        if (split(c, text, items, O3_CONF_LIST_MAX + 1, &in.n) < 0)
            return o3_err_set(e, O3_E_NOMEM, "no memory for the configuration");
    }
    return o3_conf_set(c, &in, e);
}

static int set_defaults(struct o3_config *c, struct o3_err *e) {
    for (size_t i = 0; i < O3_CONF_ROWS; i++) {
        int r = set_text(c, i, O3_ORIGIN_DEFAULT, o3_conf_row(i)->default_text, e);
        O3_ASSERT(r == 0 || r == O3_E_NOMEM); /* anything else: the table contradicts itself */
        if (r < 0) return r;
    }
    return 0;
}

static bool begins(const char *s, const char *with) {
    return !strncmp(s, with, strlen(with));
}

static bool ends(const char *s, const char *with) {
    size_t n = strlen(s), m = strlen(with);
    return n >= m && !strcmp(s + n - m, with);
}

/* Names that are ours but no settings, and those that Kubernetes injects for a Service called o3 or o3-ANYTHING. */
static bool is_silent(const char *name) {
    if (!strcmp(name, "O3_CONFIG_FILE") || !strcmp(name, "O3_SEED") || begins(name, "O3_TEST_")) return true;
    if (begins(name, "O3_SERVICE_") || strstr(name, "_SERVICE_HOST") || strstr(name, "_SERVICE_PORT")) return true;
    const char *port = strstr(name, "_PORT_");
    return begins(name, "O3_PORT_") || ends(name, "_PORT") || (port && port[6] >= '0' && port[6] <= '9');
}

static void warn_unknown(const char *name, o3_conf_warn_fn *warn, void *ctx) {
    struct o3_conf_shown shown;
    const char *nearest = NULL;
    char text[200];
    int best = 4; /* further away is a different word */
    for (size_t i = 0; i < O3_CONF_ROWS; i++) {
        int distance = o3_edit_distance(name, o3_conf_row(i)->env);
        if (distance < best) {
            best = distance;
            nearest = o3_conf_row(i)->env;
        }
    }
    const char *shown_name = o3_conf_show(&shown, name, strlen(name));
    snprintf(text, sizeof text, "the environment variable %s is no setting and has no effect%s%s%s", shown_name,
             nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    warn(ctx, text);
}

static int set_env(struct o3_config *c, const struct o3_conf_sources *src, o3_conf_warn_fn *warn, void *ctx,
                   struct o3_err *e) {
    for (size_t i = 0; i < src->n_env; i++) {
        const struct o3_conf_pair *pair = &src->env[i];
        if (!begins(pair->name, "O3_")) continue;
        int row = o3_conf_find_env(pair->name);
        if (row < 0) {
            if (warn && !is_silent(pair->name)) warn_unknown(pair->name, warn, ctx);
            continue;
        }
        int r = set_text(c, (size_t)row, O3_ORIGIN_ENVIRONMENT, pair->value, e);
        if (r < 0) return r;
    }
    return 0;
}

static int set_flags(struct o3_config *c, const struct o3_conf_sources *src, struct o3_err *e) {
    for (size_t i = 0; i < src->n_flags; i++) {
        const struct o3_conf_pair *pair = &src->flags[i];
        int row = o3_conf_find(pair->name);
        if (row < 0) {
            struct o3_conf_shown shown;
            return o3_err_set(e, O3_E_USAGE, "%s is no key", o3_conf_show(&shown, pair->name, strlen(pair->name)));
        }
        int r = set_text(c, (size_t)row, O3_ORIGIN_FLAG, pair->value, e);
        if (r < 0) return r;
    }
    return 0;
}

static int fill(struct o3_config *c, const struct o3_conf_sources *src, o3_conf_warn_fn *warn, void *ctx,
                struct o3_err *e) {
    int r = set_defaults(c, e);
    if (r == 0 && src->file_text) r = o3_conf_read_yaml(c, src->file_text, src->file_len, e);
    if (r == 0) r = set_env(c, src, warn, ctx, e);
    if (r == 0) r = set_flags(c, src, e);
    return r == 0 ? o3_conf_check_together(c, e) : r;
}

int o3_config_load(const struct o3_conf_sources *src, o3_conf_warn_fn *warn, void *ctx, struct o3_config **ret,
                   struct o3_err *e) {
    struct o3_config *c = calloc(1, sizeof *c);
    if (!c) return o3_err_set(e, O3_E_NOMEM, "no memory for the configuration");
    o3_arena_init(&c->arena, ARENA_MAX);
    int r = fill(c, src, warn, ctx, e);
    if (r < 0) {
        o3_config_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void o3_config_free(struct o3_config *c) {
    if (!c) return;
    o3_arena_done(&c->arena);
    free(c);
}

const struct o3_config_values *o3_config_values(const struct o3_config *c) {
    return &c->values;
}

enum o3_conf_origin o3_config_origin(const struct o3_config *c, const char *key) {
    int row = o3_conf_find(key);
    return row < 0 ? O3_ORIGIN_DEFAULT : c->from[row].origin;
}

void o3_config_each_unused(const struct o3_config *c, void (*fn)(void *ctx, const char *key), void *ctx) {
    for (size_t i = 0; i < O3_CONF_ROWS; i++) {
        if (c->from[i].origin == O3_ORIGIN_DEFAULT) continue;
        /* The key is used, only this one of its words is not. */
        bool is_canary = i == O3_CONF_ROW_tune_mode && c->values.tune_mode == O3_TUNE_MODE_CANARY;
        if (is_canary) fn(ctx, "tune.mode=canary");
        if (!o3_conf_row(i)->is_used) fn(ctx, o3_conf_row(i)->key);
    }
}

static bool same_list(const struct o3_conf_list *a, const struct o3_conf_list *b) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->v[i], b->v[i])) return false;
    return true;
}

static bool same_value(const struct o3_config *a, const struct o3_config *b, size_t row) {
    const void *x = o3_conf_slot_const(a, row), *y = o3_conf_slot_const(b, row);
    switch (o3_conf_row(row)->type) {
    case O3_CONF_STRING:
    case O3_CONF_SECRET:
        return !strcmp(*(const char *const *)x, *(const char *const *)y);
    case O3_CONF_ENUM:
        return *(const int *)x == *(const int *)y;
    case O3_CONF_BOOL:
        return *(const bool *)x == *(const bool *)y;
    case O3_CONF_NUMBER:
        return *(const double *)x == *(const double *)y;
    case O3_CONF_INT:
    case O3_CONF_DURATION:
    case O3_CONF_SIZE_MB:
        return *(const int64_t *)x == *(const int64_t *)y;
    case O3_CONF_LIST:
        return same_list(x, y);
    case O3_CONF_NUMBERS: {
        const struct o3_conf_numbers *p = x, *q = y;
        return p->n == q->n && !memcmp(p->v, q->v, p->n * sizeof *p->v);
    }
    }
    return false;
}

void o3_config_each_restart(const struct o3_config *a, const struct o3_config *b,
                            void (*fn)(void *ctx, const char *key), void *ctx) {
    for (size_t i = 0; i < O3_CONF_ROWS; i++)
        if (!o3_conf_row(i)->is_live && !same_value(a, b, i)) fn(ctx, o3_conf_row(i)->key);
}
