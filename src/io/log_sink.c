/* SPDX-License-Identifier: Apache-2.0 */
#include "io/log_sink.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "o3/text.h"

enum {
    MAX_LINE = PIPE_BUF - 64, /* with the newline and repeated= within what a pipe takes whole */
    MAX_ENCODED = 64 * 1024,  /* before strings are cut */
    MAX_FIELDS = 24,
    CUT_BYTES = 96,       /* per string of a line that is too long */
    FOLD_MS = 60000,      /* a folded line is told at least so often */
    WRITE_TIMEOUT_MS = 50 /* a reader of our stderr that stands still must not stop the loop */
};

struct o3_log {
    int fd;
    enum o3_log_format format;
    enum o3_log_level level;
    struct o3_buf key;  /* the last line with its time left out */
    struct o3_buf line; /* the last line; of the latest repetition when n_repeated > 0 */
    struct o3_buf next_key, next_line;
    int64_t n_repeated; /* occurrences of `line` not yet told */
    int64_t told_ms;
    int64_t n_lost;
};

struct o3_log *o3_log_new(int fd, enum o3_log_format format, enum o3_log_level level) {
    struct o3_log *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    l->fd = fd;
    o3_log_configure(l, format, level);
    o3_buf_init(&l->key, MAX_ENCODED);
    o3_buf_init(&l->line, MAX_ENCODED);
    o3_buf_init(&l->next_key, MAX_ENCODED);
    o3_buf_init(&l->next_line, MAX_ENCODED);
    return l;
}

void o3_log_free(struct o3_log *l) {
    if (!l) return;
    o3_log_flush(l);
    o3_buf_done(&l->key);
    o3_buf_done(&l->line);
    o3_buf_done(&l->next_key);
    o3_buf_done(&l->next_line);
    free(l);
}

void o3_log_configure(struct o3_log *l, enum o3_log_format format, enum o3_log_level level) {
    o3_log_flush(l);
    l->format = format;
    l->level = level;
}

int64_t o3_log_lost(const struct o3_log *l) {
    return l->n_lost;
}

/* --- lines --- */

static void encode(const struct o3_log *l, int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f, size_t n,
                   struct o3_buf *out) {
    o3_buf_clear(out);
    if (l->format == O3_LOG_JSON)
        (void)o3_event_encode_json(wall_ms, ev, f, n, out); /* the buffer remembers an error */
    else
        (void)o3_event_encode_logfmt(wall_ms, ev, f, n, out);
}

/* The same line with its strings cut. Fields past MAX_FIELDS go: the table names far fewer. */
static void encode_cut(const struct o3_log *l, int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f, size_t n,
                       struct o3_buf *out) {
    struct o3_field cut[MAX_FIELDS];
    char texts[MAX_FIELDS][CUT_BYTES];
    if (n > MAX_FIELDS) n = MAX_FIELDS;
    for (size_t i = 0; i < n; i++) {
        cut[i] = f[i];
        if (f[i].type != O3_FIELD_STR || !f[i].s) continue;
        o3_str_copy(texts[i], sizeof texts[i], f[i].s);
        cut[i].s = texts[i];
    }
    encode(l, wall_ms, ev, cut, n, out);
}

/* `repeated` goes to the end of the line: in JSON before the closing brace. */
static void add_repeated(struct o3_buf *line, enum o3_log_format format, int64_t n) {
    if (format == O3_LOG_JSON) {
        line->len--;
        o3_buf_addf(line, ",\"repeated\":%lld}", (long long)n);
    } else {
        o3_buf_addf(line, " repeated=%lld", (long long)n);
    }
}

static bool is_writable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, WRITE_TIMEOUT_MS) == 1;
}

static void put_line(struct o3_log *l, struct o3_buf *line) {
    o3_buf_add(line, "\n", 1);
    const char *p = line->p;
    size_t left = line->err ? 0 : line->len;
    bool ok = left > 0;
    while (ok && left) {
        ssize_t n = is_writable(l->fd) ? write(l->fd, p, left) : -1;
        if (n < 0 && errno == EINTR) continue;
        ok = n > 0;
        if (ok) {
            p += n;
            left -= (size_t)n;
        }
    }
    if (!ok) l->n_lost++;
}

void o3_log_flush(struct o3_log *l) {
    if (!l || !l->n_repeated) return;
    add_repeated(&l->line, l->format, l->n_repeated);
    l->n_repeated = 0;
    put_line(l, &l->line);
}

static void swap(struct o3_buf *a, struct o3_buf *b) {
    struct o3_buf t = *a;
    *a = *b;
    *b = t;
}

static bool is_repetition(const struct o3_log *l) {
    return l->key.len && !l->next_key.err && l->key.len == l->next_key.len &&
           !memcmp(l->key.p, l->next_key.p, l->key.len);
}

void o3_log_write(struct o3_log *l, int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    if (!l || o3_event_row(ev)->level > l->level) return;
    encode(l, 0, ev, f, n, &l->next_key);
    encode(l, wall_ms, ev, f, n, &l->next_line);
    if (l->next_line.err || l->next_line.len > MAX_LINE) encode_cut(l, wall_ms, ev, f, n, &l->next_line);
    if (is_repetition(l)) {
        swap(&l->line, &l->next_line);
        l->n_repeated++;
        if (wall_ms - l->told_ms < FOLD_MS && wall_ms >= l->told_ms) return;
        l->told_ms = wall_ms;
        o3_log_flush(l);
        return;
    }
    o3_log_flush(l);
    swap(&l->key, &l->next_key);
    swap(&l->line, &l->next_line);
    l->told_ms = wall_ms;
    put_line(l, &l->line);
}
