/* SPDX-License-Identifier: Apache-2.0 */
#include "io/lines.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES (4 * O3_LINE_MAX)

ssize_t o3_lines_read_fd(void *fd, void *out, size_t n) {
    return read(*(const int *)fd, out, n);
}

int o3_lines_init(struct o3_lines *l, o3_lines_read_fn *read, void *ctx, struct o3_err *e) {
    *l = (struct o3_lines){.read = read, .ctx = ctx, .block = malloc(BLOCK_BYTES + 1)};
    return l->block ? 0 : o3_err_set(e, O3_E_NOMEM, "no memory for lines");
}

void o3_lines_done(struct o3_lines *l) {
    free(l->block);
    l->block = NULL;
}

/* Moves what is left to the front and reads once more behind it. */
static int fill(struct o3_lines *l, struct o3_err *e) {
    memmove(l->block, l->block + l->from, l->to - l->from);
    l->to -= l->from;
    l->from = 0;
    ssize_t n;
    do
        n = l->read(l->ctx, l->block + l->to, BLOCK_BYTES - l->to);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (e) e->sys = errno;
        return o3_err_set(e, O3_E_IO, "cannot be read: %s", strerror(errno));
    }
    l->is_end = n == 0;
    l->to += (size_t)n;
    return 0;
}

/* Forgets the rest of a line that is too long. */
static int pass_over(struct o3_lines *l, struct o3_err *e) {
    for (;;) {
        const char *end = memchr(l->block + l->from, '\n', l->to - l->from);
        l->from = end ? (size_t)(end + 1 - l->block) : l->to;
        if (end || l->is_end) return o3_err_set(e, O3_E_PARSE, "the line is longer than %zu bytes", O3_LINE_MAX);
        int r = fill(l, e);
        if (r < 0) return r;
    }
}

static int hand_out(struct o3_lines *l, size_t n, bool has_end, char **ret, size_t *ret_n, struct o3_err *e) {
    char *line = l->block + l->from;
    l->from += n + has_end;
    if (n > O3_LINE_MAX) return o3_err_set(e, O3_E_PARSE, "the line is longer than %zu bytes", O3_LINE_MAX);
    if (n && line[n - 1] == '\r') n--;
    line[n] = '\0';
    if (memchr(line, 0, n)) return o3_err_set(e, O3_E_PARSE, "the line holds a NUL byte");
    *ret = line;
    *ret_n = n;
    return 1;
}

int o3_lines_next(struct o3_lines *l, char **ret, size_t *ret_n, struct o3_err *e) {
    for (size_t seen = 0;;) {
        size_t held = l->to - l->from;
        const char *end = memchr(l->block + l->from + seen, '\n', held - seen);
        if (!end && l->is_end && !held) return 0;
        if (end || l->is_end) {
            l->number++;
            return hand_out(l, end ? (size_t)(end - (l->block + l->from)) : held, end, ret, ret_n, e);
        }
        if (held > O3_LINE_MAX) {
            l->number++;
            return pass_over(l, e);
        }
        seen = held;
        int r = fill(l, e);
        if (r < 0) return r;
    }
}

char *o3_lines_peek(struct o3_lines *l) {
    while (!l->is_end && l->to <= O3_LINE_MAX)
        if (fill(l, NULL) < 0) return NULL;
    size_t from = l->from;
    while (from < l->to && strchr(" \t\r\n", l->block[from]) && l->block[from])
        from++;
    const char *end = memchr(l->block + from, '\n', l->to - from);
    size_t n = end ? (size_t)(end - (l->block + from)) : l->to - from;
    return n && n <= O3_LINE_MAX ? strndup(l->block + from, n) : NULL;
}
