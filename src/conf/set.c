/* SPDX-License-Identifier: Apache-2.0 */
/* Text of any source -> a checked value of the row's type. */
#include "conf/conf.h"
#include <stdio.h>
#include <string.h>
#include "o3/text.h"

static int fail_at(const struct o3_conf_input *in, const struct o3_conf_item *it, struct o3_err *e, const char *text) {
    return o3_conf_fail(in->row, in->origin, it->line, it->col, e, "%s", text);
}

/* Errors go into the log and onto open pages. What stands before an '@' may be a password. */
static bool may_be_secret(const struct o3_conf_input *in, const struct o3_conf_item *it) {
    return o3_conf_row(in->row)->type == O3_CONF_SECRET || memchr(it->text, '@', it->len);
}

/* "expected X, found Y"; of Y only what cannot be a secret. */
static int expected(const struct o3_conf_input *in, const struct o3_conf_item *it, struct o3_err *e, const char *what) {
    struct o3_conf_shown found;
    char text[200], address[O3_CONF_SHOWN_MAX];
    if (may_be_secret(in, it)) {
        snprintf(text, sizeof text, "expected %s", what);
        return fail_at(in, it, e, text);
    }
    size_t n = o3_conf_is_address(o3_conf_row(in->row)->choices) ? o3_conf_open_part(it->text) : it->len;
    if (n < it->len) snprintf(address, sizeof address, "%.*s...", (int)n, it->text);
    snprintf(text, sizeof text, "expected %s, found %s", what,
             n < it->len ? o3_conf_show(&found, address, strlen(address)) : o3_conf_show(&found, it->text, it->len));
    return fail_at(in, it, e, text);
}

static const char *type_in_words(const struct o3_conf_row *r) {
    switch (r->type) {
    case O3_CONF_BOOL:
        return "true or false";
    case O3_CONF_INT:
        return "a whole number";
    case O3_CONF_NUMBER:
        return "a number";
    case O3_CONF_DURATION:
        return "a duration such as 30s or 5m";
    case O3_CONF_SIZE_MB:
        return *r->choices ? "a whole number of MiB without a unit, or auto" : "a whole number of MiB without a unit";
    case O3_CONF_LIST:
        return "a list such as [a, b]";
    case O3_CONF_NUMBERS:
        return "a list of whole numbers such as [1, 2]";
    case O3_CONF_ENUM:
        return "a word";
    case O3_CONF_STRING:
    case O3_CONF_SECRET:
        break;
    }
    return "a text";
}

bool o3_conf_number(enum o3_conf_type type, const char *text, double *ret) {
    int64_t whole;
    if (type == O3_CONF_NUMBER) return o3_double_parse(text, ret);
    bool is_good = type == O3_CONF_DURATION ? o3_duration_parse(text, &whole) : o3_int_parse(text, &whole);
    if (is_good) *ret = (double)whole;
    return is_good;
}

/* A double is exact enough for the comparison: every bound of the table is far below 2^53. */
static int check_range(const struct o3_conf_input *in, const struct o3_conf_item *it, double v, struct o3_err *e) {
    const struct o3_conf_row *r = o3_conf_row(in->row);
    struct o3_conf_shown shown;
    char text[200];
    double bound;
    const char *side = NULL, *limit = NULL;
    if (o3_conf_number(r->type, r->min_text, &bound) && v < bound) side = "below the minimum", limit = r->min_text;
    if (o3_conf_number(r->type, r->max_text, &bound) && v > bound) side = "above the maximum", limit = r->max_text;
    if (!side) return 0;
    snprintf(text, sizeof text, "%s is %s %s", o3_conf_show(&shown, it->text, it->len), side, limit);
    return fail_at(in, it, e, text);
}

static int take_whole(const struct o3_conf_input *in, const struct o3_conf_item *it, int64_t *ret, struct o3_err *e) {
    int64_t v;
    if (!o3_int_parse(it->text, &v)) {
        bool is_one_of_list = o3_conf_is_list(o3_conf_row(in->row)->type);
        return expected(in, it, e, is_one_of_list ? "a whole number" : type_in_words(o3_conf_row(in->row)));
    }
    int r = check_range(in, it, (double)v, e);
    if (r < 0) return r;
    *ret = v;
    return 0;
}

static int take_size(const struct o3_conf_input *in, const struct o3_conf_item *it, int64_t *ret, struct o3_err *e) {
    const char *choices = o3_conf_row(in->row)->choices;
    if (!*choices || strcmp(it->text, choices)) return take_whole(in, it, ret, e);
    *ret = O3_CONF_AUTO;
    return 0;
}

static int take_number(const struct o3_conf_input *in, const struct o3_conf_item *it, double *ret, struct o3_err *e) {
    double v;
    if (!o3_double_parse(it->text, &v)) return expected(in, it, e, "a number");
    int r = check_range(in, it, v, e);
    if (r < 0) return r;
    *ret = v;
    return 0;
}

static int take_duration(const struct o3_conf_input *in, const struct o3_conf_item *it, int64_t *ret,
                         struct o3_err *e) {
    int64_t ms;
    if (!o3_duration_parse(it->text, &ms)) return expected(in, it, e, type_in_words(o3_conf_row(in->row)));
    int r = check_range(in, it, (double)ms, e);
    if (r < 0) return r;
    *ret = ms;
    return 0;
}

static int take_bool(const struct o3_conf_input *in, const struct o3_conf_item *it, bool *ret, struct o3_err *e) {
    bool is_true = !strcmp(it->text, "true");
    if (!is_true && strcmp(it->text, "false")) return expected(in, it, e, "true or false");
    *ret = is_true;
    return 0;
}

/* Writes "a|b|c" as "one of a, b, c". */
static void words_of(const char *choices, char *out, size_t size) {
    size_t n = (size_t)snprintf(out, size, "%s", strchr(choices, '|') ? "one of " : "");
    for (const char *p = choices; *p && n + 3 < size; p++) {
        if (*p == '|') out[n++] = ',';
        out[n++] = *p == '|' ? ' ' : *p;
    }
    out[n] = '\0';
}

static int take_enum(const struct o3_conf_input *in, const struct o3_conf_item *it, int *ret, struct o3_err *e) {
    const char *choices = o3_conf_row(in->row)->choices;
    int index = 0;
    for (const char *p = choices; *p; index++) {
        size_t n = strcspn(p, "|");
        if (n == it->len && !memcmp(p, it->text, n)) {
            *ret = index;
            return 0;
        }
        p += n + (p[n] == '|');
    }
    char words[120];
    words_of(choices, words, sizeof words);
    return expected(in, it, e, words);
}

static int take_text(struct o3_config *c, const struct o3_conf_input *in, const struct o3_conf_item *it,
                     const char **ret, struct o3_err *e) {
    const struct o3_conf_row *r = o3_conf_row(in->row);
    bool may_be_empty = !*r->default_text && !o3_conf_is_list(r->type);
    if (!it->len && !may_be_empty) return fail_at(in, it, e, "must not be empty");
    const char *what = it->len ? o3_conf_check_form(r->choices, it->text) : NULL;
    if (what) return expected(in, it, e, what);
    char *copy = o3_arena_copy(&c->arena, it->text, it->len);
    if (!copy) return o3_err_set(e, O3_E_NOMEM, "no memory for the configuration");
    *ret = copy;
    return 0;
}

static int take_list(struct o3_config *c, const struct o3_conf_input *in, struct o3_conf_list *ret, struct o3_err *e) {
    struct o3_conf_list list = {.n = in->n};
    if (in->n > O3_CONF_LIST_MAX)
        return o3_conf_fail(in->row, in->origin, in->line, in->col, e, "at most %d items", O3_CONF_LIST_MAX);
    for (size_t i = 0; i < in->n; i++) {
        int r = take_text(c, in, &in->items[i], &list.v[i], e);
        if (r < 0) return r;
    }
    *ret = list;
    return 0;
}

static int take_numbers(const struct o3_conf_input *in, struct o3_conf_numbers *ret, struct o3_err *e) {
    struct o3_conf_numbers numbers = {.n = in->n};
    const size_t max = sizeof numbers.v / sizeof *numbers.v;
    if (in->n > max) return o3_conf_fail(in->row, in->origin, in->line, in->col, e, "at most %zu items", max);
    for (size_t i = 0; i < in->n; i++) {
        int r = take_whole(in, &in->items[i], &numbers.v[i], e);
        if (r < 0) return r;
    }
    *ret = numbers;
    return 0;
}

static bool is_null(const struct o3_conf_item *it) {
    static const char *const WORDS[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (!strcmp(it->text, WORDS[i])) return !it->is_quoted;
    return false;
}

/* What is wrong with a text whatever its type. */
static int check_item(const struct o3_conf_input *in, const struct o3_conf_item *it, struct o3_err *e) {
    enum o3_conf_type type = o3_conf_row(in->row)->type;
    bool is_plain = type == O3_CONF_INT || type == O3_CONF_NUMBER || type == O3_CONF_BOOL || type == O3_CONF_NUMBERS;
    if (it->len > O3_CONF_TEXT_MAX) return fail_at(in, it, e, "longer than 4095 bytes");
    if (memchr(it->text, '\0', it->len)) return fail_at(in, it, e, "holds a NUL character");
    if (in->origin != O3_ORIGIN_FILE) return 0;
    if (is_null(it)) return fail_at(in, it, e, "has no value; give one or remove the line");
    if (it->is_quoted && is_plain) {
        const char *what = type == O3_CONF_BOOL ? "true or false without quotes" : "a number without quotes";
        return expected(in, it, e, what);
    }
    return 0;
}

static int set_value(struct o3_config *c, const struct o3_conf_input *in, struct o3_err *e) {
    void *slot = o3_conf_slot(c, in->row);
    switch (o3_conf_row(in->row)->type) {
    case O3_CONF_STRING:
    case O3_CONF_SECRET:
        return take_text(c, in, in->items, slot, e);
    case O3_CONF_ENUM:
        return take_enum(in, in->items, slot, e);
    case O3_CONF_BOOL:
        return take_bool(in, in->items, slot, e);
    case O3_CONF_INT:
        return take_whole(in, in->items, slot, e);
    case O3_CONF_NUMBER:
        return take_number(in, in->items, slot, e);
    case O3_CONF_DURATION:
        return take_duration(in, in->items, slot, e);
    case O3_CONF_SIZE_MB:
        return take_size(in, in->items, slot, e);
    case O3_CONF_LIST:
        return take_list(c, in, slot, e);
    case O3_CONF_NUMBERS:
        return take_numbers(in, slot, e);
    }
    return o3_err_set(e, O3_E_INTERNAL, "a row of an unknown type");
}

int o3_conf_set(struct o3_config *c, const struct o3_conf_input *in, struct o3_err *e) {
    const struct o3_conf_row *row = o3_conf_row(in->row);
    for (size_t i = 0; i < in->n; i++) {
        int r = check_item(in, &in->items[i], e);
        if (r < 0) return r;
    }
    if (in->is_list != o3_conf_is_list(row->type)) {
        if (!in->is_list) return expected(in, in->items, e, type_in_words(row));
        return o3_conf_fail(in->row, in->origin, in->line, in->col, e, "expected %s, found a list", type_in_words(row));
    }
    int r = set_value(c, in, e);
    if (r < 0) return r;
    c->from[in->row].origin = in->origin;
    c->from[in->row].line = in->line;
    c->from[in->row].col = in->col;
    return 0;
}
