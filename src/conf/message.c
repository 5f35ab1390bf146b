/* SPDX-License-Identifier: Apache-2.0 */
/* Words for people: how an error names its source, how foreign text is shown, which key was probably meant. */
#include "conf/conf.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "o3/text.h"

int o3_conf_fail(size_t row, enum o3_conf_origin origin, uint32_t line, uint32_t col, struct o3_err *e, const char *fmt,
                 ...) {
    const struct o3_conf_row *r = o3_conf_row(row);
    char text[sizeof e->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    int code = origin == O3_ORIGIN_FLAG ? O3_E_USAGE : O3_E_CONFIG;
    const char *name = origin == O3_ORIGIN_ENVIRONMENT ? r->env : r->key;
    return o3_err_at(e, code, line, col, "%s%s: %s", origin == O3_ORIGIN_FLAG ? "--" : "", name, text);
}

const char *o3_conf_show(struct o3_conf_shown *out, const char *text, size_t n) {
    char cut[O3_CONF_SHOWN_MAX + 1];
    bool fits = o3_str_copy_n(cut, sizeof cut, text, n);
    if (!o3_utf8_valid(cut, strlen(cut))) o3_str_copy(cut, sizeof cut, "?");
    for (unsigned char *p = (unsigned char *)cut; *p; p++) {
        bool is_c1 = p[0] == 0xc2 && p[1] < 0xa0; /* U+0080..9F: some terminals obey them */
        if (is_c1) p[1] = '?';
        if (is_c1 || *p < 0x20 || *p == 0x7f) *p = '?';
    }
    snprintf(out->text, sizeof out->text, "\"%s%s\"", cut, fits ? "" : "...");
    return out->text;
}

size_t o3_conf_key_part(const char *text) {
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
}

const char *o3_conf_show_key(struct o3_conf_shown *out, const char *text) {
    char key[O3_CONF_SHOWN_MAX + 1];
    size_t n = o3_conf_key_part(text);
    bool is_whole = o3_str_copy_n(key, sizeof key, text, n) && !text[n];
    snprintf(out->text, sizeof out->text, "\"%s%s\"", key, is_whole ? "" : "...");
    return out->text;
}

/* The last word of a dotted key. */
static const char *tail(const char *key) {
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

struct nearest {
    char key[64];
    int distance;
};

static void consider(struct nearest *best, const char *wanted, const char *key, size_t n) {
    char candidate[sizeof best->key];
    o3_str_copy_n(candidate, sizeof candidate, key, n);
    if (!strncmp(wanted, candidate, n) && wanted[n] == '.') return; /* the group that the reader is in already */
    int distance = o3_edit_distance(wanted, candidate);
    if (distance >= best->distance) return;
    best->distance = distance;
    memcpy(best->key, candidate, sizeof candidate);
}

/* The only key or group with this last word: the reader has the right word in the wrong group. */
static bool only_with_tail(const char *word, char *out, size_t size) {
    char found[64] = "";
    for (size_t i = 0; i < O3_CONF_ROWS; i++) {
        const char *known = o3_conf_row(i)->key;
        for (size_t n = strcspn(known, "."); n; n = known[n] ? n + 1 + strcspn(known + n + 1, ".") : 0) {
            char path[sizeof found];
            o3_str_copy_n(path, sizeof path, known, n);
            if (strcmp(tail(path), word) || !strcmp(path, found)) continue;
            if (*found) return false;
            memcpy(found, path, sizeof path);
        }
    }
    return *found && o3_str_copy(out, size, found);
}

bool o3_conf_nearest(const char *key, char *out, size_t size) {
    struct nearest best = {.distance = 64};
    for (size_t i = 0; i < O3_CONF_ROWS; i++) {
        const char *known = o3_conf_row(i)->key;
        for (const char *dot = strchr(known, '.'); dot; dot = strchr(dot + 1, '.'))
            consider(&best, key, known, (size_t)(dot - known));
        consider(&best, key, known, strlen(known));
    }
    if (best.distance > 2 && only_with_tail(tail(key), out, size)) return true;
    int third = (int)(strlen(key) / 3);
    int near = third < 1 ? 1 : third > 3 ? 3 : third; /* typing errors, not other words */
    return best.distance <= near && o3_str_copy(out, size, best.key);
}
