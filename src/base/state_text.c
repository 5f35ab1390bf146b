/* SPDX-License-Identifier: Apache-2.0 */
#include "base/state_text.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "o3/text.h"

#define WORD_SIZE 64

void o3_state_put_name(struct o3_buf *out, const char *name) {
    o3_buf_add_char(out, ' ');
    o3_buf_adds(out, name);
}

void o3_state_put_int(struct o3_buf *out, int64_t v) {
    o3_buf_add_int_word(out, v);
}

void o3_state_put_double(struct o3_buf *out, double v) {
    o3_buf_add_char(out, ' ');
    o3_buf_add_hex(out, v);
}

void o3_state_put_text(struct o3_buf *out, const char *text) {
    size_t n = strlen(text);
    o3_state_put_int(out, (int64_t)n);
    o3_buf_add_char(out, ':');
    o3_buf_add(out, text, n);
}

static bool is_space(char c) {
    return c == ' ' || c == '\n';
}

static void skip_spaces(struct o3_state_reader *r) {
    while (r->p < r->end && is_space(*r->p))
        r->p++;
}

/* The next word; "" at the end, when it is too long, and after damage. */
static void read_word(struct o3_state_reader *r, char word[WORD_SIZE]) {
    size_t n = 0;
    skip_spaces(r);
    while (r->p < r->end && !is_space(*r->p) && n < WORD_SIZE - 1)
        word[n++] = *r->p++;
    if (!n || n == WORD_SIZE - 1) r->is_bad = true;
    word[r->is_bad ? 0 : n] = '\0';
}

void o3_state_read_name(struct o3_state_reader *r, const char *name) {
    char word[WORD_SIZE];
    read_word(r, word);
    if (strcmp(word, name) != 0) r->is_bad = true;
}

int o3_state_read_head(struct o3_state_reader *r, const char *magic, int version, struct o3_err *e) {
    o3_state_read_name(r, magic);
    int64_t found = o3_state_read_int(r, 1, INT32_MAX);
    if (r->is_bad || found == version) return 0;
    if (found > version)
        return o3_err_set(e, O3_E_STORE_NEWER, "%s state of version %" PRId64 ", this program knows %d", magic, found,
                          version);
    return o3_err_set(e, O3_E_PARSE, "%s state of version %" PRId64 " is no longer read", magic, found);
}

int64_t o3_state_read_int(struct o3_state_reader *r, int64_t lo, int64_t hi) {
    char word[WORD_SIZE];
    int64_t v = 0;
    read_word(r, word);
    if (r->is_bad || !o3_int_parse(word, &v) || v < lo || v > hi) r->is_bad = true;
    return r->is_bad ? 0 : v;
}

double o3_state_read_any(struct o3_state_reader *r) {
    char word[WORD_SIZE], *end = word;
    read_word(r, word);
    double v = strtod(word, &end);
    if (end == word || *end) r->is_bad = true;
    return r->is_bad ? 0 : v;
}

double o3_state_read_double(struct o3_state_reader *r, double lo, double hi) {
    double v = o3_state_read_any(r);
    if (!(v >= lo && v <= hi)) r->is_bad = true;
    return r->is_bad ? 0 : v;
}

void o3_state_read_text(struct o3_state_reader *r, char *ret, size_t size) {
    size_t n = 0;
    skip_spaces(r);
    const char *digits = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9' && n < size)
        n = 10 * n + (size_t)(*r->p++ - '0');
    bool is_there = r->p > digits && r->p < r->end && *r->p == ':' && n < size && (size_t)(r->end - r->p - 1) >= n;
    if (r->is_bad || !is_there || memchr(r->p + 1, '\0', n)) {
        r->is_bad = true;
        return;
    }
    memcpy(ret, r->p + 1, n);
    ret[n] = '\0';
    r->p += n + 1;
}
