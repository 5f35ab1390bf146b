/* SPDX-License-Identifier: Apache-2.0 */
#include "io/series.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "o3/text.h"

static const char *skip_blanks(const char *s) {
    return s + strspn(s, " \t");
}

/* Copies the text without the blanks around it; false when it is longer than any number or time. */
static bool trim(const char *text, char out[64]) {
    const char *s = skip_blanks(text);
    size_t n = strlen(s);
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        n--;
    return o3_str_copy_n(out, 64, s, n);
}

static bool parse_odd(const char *s, double *ret) {
    bool is_negative = *s == '-';
    if (*s == '-' || *s == '+') s++;
    bool is_infinite = !strcasecmp(s, "inf") || !strcasecmp(s, "infinity");
    if (!is_infinite && strcasecmp(s, "nan")) return false;
    *ret = !is_infinite ? (double)NAN : is_negative ? -(double)INFINITY : (double)INFINITY;
    return true;
}

bool o3_series_value_parse(const char *text, double *ret) {
    char s[64];
    return trim(text, s) && (o3_double_parse(s, ret) || parse_odd(s, ret));
}

static bool parse_count(double t, int64_t *ret_wall_ms) {
    static const struct {
        double below, per_ms;
    } UNITS[] = {{1e11, 0.001}, {1e14, 1}, {1e17, 1e3}, {9e18, 1e6}}; /* seconds reach the year 5138 */
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++) {
        if (!(fabs(t) < UNITS[i].below)) continue;
        *ret_wall_ms = (int64_t)floor(t / UNITS[i].per_ms);
        return true;
    }
    return false;
}

bool o3_series_time_parse(const char *text, int64_t *ret_wall_ms) {
    char s[64], utc[72];
    double t;
    if (!trim(text, s)) return false;
    if (o3_double_parse(s, &t)) return parse_count(t, ret_wall_ms);
    snprintf(utc, sizeof utc, "%sZ", s);
    return o3_rfc3339_parse(s, ret_wall_ms) || o3_rfc3339_parse(utc, ret_wall_ms);
}

/* ---- CSV ---- */

/* The field at *at, unquoted in place; *at is moved behind its divider, or to NULL at the end of the line. */
static int next_field(char **at, char divider, char **ret, struct o3_err *e) {
    char *s = *at;
    *ret = s;
    if (*s != '"') {
        char *end = strchr(s, divider);
        *at = end ? end + 1 : NULL;
        if (end) *end = '\0';
        return 0;
    }
    char *to = s++;
    for (; *s && (*s != '"' || s[1] == '"'); s++) {
        if (*s == '"') s++;
        *to++ = *s;
    }
    if (!*s || (s[1] && s[1] != divider))
        return o3_err_set(e, O3_E_PARSE, "%s", *s ? "text behind a closing quote" : "a quoted field has no end");
    *at = s[1] ? s + 2 : NULL;
    *to = '\0';
    return 0;
}

static int find_column(const struct o3_csv *c, const char *name) {
    for (int i = 0; i < c->n_columns; i++)
        if (!strcasecmp(c->names[i], name)) return i;
    return -1;
}

static int no_column(const struct o3_csv *c, const char *wanted, struct o3_err *e) {
    char names[160] = "";
    size_t n = 0;
    for (int i = 0; i < c->n_columns && n < sizeof names - 1; i++) {
        int more = snprintf(names + n, sizeof names - n, "%s\"%s\"", i ? ", " : "", c->names[i]);
        n = more > 0 ? n + (size_t)more : n;
    }
    if (wanted) return o3_err_set(e, O3_E_PARSE, "no column \"%.40s\"; the columns are %s", wanted, names);
    return o3_err_set(e, O3_E_PARSE, "say which column with --value; the columns are %s", names);
}

static int find_columns(struct o3_csv *c, const char *time, const char *value, struct o3_err *e) {
    c->time = time ? find_column(c, time) : find_column(c, "time");
    if (!time && c->time < 0) c->time = find_column(c, "timestamp");
    if (time && c->time < 0) return no_column(c, time, e);
    if (value)
        c->value = find_column(c, value);
    else if (c->n_columns == 1 + (c->time >= 0))
        c->value = c->time == 0 ? 1 : 0;
    else
        c->value = -1;
    return c->value < 0 || c->value == c->time ? no_column(c, value, e) : 0;
}

int o3_csv_header(struct o3_csv *c, const char *line, const char *time, const char *value, struct o3_err *e) {
    *c = (struct o3_csv){.divider = strchr(line, ',') || !strchr(line, ';') ? ',' : ';', .time = -1, .value = -1};
    if (!strncmp(line, "\xef\xbb\xbf", 3)) line += 3;
    char *copy = strdup(line);
    c->names = calloc(O3_CSV_FIELDS_MAX, sizeof *c->names);
    int r = copy && c->names ? 0 : o3_err_set(e, O3_E_NOMEM, "no memory for the columns");
    for (char *at = copy; r == 0 && at;) {
        char *field, name[64];
        r = next_field(&at, c->divider, &field, e);
        if (r < 0) break;
        if (c->n_columns == O3_CSV_FIELDS_MAX) r = o3_err_set(e, O3_E_PARSE, "more than %d columns", O3_CSV_FIELDS_MAX);
        (void)trim(field, name);
        if (r == 0 && !(c->names[c->n_columns++] = strdup(name))) r = o3_err_set(e, O3_E_NOMEM, "no memory");
    }
    free(copy);
    if (r == 0) r = find_columns(c, time, value, e);
    if (r < 0) o3_csv_done(c);
    return r;
}

void o3_csv_done(struct o3_csv *c) {
    for (int i = 0; c->names && i < c->n_columns; i++)
        free(c->names[i]);
    free(c->names);
    *c = (struct o3_csv){0};
}

int o3_csv_row(const struct o3_csv *c, char *line, int64_t *ret_wall_ms, double *ret, struct o3_err *e) {
    char *fields[O3_CSV_FIELDS_MAX];
    int n = 0;
    for (char *at = line; at;) {
        char *field;
        int r = next_field(&at, c->divider, &field, e);
        if (r < 0) return r;
        if (n < O3_CSV_FIELDS_MAX) fields[n] = field;
        n++;
    }
    if (n != c->n_columns) return o3_err_set(e, O3_E_PARSE, "%d fields, the header has %d", n, c->n_columns);
    const char *value = skip_blanks(fields[c->value]);
    *ret = (double)NAN;
    if (*value && !o3_series_value_parse(value, ret))
        return o3_err_set(e, O3_E_PARSE, "expected a number, found \"%.40s\"", value);
    if (c->time >= 0 && !o3_series_time_parse(fields[c->time], ret_wall_ms))
        return o3_err_set(e, O3_E_PARSE, "expected a time, found \"%.40s\"", fields[c->time]);
    return 0;
}
