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

static void draw_bar(const struct o3_progress *p) {
    static const char FULL[] = "########################################";
    int width = (int)(p->done * BAR_WIDTH / p->n);
    fprintf(stderr, "\r[%.*s%*s] %lld of %lld %s ", width, FULL, BAR_WIDTH - width, "", (long long)p->done,
            (long long)p->n, p->unit);
}

void o3_progress_tell(struct o3_progress *p, int64_t done) {
    int parts = p->is_terminal ? 100 : 10, part = p->n > 0 ? (int)(done * parts / p->n) : parts;
    p->done = done;
    if (p->is_silent || part == p->shown || (!p->is_terminal && part == 0)) return;
    p->shown = part;
    if (p->is_terminal)
        draw_bar(p);
    else
        fprintf(stderr, "%s: %lld of %lld %s\n", p->command, (long long)done, (long long)p->n, p->unit);
}

void o3_progress_end(struct o3_progress *p) {
    if (p->is_terminal && p->shown >= 0) fprintf(stderr, "\r%*s\r", BAR_WIDTH + 38, "");
    p->shown = -1;
}
