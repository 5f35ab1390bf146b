/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CLI_PROGRESS_H
#define O3_CLI_PROGRESS_H
/* How far a long command is, on stderr: a bar on a terminal, elsewhere a line for each finished tenth. */
#include <stdbool.h>
#include <stdint.h>

struct o3_progress {
    const char *command, *unit; /* "o3 simulate"; "runs", or "%" for a share of n */
    int64_t n, done;
    bool is_silent, is_terminal;
    int shown; /* tenths, or hundredths on a terminal; -1: nothing yet */
};
void o3_progress_begin(struct o3_progress *p, const char *command, const char *unit, int64_t n);
void o3_progress_tell(struct o3_progress *p, int64_t done);
void o3_progress_end(struct o3_progress *p); /* clears the bar; before any other output */

#endif
