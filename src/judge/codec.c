/* SPDX-License-Identifier: Apache-2.0 */
#include "judge/codec.h"
#include <stdlib.h>
#include <string.h>
#include "o3/text.h"

#define WORD_SIZE 64

static void read_word(struct codec *c, char word[WORD_SIZE]) {
    size_t n = 0;
    while (c->p < c->end && *c->p == ' ')
        c->p++;
    while (c->p < c->end && *c->p != ' ' && n < WORD_SIZE - 1)
        word[n++] = *c->p++;
    word[n] = '\0';
    if (!n || n == WORD_SIZE - 1) c->is_bad = true;
}

void o3_codec_name(struct codec *c, const char *name) {
    if (c->out) {
        o3_buf_addf(c->out, " %s", name);
        return;
    }
    char word[WORD_SIZE];
    read_word(c, word);
    if (strcmp(word, name) != 0) c->is_bad = true;
}

void o3_codec_int(struct codec *c, int64_t *v, int64_t lo, int64_t hi) {
    if (c->out) {
        o3_buf_adds(c->out, " ");
        o3_buf_add_int(c->out, *v);
        return;
    }
    char word[WORD_SIZE];
    int64_t read = 0;
    read_word(c, word);
    if (c->is_bad || !o3_int_parse(word, &read) || read < lo || read > hi)
        c->is_bad = true;
    else
        *v = read;
}

void o3_codec_double(struct codec *c, double *v) {
    if (c->out) {
        o3_buf_adds(c->out, " ");
        o3_buf_add_hex(c->out, *v);
        return;
    }
    char word[WORD_SIZE], *end = word;
    read_word(c, word);
    double read = strtod(word, &end);
    if (c->is_bad || end == word || *end)
        c->is_bad = true;
    else
        *v = read;
}

void o3_codec_text(struct codec *c, char *v, size_t size) {
    if (c->out) {
        size_t n = strlen(v);
        o3_buf_addf(c->out, " %zu:", n);
        (void)o3_buf_add(c->out, v, n);
        return;
    }
    int64_t n = 0;
    while (c->p < c->end && *c->p == ' ')
        c->p++;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9' && n < (int64_t)size)
        n = 10 * n + (*c->p++ - '0');
    bool is_there = c->p < c->end && *c->p == ':' && n < (int64_t)size && c->end - c->p - 1 >= n;
    if (c->is_bad || !is_there || memchr(c->p + 1, '\0', (size_t)n)) {
        c->is_bad = true;
        return;
    }
    memcpy(v, c->p + 1, (size_t)n);
    v[n] = '\0';
    c->p += n + 1;
}
