/* SPDX-License-Identifier: Apache-2.0 */
/* libyaml's events. Only what a configuration needs is let in: one document, no anchors, no tags. */
#include "conf/document.h"
#include <stdio.h>
#include <string.h>
#include "o3/config.h"
#include "o3/text.h"

struct place o3_document_place(yaml_mark_t mark) {
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

int o3_document_fail(struct o3_document *d, struct place at, const char *text) {
    return o3_err_at(d->e, O3_E_CONFIG, at.line, at.col, "%s", text);
}

/* Bytes that libyaml would refuse without saying where, or in words that do not help. */
static int check_bytes(struct o3_document *d) {
    if (d->n > O3_CONF_FILE_MAX) return o3_document_fail(d, (struct place){1, 1}, "the file is larger than 1 MiB");
    size_t good = 0;
    bool is_utf8 = o3_utf8_valid(d->text, d->n);
    /* Where the good part ends is asked only once a file is known to be bad. A character has at most 4 bytes. */
    while (!is_utf8 && good < d->n) {
        size_t len = 1;
        while (len <= 4 && good + len <= d->n && !o3_utf8_valid(d->text + good, len))
            len++;
        if (len > 4 || good + len > d->n)
            return o3_document_fail(d, place_of_byte(d->text, good), "this is not UTF-8 text");
        good += len;
    }
    for (size_t i = 0; i < d->n; i++) {
        unsigned char b = (unsigned char)d->text[i];
        if ((b < 0x20 && !strchr("\t\n\r", b)) || b == 0 || b == 0x7f)
            return o3_document_fail(d, place_of_byte(d->text, i), "a control character is not allowed here");
    }
    return 0;
}

static int yaml_failed(struct o3_document *d) {
    const yaml_parser_t *y = &d->yaml;
    char text[200];
    if (y->error == YAML_MEMORY_ERROR) return o3_err_set(d->e, O3_E_NOMEM, "no memory for the configuration");
    struct place at = o3_document_place(y->problem_mark);
    if (y->error == YAML_READER_ERROR)
        at = place_of_byte(d->text, y->problem_offset < d->n ? y->problem_offset : d->n);
    else if (byte_at(d->text, d->n, y->problem_mark) == '\t')
        return o3_document_fail(d, at, "a tab cannot indent; use spaces");
    int n = snprintf(text, sizeof text, "not valid YAML: %s%s%s", y->problem ? y->problem : "it cannot be read",
                     y->context ? " " : "", y->context ? y->context : "");
    struct place begin = o3_document_place(y->context_mark);
    if (y->context && begin.line < at.line && n > 0 && (size_t)n < sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, " that began at %u:%u", begin.line, begin.col);
    return o3_document_fail(d, at, text);
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

int o3_document_next(struct o3_document *d, yaml_event_t *ev) {
    if (!yaml_parser_parse(&d->yaml, ev)) return yaml_failed(d);
    if (has_anchor_or_tag(ev))
        return o3_document_fail(d, o3_document_place(ev->start_mark),
                                "anchors (&), aliases (*) and tags (!) are not allowed; write the value");
    return 0;
}

bool o3_document_is_null(const yaml_event_t *ev) {
    return ev->type == YAML_SCALAR_EVENT && ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!ev->data.scalar.length || !strcmp((const char *)ev->data.scalar.value, "null") ||
            !strcmp((const char *)ev->data.scalar.value, "~"));
}

int o3_document_read(struct o3_document *d, int (*read)(void *ctx), void *ctx) {
    for (int documents = 0;;) {
        AUTO_EVENT ev = {0};
        int rc = o3_document_next(d, &ev);
        if (rc < 0) return rc;
        if (ev.type == YAML_STREAM_END_EVENT) return 0;
        if (ev.type != YAML_DOCUMENT_START_EVENT) continue;
        if (documents++)
            return o3_document_fail(d, o3_document_place(ev.start_mark), "only one YAML document is allowed");
        rc = read(ctx);
        if (rc < 0) return rc;
    }
}

int o3_document_open(struct o3_document *d, const char *text, size_t n, struct o3_err *e) {
    *d = (struct o3_document){.text = text, .n = n, .e = e};
    int rc = check_bytes(d);
    if (rc < 0) return rc;
    if (!yaml_parser_initialize(&d->yaml)) return o3_err_set(e, O3_E_NOMEM, "no memory for the configuration");
    yaml_parser_set_input_string(&d->yaml, (const unsigned char *)text, n);
    return 0;
}

void o3_document_close(struct o3_document *d) {
    yaml_parser_delete(&d->yaml);
}
