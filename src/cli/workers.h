/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CLI_WORKERS_H
#define O3_CLI_WORKERS_H
/* Pieces of work in child processes, several at a time; the results come back in the order of the pieces, whichever was
 * done first, and only a few of them wait in memory. A signal that asks to stop, or a child that dies, ends all. */
#include <stddef.h>

#define O3_WORKERS_MAX 256

struct o3_workers_params {
    size_t n; /* pieces: 0 to n - 1 */
    int jobs; /* children at a time, 1 to O3_WORKERS_MAX */
    size_t result_size;
    int (*work)(void *ctx, size_t i, void *result);       /* in a child: 0, or the exit status with which it gives up */
    int (*take)(void *ctx, size_t i, const void *result); /* in the parent, in order: 0, or not to go on */
    void *ctx;
};
enum o3_workers_end {
    O3_WORKERS_DONE,
    O3_WORKERS_STOPPED, /* SIGINT, SIGTERM or SIGHUP */
    O3_WORKERS_DIED,    /* a child; piece and text say which and how */
    O3_WORKERS_REFUSED, /* take() did not go on; `taken` is what it returned */
    O3_WORKERS_FAILED   /* no process, no memory; text says why */
};
struct o3_workers_result {
    enum o3_workers_end end;
    size_t piece;
    int taken;
    int exit_status; /* DIED: with which the child gave up by itself; 0 otherwise */
    char text[120];
};
struct o3_workers_result o3_workers_run(const struct o3_workers_params *p);

#endif
