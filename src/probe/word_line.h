/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_PROBE_WORD_LINE_H
#define O3_PROBE_WORD_LINE_H
/* The line that a stream mostly consists of, {"model":"m","created_at":"...","response":" word","done":false}, read at
 * a tenth of the price of a general parser. Hundreds of them arrive in each probe. */
#include <stdbool.h>
#include <stddef.h>

struct o3_word_line {
    bool has_content, has_thinking; /* not empty */
};
/* false: not of this form, the general parser must look at it. True only for JSON whose meaning is the same there: an
 * object of printable ASCII strings without escapes and of `false`, `message` being such an object itself, without
 * `error`, and with nothing behind it. */
bool o3_word_line_read(const char *p, size_t n, struct o3_word_line *ret);

#endif
