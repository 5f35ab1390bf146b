/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_ERR_H
#define O3_ERR_H
/* Errors: a negative code, and one place for the detail. 0 is success everywhere.
 * The caller owns struct o3_err; there is no global last error. A NULL err is allowed. */
#include <stdint.h>

#define O3_MUST_CHECK __attribute__((warn_unused_result))
#define O3_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum o3_error_index {
#define O3_ERROR(sym, wire, exit_status, retry, meaning) O3_ERROR_INDEX_##sym,
#include "o3/tables/errors.def"
#undef O3_ERROR
    O3_ERROR_COUNT
};

enum o3_error_code {
    O3_OK = 0,
#define O3_ERROR(sym, wire, exit_status, retry, meaning) O3_E_##sym = -1 - O3_ERROR_INDEX_##sym,
#include "o3/tables/errors.def"
#undef O3_ERROR
};

struct o3_err {
    int code;           /* O3_E_* */
    int sys;            /* errno, CURLcode, SQLite code ... of the layer that failed; 0 if none */
    uint32_t line, col; /* place in an input, from 1; 0 if none */
    char text[256];     /* for people; never holds a secret */
};

struct o3_error_row {
    int code;
    const char *symbol, *wire_name, *meaning;
    int exit_status;
    int retry_later;
};

/* Fills `e` (may be NULL) and returns `code`, so that callers write `return o3_err_set(...)`. */
int o3_err_set(struct o3_err *e, int code, const char *fmt, ...) O3_PRINTF(3, 4);
int o3_err_at(struct o3_err *e, int code, uint32_t line, uint32_t col, const char *fmt, ...) O3_PRINTF(5, 6);

const struct o3_error_row *o3_error_row(int code); /* never NULL: unknown codes map to INTERNAL */
const struct o3_error_row *o3_error_rows(void);    /* O3_ERROR_COUNT rows */

/* Bugs only. Stays on in release: prints the place and aborts; the supervisor restarts. */
#define O3_ASSERT(cond) ((cond) ? (void)0 : o3_assert_failed(#cond, __FILE__, __LINE__))
__attribute__((noreturn)) void o3_assert_failed(const char *cond, const char *file, int line);

#endif
