/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/err.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/buf.h"

#define RETRY_NEVER 0
#define RETRY_LATER 1
static const struct o3_error_row ROWS[] = {
#define O3_ERROR(sym, wire, exit_status, retry, meaning) {O3_E_##sym, #sym, wire, meaning, exit_status, RETRY_##retry},
#include "o3/tables/errors.def"
#undef O3_ERROR
};

const struct o3_error_row *o3_error_rows(void) {
    return ROWS;
}

const struct o3_error_row *o3_error_row(int code) {
    int i = -1 - code;
    if (i < 0 || i >= (int)O3_ERROR_COUNT) i = O3_ERROR_INDEX_INTERNAL;
    return &ROWS[i];
}

static void fill(struct o3_err *e, int code, uint32_t line, uint32_t col, const char *fmt, va_list ap) O3_PRINTF(5, 0);
static void fill(struct o3_err *e, int code, uint32_t line, uint32_t col, const char *fmt, va_list ap) {
    if (!e) return;
    *e = (struct o3_err){.code = code, .line = line, .col = col};
    vsnprintf(e->text, sizeof e->text, fmt, ap);
}

int o3_err_set(struct o3_err *e, int code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fill(e, code, 0, 0, fmt, ap);
    va_end(ap);
    return code;
}

int o3_err_at(struct o3_err *e, int code, uint32_t line, uint32_t col, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fill(e, code, line, col, fmt, ap);
    va_end(ap);
    return code;
}

void o3_assert_failed(const char *cond, const char *file, int line) {
    fprintf(stderr, "level=error event=assertion_failed condition=\"%s\" place=%s:%d\n", cond, file, line);
    abort();
}
