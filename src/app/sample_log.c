/* SPDX-License-Identifier: Apache-2.0 */
#include "app/sample_log.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "app/log_record.h"
#include "io/file.h"

#define BYTES_MAX (16u << 20)
#define KEPT 4
#define STEM_MAX 200
#define TAIL_BYTES (256u << 10) /* more than a batch has of one model */
#define TOLD '='                /* before the stem */
#define NEWS '+'

struct line {
    const char *p;
    size_t n; /* with its newline */
};
struct block {
    char path[PATH_MAX];
    bool is_told;
    struct line record, sample;
};

void o3_sample_log_begin(struct o3_buf *batch, const char *folder) {
    o3_buf_add_quoted(batch, folder); /* one line, whatever it holds */
    o3_buf_adds(batch, "\n");
}

void o3_sample_log_add(struct o3_buf *batch, const char *stem, bool is_told, const struct o3_config *c,
                       const char *run_id, const struct o3_sample *v) {
    o3_buf_addf(batch, "%c%s\n", is_told ? TOLD : NEWS, stem);
    (void)o3_log_record_encode(c, v->model, run_id, v->wall_ms, batch);
    o3_buf_adds(batch, "\n");
    (void)o3_sample_encode_json(v, run_id, batch);
    o3_buf_adds(batch, "\n");
}

static bool take_line(const char **p, const char *end, struct line *ret) {
    const char *newline = memchr(*p, '\n', (size_t)(end - *p));
    if (!newline) return false;
    *ret = (struct line){.p = *p, .n = (size_t)(newline + 1 - *p)};
    *p = newline + 1;
    return true;
}

static bool take_block(const char *folder, const char **p, const char *end, struct block *ret) {
    struct line head;
    if (!take_line(p, end, &head) || !take_line(p, end, &ret->record) || !take_line(p, end, &ret->sample)) return false;
    size_t n_stem = head.n - 1;
    if (n_stem < 2 || n_stem > STEM_MAX || head.p[1] == '.' || memchr(head.p, '/', n_stem)) return false;
    ret->is_told = head.p[0] == TOLD;
    int n = snprintf(ret->path, sizeof ret->path, "%s/%.*s.jsonl", folder, (int)n_stem - 1, head.p + 1);
    return n > 0 && (size_t)n < sizeof ret->path;
}

static bool begins_file(const char *path, size_t n) {
    struct stat st;
    return stat(path, &st) < 0 || st.st_size == 0 || (uint64_t)st.st_size + n > BYTES_MAX;
}

/* One write for both lines; in the batch they stand one behind the other. */
static int append(const struct block *b, struct o3_err *e) {
    size_t n = b->record.n + b->sample.n;
    bool with_record = !b->is_told || begins_file(b->path, n);
    const struct line *first = with_record ? &b->record : &b->sample;
    return o3_file_append_rotated(b->path, first->p, with_record ? n : b->sample.n, BYTES_MAX, KEPT, e);
}

int o3_sample_log_append(const char *folder, const char *batch, size_t n, struct o3_err *e) {
    struct line head;
    struct block b;
    const char *p = batch, *end = n ? batch + n : batch;
    if (!n || !take_line(&p, end, &head) || p == end) return 0;
    int r = o3_file_make_dirs(folder, e);
    while (r == 0 && take_block(folder, &p, end, &b))
        r = append(&b, e);
    return r;
}

/* ---- after a kill ---- */

static bool is_of(const struct line *head, const char *folder) {
    O3_AUTO_BUF own;
    o3_buf_init(&own, head->n + 1);
    o3_buf_add_quoted(&own, folder);
    return !own.err && own.len == head->n - 1 && !memcmp(o3_buf_str(&own), head->p, own.len);
}

static bool time_of(const char *line, size_t n, int64_t *ret_wall_ms) {
    struct o3_sample v;
    struct o3_err e;
    if (o3_sample_decode_json(line, n, &v, &e) < 0) return false;
    *ret_wall_ms = v.wall_ms;
    return true;
}

/* Of the last whole line that is a sample; INT64_MIN: there is none. */
static int64_t last_time(const char *text, size_t n) {
    int64_t wall_ms;
    while (n) {
        const char *newline = memrchr(text, '\n', n),
                   *before = newline ? memrchr(text, '\n', (size_t)(newline - text)) : NULL;
        if (!newline) break;
        const char *line = before ? before + 1 : text;
        if (time_of(line, (size_t)(newline - line), &wall_ms)) return wall_ms;
        n = (size_t)(line - text);
    }
    return INT64_MIN;
}

static bool has_it_or_later(const char *path, const struct line *l) {
    O3_AUTO_BUF tail;
    int64_t wall_ms;
    o3_buf_init(&tail, TAIL_BYTES);
    if (o3_file_read_tail(path, TAIL_BYTES, &tail, NULL) < 0) return false;
    return memmem(o3_buf_str(&tail), tail.len, l->p, l->n) ||
           (time_of(l->p, l->n - 1, &wall_ms) && last_time(o3_buf_str(&tail), tail.len) > wall_ms);
}

/* The file may have become the first rotated one with this very batch. */
static bool is_there(const struct block *b) {
    char rotated[PATH_MAX + 2];
    snprintf(rotated, sizeof rotated, "%s.1", b->path);
    return has_it_or_later(b->path, &b->sample) || has_it_or_later(rotated, &b->sample);
}

int o3_sample_log_complete(const char *folder, const char *batch, size_t n, int64_t *ret_n_missing, struct o3_err *e) {
    struct line head;
    struct block b;
    const char *p = batch, *end = n ? batch + n : batch;
    *ret_n_missing = 0;
    if (!n || !take_line(&p, end, &head) || !is_of(&head, folder)) return 0;
    int r = o3_file_make_dirs(folder, e);
    while (r == 0 && take_block(folder, &p, end, &b)) {
        if (is_there(&b)) continue;
        r = append(&b, e);
        *ret_n_missing += r == 0;
    }
    return r;
}
