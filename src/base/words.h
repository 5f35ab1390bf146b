/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_BASE_WORDS_H
#define O3_BASE_WORDS_H
/* One line of a small language, word by word: the grammar of events and of scenarios. Words are divided by blanks, a
 * word that begins with # begins a comment. Every refusal names line, column, what was expected and what was found.
 * Pure; of fixed size. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/err.h"

enum { O3_WORDS_MAX = 24, O3_WORD_SIZE = 256 };

struct o3_words {
    char text[O3_WORDS_MAX][O3_WORD_SIZE];
    uint32_t col[O3_WORDS_MAX]; /* from 1 */
    size_t n, next;
    uint32_t line, end_col;
    struct o3_err *e; /* refusals go here */
};

/* Up to n bytes or a NUL; `line` is the number to name. */
O3_MUST_CHECK int o3_words_split(struct o3_words *w, const char *text, size_t n, uint32_t line, struct o3_err *e);
const char *o3_words_peek(const struct o3_words *w); /* NULL at the end */
bool o3_words_take(struct o3_words *w, const char *word);
/* Refuses the next word: "expected WHAT, found ...". Returns O3_E_PARSE. */
int o3_words_expected(const struct o3_words *w, const char *what);
/* The same, and the nearest of the names when one is near. */
int o3_words_unknown(const struct o3_words *w, const char *what, const char *const *names, size_t n);
int o3_words_end(const struct o3_words *w); /* 0 at the end of the line */

/* Each takes one word (a number and its unit may be two), or refuses it with what was expected. */
int o3_words_take_time(struct o3_words *w, const char *what, int64_t *ret_ns);
/* A number and its unit, written as one word or two: "-40%", "-40 %", "22 tok/s". False: nothing was taken. */
bool o3_words_take_number(struct o3_words *w, double *ret, char unit[16]);
/* "NUMBER UNIT" with low <= number <= high. */
int o3_words_take_quantity(struct o3_words *w, const char *what, const char *unit, double low, double high,
                           double *ret);
int o3_words_take_double(struct o3_words *w, const char *what, double low, double high, double *ret);
int o3_words_take_int(struct o3_words *w, const char *what, int64_t low, int64_t high, int64_t *ret);
int o3_words_take_bytes(struct o3_words *w, const char *what, int64_t *ret);
int o3_words_take_name(struct o3_words *w, const char *what, char *out, size_t size);

/* "18h20", "2m", "1h30m", "35s", "1d", "250ms": a number without unit after hours or minutes counts the next smaller
 * one. */
bool o3_words_time(const char *text, int64_t *ret_ns);
/* "24GiB", "512MiB", "6KiB", "1000": at least 1, below 1e15. */
bool o3_words_bytes(const char *text, int64_t *ret);

#endif
