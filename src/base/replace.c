/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/replace.h"

const char *const O3_REPLACE_STEP_NAMES[O3_REPLACE_STEP_COUNT] = {
    [O3_REPLACE_OPEN] = "open",       [O3_REPLACE_WRITE] = "write",         [O3_REPLACE_FSYNC] = "fsync",
    [O3_REPLACE_RENAME] = "rename",   [O3_REPLACE_FSYNC_DIR] = "fsync_dir", [O3_REPLACE_READ_BACK] = "read_back",
    [O3_REPLACE_DISCARD] = "discard",
};

/* The bytes reach the disk before the name does: after a power failure the name leads to old or new, never to a part.
 */
static const enum o3_replace_step ORDER[] = {O3_REPLACE_OPEN,   O3_REPLACE_WRITE,     O3_REPLACE_FSYNC,
                                             O3_REPLACE_RENAME, O3_REPLACE_FSYNC_DIR, O3_REPLACE_READ_BACK};

/* Before the open there is no temporary file; after the rename it is the target. */
static int leaves_temp(enum o3_replace_step failed) {
    return failed == O3_REPLACE_WRITE || failed == O3_REPLACE_FSYNC || failed == O3_REPLACE_RENAME;
}

int o3_replace(o3_replace_step_fn *perform, void *ctx, struct o3_err *e) {
    for (size_t i = 0; i < sizeof ORDER / sizeof *ORDER; i++) {
        int r = perform(ctx, ORDER[i], e);
        if (r == 0) continue;
        if (r < 0 && leaves_temp(ORDER[i])) (void)perform(ctx, O3_REPLACE_DISCARD, NULL);
        return r;
    }
    return 0;
}
