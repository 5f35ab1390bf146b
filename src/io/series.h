/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_SERIES_H
#define O3_IO_SERIES_H
/* Lines of text as a series: bare numbers, or a column of a CSV with a column of times beside it. */
#include <stdbool.h>
#include <stdint.h>
#include "o3/buf.h"
#include "o3/err.h"

/* A number as programs print it, with NaN and infinities; blanks around it do not count. */
bool o3_series_value_parse(const char *text, double *ret);
/* RFC 3339, the same without an offset (UTC), or the time since 1970 in s, ms, us or ns, told apart by its size. */
bool o3_series_time_parse(const char *text, int64_t *ret_wall_ms);

/* One line of a CSV (RFC 4180; a field does not go over the end of a line), divided at commas, or at semicolons when
 * the header has no comma. */
#define O3_CSV_FIELDS_MAX 256
struct o3_csv {
    char divider;
    int n_columns;
    char **names;
    int time, value; /* columns; -1: no times */
};
/* Reads the header and finds the columns. time NULL: "time" or "timestamp" when there is one; value NULL: the only one
 * left. */
O3_MUST_CHECK int o3_csv_header(struct o3_csv *c, const char *line, const char *time, const char *value,
                                struct o3_err *e);
void o3_csv_done(struct o3_csv *c);
/* Changes `line`. *ret_wall_ms stays as it is without a column of times; an empty value is NaN. */
O3_MUST_CHECK int o3_csv_row(const struct o3_csv *c, char *line, int64_t *ret_wall_ms, double *ret, struct o3_err *e);

#endif
