/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_TEXT_H
#define O3_TEXT_H
/* Text in and out: durations, RFC 3339 times, UTF-8, names. Pure; the C locale only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define O3_MS_PER_S 1000LL
#define O3_NS_PER_MS 1000000LL
#define O3_NS_PER_S 1000000000LL
#define O3_TIME_NEVER_MS INT64_MAX /* a point in time that never comes */

/* A moment in both clocks, read together by the shell and passed down.
 * mono_ns: differences and timers. wall_ms: labels in files and logs, Unix epoch; it may jump. */
struct o3_now {
    int64_t mono_ns;
    int64_t wall_ms;
};

/* "90s", "1h30m", "250ms", "2d", "0". Returns false on anything else or overflow. */
bool o3_duration_parse(const char *s, int64_t *ret_ms);
/* Shortest exact form: 90000 -> "1m30s". */
void o3_duration_format(int64_t ms, char *out, size_t size);
/* RFC 3339 with up to nanoseconds and any offset -> Unix milliseconds (floor). */
bool o3_rfc3339_parse(const char *s, int64_t *ret_wall_ms);
/* "2026-11-21T04:06:06.161Z"; out needs 32 bytes. */
void o3_rfc3339_format(int64_t wall_ms, char *out, size_t size);
/* "2026-11-21T04:06:06.161588035Z"; as Ollama prints times. out needs 40 bytes. */
void o3_rfc3339_format_ns(int64_t wall_s, int64_t ns, char *out, size_t size);

/* Length of the UTF-8 sequence at s with n bytes left; 0 when it is not valid (overlong, surrogate, beyond U+10FFFF,
 * cut). */
size_t o3_utf8_sequence(const char *s, size_t n);
/* How many bytes at s a JSON string holds as they are: printable ASCII but quotes and backslashes. */
size_t o3_text_plain(const char *s, size_t n);
bool o3_utf8_valid(const char *s, size_t n);
/* The code point of a control character that is the sequence at s of that length, or -1: C0, DEL, and C1, which some
 * terminals obey too. */
int o3_utf8_control(const char *s, size_t len);
/* Copies at most size-1 bytes, never cutting a UTF-8 sequence; always terminates. Returns false if it was cut. */
bool o3_str_copy(char *dst, size_t size, const char *src);
bool o3_str_copy_n(char *dst, size_t size, const char *src, size_t n);
/* Levenshtein distance, for "did you mean". Strings over 64 bytes count as far away (returns 64). */
int o3_edit_distance(const char *a, const char *b);
/* Strict whole-string numbers. */
bool o3_int_parse(const char *s, int64_t *ret);
bool o3_double_parse(const char *s, double *ret);
/* Compares in a time that tells nothing about where the two differ; only the length of `got` can be told from it. */
bool o3_secret_equal(const char *got, size_t n_got, const char *want, size_t n_want);
/* sha256 as 64 hex digits + NUL. */
void o3_sha256_hex(const void *bytes, size_t n, char out[65]);

#endif
