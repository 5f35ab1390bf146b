/* SPDX-License-Identifier: Apache-2.0 */
/* The file: libyaml's events -> o3_conf_set. Only what a configuration needs is let in: one document of nested
 * mappings, no anchors, no tags. The depth is bounded by the table, because an unknown group ends the reading. */
#include "conf/conf.h"
#include <stdio.h>
#include <string.h>
#include <yaml.h>
#include "o3/text.h"

#define GROUPS_MAX 64
#define KEY_MAX 64 /* bytes of a dotted key with its NUL; no key of the table is longer */
#define AUTO_EVENT __attribute__((cleanup(yaml_event_delete))) yaml_event_t

struct reader {
    yaml_parser_t yaml;
    struct o3_config *c;
    const char *text;
    size_t n;
    struct {
        char key[KEY_MAX];
        uint32_t line;
    } groups[GROUPS_MAX]; /* seen so far, for the duplicates */
    size_t n_groups;
    struct o3_err *e;
};

struct place {
    uint32_t line, col;
};

static struct place place_of(yaml_mark_t mark) {
    return (struct place){(uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

/* Line and column (in characters) of a byte. */
static struct place place_of_byte(const char *text, size_t byte) {
    struct place at = {1, 1};
    for (size_t i = 0; i < byte; i++) {
        bool is_first_of_character = ((unsigned char)text[i] & 0xc0) != 0x80;
        at.col += is_first_of_character;
        if (text[i] == '\n') at = (struct place){at.line + 1, 1};
    }
    return at;
}

/* The byte at a place; NUL when it lies outside. */
static char byte_at(const char *text, size_t n, yaml_mark_t mark) {
    size_t i = 0;
    for (size_t line = 0; i < n && line < mark.line; i++)
        line += text[i] == '\n';
    for (size_t col = 0; i < n && col < mark.column; col++) {
        do
            i++;
        while (i < n && ((unsigned char)text[i] & 0xc0) == 0x80);
    }
    return i < n ? text[i] : '\0';
}

static int fail(struct reader *r, struct place at, const char *text) {
    return o3_err_at(r->e, O3_E_CONFIG, at.line, at.col, "%s", text);
}

/* Bytes that libyaml would refuse without saying where, or in words that do not help. */
static int check_bytes(struct reader *r) {
    if (r->n > O3_CONF_FILE_MAX) return fail(r, (struct place){1, 1}, "the file is larger than 1 MiB");
    size_t good = 0;
    bool is_utf8 = o3_utf8_valid(r->text, r->n);
    /* Where the good part ends is asked only once a file is known to be bad. A character has at most 4 bytes. */
    while (!is_utf8 && good < r->n) {
        size_t len = 1;
        while (len <= 4 && good + len <= r->n && !o3_utf8_valid(r->text + good, len))
            len++;
        if (len > 4 || good + len > r->n) return fail(r, place_of_byte(r->text, good), "this is not UTF-8 text");
        good += len;
    }
    for (size_t i = 0; i < r->n; i++) {
        unsigned char b = (unsigned char)r->text[i];
        if ((b < 0x20 && !strchr("\t\n\r", b)) || b == 0 || b == 0x7f)
            return fail(r, place_of_byte(r->text, i), "a control character is not allowed here");
    }
    return 0;
}

static int yaml_failed(struct reader *r) {
    const yaml_parser_t *y = &r->yaml;
    char text[200];
    if (y->error == YAML_MEMORY_ERROR) return o3_err_set(r->e, O3_E_NOMEM, "no memory for the configuration");
    struct place at = place_of(y->problem_mark);
    if (y->error == YAML_READER_ERROR)
        at = place_of_byte(r->text, y->problem_offset < r->n ? y->problem_offset : r->n);
    else if (byte_at(r->text, r->n, y->problem_mark) == '\t')
        return fail(r, at, "a tab cannot indent; use spaces");
    int n = snprintf(text, sizeof text, "not valid YAML: %s%s%s", y->problem ? y->problem : "it cannot be read",
                     y->context ? " " : "", y->context ? y->context : "");
    struct place begin = place_of(y->context_mark);
    if (y->context && begin.line < at.line && n > 0 && (size_t)n < sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, " that began at %u:%u", begin.line, begin.col);
    return fail(r, at, text);
}

static bool has_anchor_or_tag(const yaml_event_t *ev) {
    switch (ev->type) {
    case YAML_SCALAR_EVENT:
        return ev->data.scalar.anchor || ev->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT:
        return ev->data.sequence_start.anchor || ev->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT:
        return ev->data.mapping_start.anchor || ev->data.mapping_start.tag;
    case YAML_ALIAS_EVENT:
        return true;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        break;
    }
    return false;
}

static int next(struct reader *r, yaml_event_t *ev) {
    if (!yaml_parser_parse(&r->yaml, ev)) return yaml_failed(r);
    if (has_anchor_or_tag(ev))
        return fail(r, place_of(ev->start_mark),
                    "anchors (&), aliases (*) and tags (!) are not allowed; write the value");
    return 0;
}

static struct o3_conf_item item_of(const yaml_event_t *ev) {
    struct place at = place_of(ev->start_mark);
    return (struct o3_conf_item){.text = (const char *)ev->data.scalar.value,
                                 .len = ev->data.scalar.length,
                                 .is_quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE,
                                 .line = at.line,
                                 .col = at.col};
}

static int unknown_key(struct reader *r, struct place at, const char *full, const char *name) {
    char text[240], near[KEY_MAX];
    struct o3_conf_shown shown;
    if (strchr(name, '.') && (o3_conf_find(full) >= 0 || o3_conf_is_group(full)))
        snprintf(text, sizeof text, "write %s nested, one group below the other, not with dots",
                 o3_conf_show(&shown, name, strlen(name)));
    else if (o3_conf_nearest(full, near, sizeof near))
        snprintf(text, sizeof text, "unknown key %s; did you mean \"%s\"?", o3_conf_show(&shown, full, strlen(full)),
                 near);
    else
        snprintf(text, sizeof text, "unknown key %s", o3_conf_show(&shown, full, strlen(full)));
    return fail(r, at, text);
}

static int set_twice(struct reader *r, struct place at, const char *full, uint32_t line) {
    char text[160];
    snprintf(text, sizeof text, "%.64s: already given in line %u", full, line);
    return fail(r, at, text);
}

/* The items of a list, up to its end. */
static int read_list(struct reader *r, struct o3_conf_input *in) {
    struct o3_conf_item items[O3_CONF_LIST_MAX];
    size_t n = 0;
    for (;;) {
        AUTO_EVENT ev = {0};
        int rc = next(r, &ev);
        if (rc < 0) return rc;
        if (ev.type == YAML_SEQUENCE_END_EVENT) break;
        struct o3_conf_item item = {0};
        struct place at = place_of(ev.start_mark);
        if (ev.type != YAML_SCALAR_EVENT)
            return o3_conf_fail(in->row, O3_ORIGIN_FILE, at.line, at.col, r->e, "a list holds single values only");
        item = item_of(&ev);
        if (n == O3_CONF_LIST_MAX)
            return o3_conf_fail(in->row, O3_ORIGIN_FILE, at.line, at.col, r->e, "at most %d items", O3_CONF_LIST_MAX);
        item.text = o3_arena_copy(&r->c->arena, item.text, item.len);
        if (!item.text) return o3_err_set(r->e, O3_E_NOMEM, "no memory for the configuration");
        items[n++] = item;
    }
    in->is_list = true;
    in->items = items;
    in->n = n;
    return o3_conf_set(r->c, in, r->e);
}

static int read_value(struct reader *r, size_t row) {
    AUTO_EVENT ev = {0};
    int rc = next(r, &ev);
    if (rc < 0) return rc;
    struct place at = place_of(ev.start_mark);
    struct o3_conf_input in = {.row = row, .origin = O3_ORIGIN_FILE, .n = 1, .line = at.line, .col = at.col};
    if (ev.type == YAML_SEQUENCE_START_EVENT) return read_list(r, &in);
    if (ev.type != YAML_SCALAR_EVENT)
        return o3_conf_fail(row, O3_ORIGIN_FILE, at.line, at.col, r->e, "expected a value, found a group of keys");
    struct o3_conf_item item = item_of(&ev);
    in.items = &item;
    return o3_conf_set(r->c, &in, r->e);
}

static int read_keys(struct reader *r, const char *group);

static int read_group(struct reader *r, const char *group) {
    AUTO_EVENT ev = {0};
    int rc = next(r, &ev);
    if (rc < 0) return rc;
    if (ev.type == YAML_MAPPING_START_EVENT) return read_keys(r, group);
    /* A group whose keys are all commented out is null. */
    bool is_null = ev.type == YAML_SCALAR_EVENT && ev.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                   (!ev.data.scalar.length || !strcmp((const char *)ev.data.scalar.value, "null") ||
                    !strcmp((const char *)ev.data.scalar.value, "~"));
    if (is_null) return 0;
    char text[160];
    snprintf(text, sizeof text, "%s%sexpected a group of keys, one per line", group, *group ? ": " : "");
    return fail(r, place_of(ev.start_mark), text);
}

static int remember_group(struct reader *r, const char *full, struct place at) {
    for (size_t i = 0; i < r->n_groups; i++)
        if (!strcmp(r->groups[i].key, full)) return set_twice(r, at, full, r->groups[i].line);
    O3_ASSERT(r->n_groups < GROUPS_MAX);
    o3_str_copy(r->groups[r->n_groups].key, KEY_MAX, full);
    r->groups[r->n_groups++].line = at.line;
    return 0;
}

static int read_key(struct reader *r, const char *group, const yaml_event_t *ev) {
    struct place at = place_of(ev->start_mark);
    const char *name = (const char *)ev->data.scalar.value;
    char full[512];
    if (ev->data.scalar.length > 256 || strlen(name) != ev->data.scalar.length)
        return fail(r, at, "this is no key: it is too long or holds a NUL character");
    snprintf(full, sizeof full, "%s%s%s", group, *group ? "." : "", name);
    int row = strchr(name, '.') ? -1 : o3_conf_find(full);
    if (row >= 0) {
        if (r->c->from[row].origin == O3_ORIGIN_FILE) return set_twice(r, at, full, r->c->from[row].key_line);
        r->c->from[row].key_line = at.line;
        return read_value(r, (size_t)row);
    }
    if (strchr(name, '.') || !*name || !o3_conf_is_group(full)) return unknown_key(r, at, full, name);
    int rc = remember_group(r, full, at);
    return rc < 0 ? rc : read_group(r, full);
}

static int read_keys(struct reader *r, const char *group) {
    for (;;) {
        AUTO_EVENT ev = {0};
        int rc = next(r, &ev);
        if (rc < 0) return rc;
        if (ev.type == YAML_MAPPING_END_EVENT) return 0;
        if (ev.type != YAML_SCALAR_EVENT) return fail(r, place_of(ev.start_mark), "expected the name of a key");
        rc = read_key(r, group, &ev);
        if (rc < 0) return rc;
    }
}

static int read_stream(struct reader *r) {
    int rc;
    for (int documents = 0;;) {
        AUTO_EVENT ev = {0};
        rc = next(r, &ev);
        if (rc < 0) return rc;
        if (ev.type == YAML_STREAM_END_EVENT) return 0;
        if (ev.type != YAML_DOCUMENT_START_EVENT) continue;
        if (documents++) return fail(r, place_of(ev.start_mark), "only one YAML document is allowed");
        rc = read_group(r, "");
        if (rc < 0) return rc;
    }
}

int o3_conf_read_yaml(struct o3_config *c, const char *text, size_t n, struct o3_err *e) {
    struct reader r = {.c = c, .text = text, .n = n, .e = e};
    int rc = check_bytes(&r);
    if (rc < 0) return rc;
    if (!yaml_parser_initialize(&r.yaml)) return o3_err_set(e, O3_E_NOMEM, "no memory for the configuration");
    yaml_parser_set_input_string(&r.yaml, (const unsigned char *)text, n);
    rc = read_stream(&r);
    yaml_parser_delete(&r.yaml);
    return rc;
}
