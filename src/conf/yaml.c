/* SPDX-License-Identifier: Apache-2.0 */
/* The file: the document's events -> o3_conf_set: nested mappings. The depth is bounded by the table, because an
 * unknown group ends the reading. */
#include "conf/conf.h"
#include <stdio.h>
#include <string.h>
#include "conf/document.h"
#include "o3/text.h"

#define GROUPS_MAX 64
#define KEY_MAX 64 /* bytes of a dotted key with its NUL; no key of the table is longer */

struct reader {
    struct o3_document d;
    struct o3_config *c;
    struct {
        char key[KEY_MAX];
        uint32_t line;
    } groups[GROUPS_MAX]; /* seen so far, for the duplicates */
    size_t n_groups;
    bool is_flow;       /* in braces, where a comma ends a value */
    const char *secret; /* the key before, when it is a secret and in braces; else NULL */
};

static struct o3_conf_item item_of(const yaml_event_t *ev) {
    struct place at = o3_document_place(ev->start_mark);
    return (struct o3_conf_item){.text = (const char *)ev->data.scalar.value,
                                 .len = ev->data.scalar.length,
                                 .is_quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE,
                                 .line = at.line,
                                 .col = at.col};
}

static int unknown_key(struct reader *r, struct place at, const char *full, const char *name) {
    char text[240], key[512], near[KEY_MAX];
    struct o3_conf_shown shown;
    o3_str_copy_n(key, sizeof key, full, o3_conf_key_part(full));
    if (r->secret) /* "{token: hush,more}": the rest of it */
        snprintf(text, sizeof text, "unknown key behind %s; a text that holds a comma needs quotes here", r->secret);
    else if (strchr(name, '.') && (o3_conf_find(full) >= 0 || o3_conf_is_group(full)))
        snprintf(text, sizeof text, "write %s nested, one group below the other, not with dots",
                 o3_conf_show(&shown, name, strlen(name)));
    else if (o3_conf_nearest(key, near, sizeof near))
        snprintf(text, sizeof text, "unknown key %s; did you mean \"%s\"?", o3_conf_show_key(&shown, full), near);
    else
        snprintf(text, sizeof text, "unknown key %s", o3_conf_show_key(&shown, full));
    return o3_document_fail(&r->d, at, text);
}

static int set_twice(struct reader *r, struct place at, const char *full, uint32_t line) {
    char text[160];
    snprintf(text, sizeof text, "%.64s: already given in line %u", full, line);
    return o3_document_fail(&r->d, at, text);
}

/* The items of a list, up to its end. */
static int read_list(struct reader *r, struct o3_conf_input *in) {
    struct o3_conf_item items[O3_CONF_LIST_MAX];
    size_t n = 0;
    for (;;) {
        AUTO_EVENT ev = {0};
        int rc = o3_document_next(&r->d, &ev);
        if (rc < 0) return rc;
        if (ev.type == YAML_SEQUENCE_END_EVENT) break;
        struct o3_conf_item item = {0};
        struct place at = o3_document_place(ev.start_mark);
        if (ev.type != YAML_SCALAR_EVENT)
            return o3_conf_fail(in->row, O3_ORIGIN_FILE, at.line, at.col, r->d.e, "a list holds single values only");
        item = item_of(&ev);
        if (n == O3_CONF_LIST_MAX)
            return o3_conf_fail(in->row, O3_ORIGIN_FILE, at.line, at.col, r->d.e, "at most %d items", O3_CONF_LIST_MAX);
        item.text = o3_arena_copy(&r->c->arena, item.text, item.len);
        if (!item.text) return o3_err_set(r->d.e, O3_E_NOMEM, "no memory for the configuration");
        items[n++] = item;
    }
    in->is_list = true;
    in->items = items;
    in->n = n;
    return o3_conf_set(r->c, in, r->d.e);
}

static int read_value(struct reader *r, size_t row) {
    AUTO_EVENT ev = {0};
    int rc = o3_document_next(&r->d, &ev);
    if (rc < 0) return rc;
    struct place at = o3_document_place(ev.start_mark);
    struct o3_conf_input in = {.row = row, .origin = O3_ORIGIN_FILE, .n = 1, .line = at.line, .col = at.col};
    if (ev.type == YAML_SEQUENCE_START_EVENT) return read_list(r, &in);
    if (ev.type != YAML_SCALAR_EVENT)
        return o3_conf_fail(row, O3_ORIGIN_FILE, at.line, at.col, r->d.e, "expected a value, found a group of keys");
    struct o3_conf_item item = item_of(&ev);
    in.items = &item;
    return o3_conf_set(r->c, &in, r->d.e);
}

static int read_keys(struct reader *r, const char *group);

static int read_group(struct reader *r, const char *group) {
    AUTO_EVENT ev = {0};
    int rc = o3_document_next(&r->d, &ev);
    if (rc < 0) return rc;
    if (ev.type == YAML_MAPPING_START_EVENT) {
        bool was_flow = r->is_flow;
        r->is_flow = ev.data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
        rc = read_keys(r, group);
        r->is_flow = was_flow;
        r->secret = NULL;
        return rc;
    }
    /* A group whose keys are all commented out is null. */
    if (o3_document_is_null(&ev)) return 0;
    char text[160];
    snprintf(text, sizeof text, "%s%sexpected a group of keys, one per line", group, *group ? ": " : "");
    return o3_document_fail(&r->d, o3_document_place(ev.start_mark), text);
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
    struct place at = o3_document_place(ev->start_mark);
    const char *name = (const char *)ev->data.scalar.value;
    char full[512];
    if (ev->data.scalar.length > 256 || strlen(name) != ev->data.scalar.length)
        return o3_document_fail(&r->d, at, "this is no key: it is too long or holds a NUL character");
    snprintf(full, sizeof full, "%s%s%s", group, *group ? "." : "", name);
    int row = strchr(name, '.') ? -1 : o3_conf_find(full);
    if (row >= 0) {
        if (r->c->from[row].origin == O3_ORIGIN_FILE) return set_twice(r, at, full, r->c->from[row].key_line);
        r->c->from[row].key_line = at.line;
        const struct o3_conf_row *found = o3_conf_row((size_t)row);
        r->secret = r->is_flow && found->type == O3_CONF_SECRET ? found->key : NULL;
        return read_value(r, (size_t)row);
    }
    if (strchr(name, '.') || !*name || !o3_conf_is_group(full)) return unknown_key(r, at, full, name);
    int rc = remember_group(r, full, at);
    return rc < 0 ? rc : read_group(r, full);
}

static int read_keys(struct reader *r, const char *group) {
    for (;;) {
        AUTO_EVENT ev = {0};
        int rc = o3_document_next(&r->d, &ev);
        if (rc < 0) return rc;
        if (ev.type == YAML_MAPPING_END_EVENT) return 0;
        if (ev.type != YAML_SCALAR_EVENT)
            return o3_document_fail(&r->d, o3_document_place(ev.start_mark), "expected the name of a key");
        rc = read_key(r, group, &ev);
        if (rc < 0) return rc;
    }
}

static int read_document(void *ctx) {
    return read_group(ctx, "");
}

int o3_conf_read_yaml(struct o3_config *c, const char *text, size_t n, struct o3_err *e) {
    struct reader r = {.c = c};
    int rc = o3_document_open(&r.d, text, n, e);
    if (rc < 0) return rc;
    rc = o3_document_read(&r.d, read_document, &r);
    o3_document_close(&r.d);
    return rc;
}
