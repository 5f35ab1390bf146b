/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what `o3 replay` reads: lines in blocks of any size are the same lines; numbers, tables and samples are
 * understood or refused with a reason, and a sample that was read is written and read again alike. */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "io/lines.h"
#include "io/series.h"
#include "o3/sample.h"

struct source {
    const uint8_t *data;
    size_t n, at, piece;
};

static ssize_t read_piece(void *ctx, void *out, size_t n) {
    struct source *s = ctx;
    size_t left = s->n - s->at;
    if (n > s->piece) n = s->piece;
    if (n > left) n = left;
    if (n) memcpy(out, s->data + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

static void check_sample(const char *line, size_t n) {
    struct o3_sample a, b;
    struct o3_err e = {0};
    O3_AUTO_BUF text;
    o3_buf_init(&text, 1 << 20);
    if (o3_sample_decode_json(line, n, &a, &e) < 0) {
        O3_ASSERT(e.text[0]);
        return;
    }
    O3_ASSERT(o3_sample_encode_json(&a, "", &text) == 0);
    O3_ASSERT(o3_sample_decode_json(o3_buf_str(&text), text.len, &b, &e) == 0);
    O3_ASSERT(a.flags == b.flags && a.acknowledged == b.acknowledged && a.wall_ms == b.wall_ms);
    O3_ASSERT(a.around.parallel == b.around.parallel && a.around.loaded_wall_ms == b.around.loaded_wall_ms &&
              a.around.n_loads == b.around.n_loads && !strcmp(a.around.gpu, b.around.gpu));
    double x = a.around.pressure_io, y = b.around.pressure_io;
    O3_ASSERT((isnan(x) && isnan(y)) || !memcmp(&x, &y, sizeof x));
}

static void check_number(const char *line) {
    double value;
    int64_t wall_ms;
    (void)o3_series_value_parse(line, &value);
    (void)o3_series_time_parse(line, &wall_ms);
}

struct table {
    struct o3_csv csv;
    bool has_header, is_bad;
};

static void check_row(struct table *t, char *line) {
    struct o3_err e = {0};
    if (t->is_bad) return;
    if (!t->has_header) {
        t->is_bad = o3_csv_header(&t->csv, line, NULL, NULL, &e) < 0;
        t->has_header = !t->is_bad;
        O3_ASSERT(!t->is_bad || e.text[0]);
        return;
    }
    int64_t wall_ms = 0;
    double value = 0;
    if (o3_csv_row(&t->csv, line, &wall_ms, &value, &e) < 0) O3_ASSERT(e.text[0]);
}

/* A number for all that was read. */
static uint64_t read_all(const uint8_t *data, size_t n, size_t piece, bool is_checked) {
    struct source source = {.data = data, .n = n, .piece = piece};
    struct o3_lines l;
    struct o3_err e = {0};
    struct table t = {.has_header = false};
    uint64_t hash = 1469598103934665603u;
    O3_ASSERT(o3_lines_init(&l, read_piece, &source, &e) == 0);
    if (piece % 2) free(o3_lines_peek(&l));
    for (;;) {
        char *line = NULL;
        size_t len = 0;
        int r = o3_lines_next(&l, &line, &len, &e);
        if (r == 0) break;
        O3_ASSERT(r == 1 || r == O3_E_PARSE);
        hash = (hash ^ (uint64_t)(r == 1 ? len : 77777)) * 1099511628211u;
        if (r != 1) continue;
        O3_ASSERT(len <= O3_LINE_MAX && strlen(line) == len);
        for (size_t i = 0; i < len; i++)
            hash = (hash ^ (uint8_t)line[i]) * 1099511628211u;
        if (!is_checked) continue;
        check_sample(line, len);
        check_number(line);
        check_row(&t, line);
    }
    if (t.has_header) o3_csv_done(&t.csv);
    o3_lines_done(&l);
    return hash ^ (uint64_t)l.number;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    uint64_t whole = read_all(data, n, n + 2 - n % 2, true);
    O3_ASSERT(read_all(data, n, n ? 1 + data[0] % 7 : 1, false) == whole);
    return 0;
}
