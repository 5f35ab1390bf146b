/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_LINES_H
#define O3_IO_LINES_H
/* A text as lines of bounded length, read in blocks. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "o3/err.h"

#define O3_LINE_MAX ((size_t)64 * 1024) /* bytes of a line without its end */

/* As read(2): bytes, 0 at the end, -1 with errno. */
typedef ssize_t o3_lines_read_fn(void *ctx, void *out, size_t n);

struct o3_lines {
    o3_lines_read_fn *read;
    void *ctx;
    char *block;
    size_t from, to; /* of what was read and is not handed out yet */
    bool is_end;
    int64_t number; /* of the line handed out last, from 1 */
};
O3_MUST_CHECK int o3_lines_init(struct o3_lines *l, o3_lines_read_fn *read, void *ctx, struct o3_err *e);
void o3_lines_done(struct o3_lines *l);
/* 1: a line, NUL-terminated, without "\n" or "\r\n", valid until the next call. 0: the end. O3_E_PARSE: this line is
 * too long or holds a NUL byte; it was passed over, and the next call goes on behind it. O3_E_IO. */
O3_MUST_CHECK int o3_lines_next(struct o3_lines *l, char **ret, size_t *ret_n, struct o3_err *e);
/* The first line that is not blank, as far as one block tells, without taking it; NULL: none, or too long. Before the
 * first o3_lines_next. The caller frees. */
char *o3_lines_peek(struct o3_lines *l);

/* A reader for a file descriptor: ctx points to an int. */
ssize_t o3_lines_read_fd(void *fd, void *out, size_t n);

#endif
