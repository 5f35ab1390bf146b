/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_PROBE_WORD_LINE_H
#define O3_PROBE_WORD_LINE_H
/* The lines that a stream mostly consists of, {"model":"m","created_at":"...","response":" word","done":false} and at
 * its end the figures, read at a tenth of the price of a general parser. Hundreds of them arrive in each probe. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum o3_word_figure {
    O3_WORD_TOTAL_DURATION,
    O3_WORD_LOAD_DURATION,
    O3_WORD_PROMPT_EVAL_DURATION,
    O3_WORD_EVAL_DURATION,
    O3_WORD_PROMPT_EVAL_COUNT,
    O3_WORD_EVAL_COUNT,
    O3_WORD_FIGURES
};

struct o3_word_line {
    bool has_content, has_thinking; /* not empty */
    bool is_done;
    const char *done_reason; /* inside of the line; NULL none */
    size_t n_done_reason;
    int64_t figure[O3_WORD_FIGURES]; /* -1: none */
};
/* false: not of this form, the general parser must look at it. True only for JSON whose meaning is the same there: an
 * object of printable ASCII strings without escapes, `false`, `true`, short natural numbers and arrays of those,
 * `message` being such an object itself, without `error`, and with nothing behind it. */
bool o3_word_line_read(const char *p, size_t n, struct o3_word_line *ret);

#endif
