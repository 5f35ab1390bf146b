/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration as text: YAML, JSON, and the example file. */
#include "conf/conf.h"
#include <stdio.h>
#include <string.h>
#include "o3/text.h"

static const char *const ORIGINS[] = {"default", "file", "environment", "flag"};

/* In double quotes, in the escapes that YAML and JSON share. */
static void add_quoted(struct o3_buf *out, const char *s) {
    o3_buf_adds(out, "\"");
    for (; *s; s++) {
        if ((unsigned char)*s < 0x20)
            o3_buf_addf(out, "\\u%04x", (unsigned)*s);
        else if (*s == '"' || *s == '\\')
            o3_buf_addf(out, "\\%c", *s);
        else
            o3_buf_add(out, s, 1);
    }
    o3_buf_adds(out, "\"");
}

/* JSON has no bare words; YAML 1.1 readers take "off" for false. */
static void add_word(struct o3_buf *out, const char *word, bool is_json) {
    bool is_trap = !strcmp(word, "off") || !strcmp(word, "on") || !strcmp(word, "yes") || !strcmp(word, "no");
    if (is_json || is_trap)
        add_quoted(out, word);
    else
        o3_buf_adds(out, word);
}

static void add_choice(struct o3_buf *out, const char *choices, int index, bool is_json) {
    char word[64];
    for (; index > 0; index--)
        choices = strchr(choices, '|') + 1;
    o3_str_copy_n(word, sizeof word, choices, strcspn(choices, "|"));
    add_word(out, word, is_json);
}

static void add_list(struct o3_buf *out, const struct o3_conf_list *list) {
    o3_buf_adds(out, "[");
    for (size_t i = 0; i < list->n; i++) {
        o3_buf_adds(out, i ? ", " : "");
        add_quoted(out, list->v[i]);
    }
    o3_buf_adds(out, "]");
}

static void add_numbers(struct o3_buf *out, const struct o3_conf_numbers *list) {
    o3_buf_adds(out, "[");
    for (size_t i = 0; i < list->n; i++)
        o3_buf_addf(out, "%s%lld", i ? ", " : "", (long long)list->v[i]);
    o3_buf_adds(out, "]");
}

static void add_value(struct o3_buf *out, const struct o3_config *c, size_t row, bool is_json) {
    const void *slot = o3_conf_slot_const(c, row);
    char duration[48];
    switch (o3_conf_row(row)->type) {
    case O3_CONF_STRING:
        add_quoted(out, *(const char *const *)slot);
        break;
    case O3_CONF_SECRET:
        add_quoted(out, **(const char *const *)slot ? "***" : "");
        break;
    case O3_CONF_ENUM:
        add_choice(out, o3_conf_row(row)->choices, *(const int *)slot, is_json);
        break;
    case O3_CONF_BOOL:
        o3_buf_adds(out, *(const bool *)slot ? "true" : "false");
        break;
    case O3_CONF_NUMBER:
        o3_buf_add_double(out, *(const double *)slot);
        break;
    case O3_CONF_DURATION:
        o3_duration_format(*(const int64_t *)slot, duration, sizeof duration);
        add_word(out, duration, is_json);
        break;
    case O3_CONF_INT:
    case O3_CONF_SIZE_MB:
        if (*(const int64_t *)slot == O3_CONF_AUTO)
            add_word(out, "auto", is_json);
        else
            o3_buf_addf(out, "%lld", (long long)*(const int64_t *)slot);
        break;
    case O3_CONF_LIST:
        add_list(out, slot);
        break;
    case O3_CONF_NUMBERS:
        add_numbers(out, slot);
        break;
    }
}

int o3_config_value_text(const struct o3_config *c, const char *key, struct o3_buf *out) {
    const struct o3_conf_row *rows;
    size_t n = o3_conf_rows(&rows), row = 0;
    while (row < n && strcmp(rows[row].key, key) != 0)
        row++;
    if (row == n) return O3_E_NOT_FOUND;
    enum o3_conf_type type = rows[row].type;
    if (type == O3_CONF_SECRET || type == O3_CONF_LIST || type == O3_CONF_NUMBERS) return O3_E_USAGE;
    if (type == O3_CONF_STRING) return o3_buf_adds(out, *(const char *const *)o3_conf_slot_const(c, row));
    if (type != O3_CONF_ENUM) {
        add_value(out, c, row, false);
        return out->err;
    }
    const char *choice = rows[row].choices;
    for (int i = *(const int *)o3_conf_slot_const(c, row); i > 0; i--)
        choice = strchr(choice, '|') + 1;
    return o3_buf_add(out, choice, strcspn(choice, "|"));
}

static const char *tail(const char *key) {
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

static int count_dots(const char *key) {
    int n = 0;
    for (; *key; key++)
        n += *key == '.';
    return n;
}

/* How many groups two neighbouring keys have in common. */
static int shared_groups(const char *a, const char *b) {
    int n = 0;
    for (; *a && *a == *b; a++, b++)
        n += *a == '.';
    return n;
}

/* The name of a key's group at this depth. */
static const char *group_name(const char *key, int depth, size_t *ret_n) {
    for (; depth > 0; depth--)
        key = strchr(key, '.') + 1;
    *ret_n = strcspn(key, ".");
    return key;
}

static void add_indent(struct o3_buf *out, int depth) {
    o3_buf_addf(out, "%*s", 2 * depth, "");
}

static const char *key_before(size_t row) {
    return row ? o3_conf_row(row - 1)->key : "";
}

/* Opens the groups of this row that the row before was not in. */
static void add_yaml_groups(struct o3_buf *out, size_t row) {
    const char *key = o3_conf_row(row)->key;
    for (int depth = shared_groups(key_before(row), key); depth < count_dots(key); depth++) {
        size_t n;
        const char *name = group_name(key, depth, &n);
        add_indent(out, depth);
        o3_buf_addf(out, "%.*s:\n", (int)n, name);
    }
}

int o3_config_dump(const struct o3_config *c, bool with_origin, struct o3_buf *out) {
    for (size_t i = 0; i < O3_CONF_ROWS; i++) {
        const char *key = o3_conf_row(i)->key;
        add_yaml_groups(out, i);
        add_indent(out, count_dots(key));
        o3_buf_addf(out, "%s: ", tail(key));
        add_value(out, c, i, false);
        if (with_origin) o3_buf_addf(out, " # %s", ORIGINS[c->from[i].origin]);
        o3_buf_adds(out, "\n");
    }
    return out->err;
}

/* Closes what the row before was in and this one is not, with the comma between neighbours; opens the new groups. */
static void add_json_groups(struct o3_buf *out, size_t row) {
    const char *key = o3_conf_row(row)->key;
    int shared = shared_groups(key_before(row), key);
    for (int depth = count_dots(key_before(row)); depth > shared; depth--)
        o3_buf_adds(out, "}");
    o3_buf_adds(out, row ? ", " : "{");
    for (int depth = shared; depth < count_dots(key); depth++) {
        size_t n;
        const char *name = group_name(key, depth, &n);
        o3_buf_addf(out, "\"%.*s\": {", (int)n, name);
    }
}

int o3_config_dump_json(const struct o3_config *c, bool with_origin, struct o3_buf *out) {
    for (size_t i = 0; i < O3_CONF_ROWS; i++) {
        add_json_groups(out, i);
        o3_buf_addf(out, "\"%s\": %s", tail(o3_conf_row(i)->key), with_origin ? "{\"value\": " : "");
        add_value(out, c, i, true);
        if (with_origin) o3_buf_addf(out, ", \"origin\": \"%s\"}", ORIGINS[c->from[i].origin]);
    }
    for (int depth = count_dots(key_before(O3_CONF_ROWS)); depth >= 0; depth--)
        o3_buf_adds(out, "}");
    return out->err;
}

/* Is every key of the group that row opens at this depth unused? Then the group's own line is commented out too. */
static bool is_whole_group_unused(size_t row, int depth) {
    const char *key = o3_conf_row(row)->key;
    for (size_t i = row; i < O3_CONF_ROWS && shared_groups(key, o3_conf_row(i)->key) > depth; i++)
        if (o3_conf_row(i)->is_used) return false;
    return true;
}

static void add_example_groups(struct o3_buf *out, size_t row) {
    const char *key = o3_conf_row(row)->key;
    int shared = shared_groups(key_before(row), key);
    if (!shared) o3_buf_adds(out, "\n");
    for (int depth = shared; depth < count_dots(key); depth++) {
        size_t n;
        const char *name = group_name(key, depth, &n);
        if (is_whole_group_unused(row, depth)) o3_buf_adds(out, "#");
        add_indent(out, depth);
        o3_buf_addf(out, "%.*s:\n", (int)n, name);
    }
}

static void add_example_help(struct o3_buf *out, const struct o3_conf_row *r) {
    add_indent(out, count_dots(r->key));
    o3_buf_addf(out, "# %s", r->help);
    if (r->type == O3_CONF_ENUM)
        o3_buf_addf(out, " (%s)", r->choices);
    else if (*r->min_text)
        o3_buf_addf(out, " (%s to %s)", r->min_text, r->max_text);
    o3_buf_adds(out, "\n");
}

int o3_config_example(struct o3_buf *out) {
    struct o3_config *c;
    int r = o3_config_load(&(struct o3_conf_sources){0}, NULL, NULL, &c, NULL);
    if (r < 0) return r;
    o3_buf_adds(out, "# The configuration of O3 Sidecar: every key with its default.\n"
                     "# Built-in values < this file < environment (O3_PROBE_INTERVAL) < flag (--probe.interval 30s).\n"
                     "# A key behind a # at the start of its line is accepted but not used by this version.\n"
                     "# Durations: 500ms, 30s, 5m, 1h30m, 2d. Check a file with: o3 check-config FILE\n");
    for (size_t i = 0; i < O3_CONF_ROWS; i++) {
        const struct o3_conf_row *row = o3_conf_row(i);
        add_example_groups(out, i);
        add_example_help(out, row);
        if (!row->is_used) o3_buf_adds(out, "#");
        add_indent(out, count_dots(row->key));
        o3_buf_addf(out, "%s: ", tail(row->key));
        if (row->type == O3_CONF_DURATION)
            o3_buf_adds(out, row->default_text); /* 60s, as the manual writes it, rather than 1m */
        else
            add_value(out, c, i, false);
        o3_buf_adds(out, "\n");
    }
    o3_config_free(c);
    return out->err;
}
