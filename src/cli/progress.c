/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 40

void o3_progress_begin(struct o3_progress *p, const char *command, const char *unit, int64_t n) {
    *p = (struct o3_progress){.command = command, .unit = unit, .n = n, .shown = -1};
    p->is_terminal = isatty(STDERR_FILENO);
}

/* "9 of 20 runs", or "45 %" */
static void print_state(const struct o3_progress *p) {
    if (!strcmp(p->unit, "%"))
        fprintf(stderr, "%lld %%", (long long)(p->done * 100 / p->n));
    else
        fprintf(stderr, "%lld of %lld %s", (long long)p->done, (long long)p->n, p->unit);
}

static void draw_bar(const struct o3_progress *p) {
    static const char FULL[] = "########################################";
    int width = (int)(p->done * BAR_WIDTH / p->n);
    fprintf(stderr, "\r[%.*s%*s] ", width, FULL, BAR_WIDTH - width, "");
    print_state(p);
}

void o3_progress_tell(struct o3_progress *p, int64_t done) {
    int parts = p->is_terminal ? 100 : 10, part = p->n > 0 ? (int)(done * parts / p->n) : parts;
    p->done = done;
    if (p->is_silent || part == p->shown || (!p->is_terminal && part == 0)) return;
    p->shown = part;
    if (p->is_terminal) {
        draw_bar(p);
        return;
    }
    fprintf(stderr, "%s: ", p->command);
    print_state(p);
    fputc('\n', stderr);
}

void o3_progress_end(struct o3_progress *p) {
    if (p->is_terminal && p->shown >= 0) fprintf(stderr, "\r%*s\r", BAR_WIDTH + 38, "");
    p->shown = -1;
}
