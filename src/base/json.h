/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_BASE_JSON_H
#define O3_BASE_JSON_H
/* jansson with our limits, shared by the parsers of replies, streams and samples. Private: no json_t reaches a public
 * header, and who uses this includes <jansson.h> in its .c file. Getters accept a NULL or non-object `o` and then
 * behave as if the key were absent. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/buf.h"
#include "o3/err.h"

struct json_t;
struct json_error_t;

void o3_json_freep(struct json_t **j);
#define O3_AUTO_JSON __attribute__((cleanup(o3_json_freep))) struct json_t

/* Parses the object or array at the start of the bytes; *ret_used (may be NULL) says how many of them it took.
 * NULL when there is none; `error` is then filled. An integer beyond 64 bits does not spoil the rest: it is read as a
 * double. */
struct json_t *o3_json_load_first(const char *bytes, size_t n, size_t *ret_used, struct json_error_t *error);
/* The whole body as one object. */
O3_MUST_CHECK int o3_json_load_object(const char *body, size_t n, struct json_t **ret, struct o3_err *e);

/* A number with an integer value; -1 when absent, negative or anything else. */
int64_t o3_json_count(const struct json_t *o, const char *key);
int64_t o3_json_count_value(const struct json_t *v);
/* The bytes of a string (it may hold NUL bytes: use *ret_n); "" and 0 when absent or not a string. */
const char *o3_json_text(const struct json_t *o, const char *key, size_t *ret_n);
/* Copies a string cut to `size`, control characters replaced by spaces. */
void o3_json_copy(const struct json_t *o, const char *key, char *out, size_t size);
/* The message of {"error": ...}: a string, an object with "message", or a string that holds such JSON once more. */
bool o3_json_error(const struct json_t *o, char *out, size_t size);
/* Compact JSON text; real numbers with the 17 digits that bring the same double back. */
int o3_json_write(const struct json_t *o, struct o3_buf *out);

/* Holds a control character (C0, DEL or C1)? */
bool o3_text_has_control(const char *s, size_t n);
/* As o3_str_copy_n, with control characters replaced by spaces. */
void o3_text_clean(char *dst, size_t size, const char *src, size_t n);

#endif
