/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_REPLACE_H
#define O3_REPLACE_H
/* How a file is replaced as a whole: a temporary file beside it, write, fsync, rename, fsync of the folder, read back.
 * The order of steps and what follows a failure stand here once; the shell performs them on a disk (io/file), a
 * rehearsal in memory, where every step can fail or be the last one of the process. Pure. */
#include <stddef.h>
#include "o3/err.h"

enum o3_replace_step {
    O3_REPLACE_OPEN, /* make the temporary file */
    O3_REPLACE_WRITE,
    O3_REPLACE_FSYNC,
    O3_REPLACE_RENAME,
    O3_REPLACE_FSYNC_DIR,
    O3_REPLACE_READ_BACK, /* is the target what was written? */
    O3_REPLACE_DISCARD,   /* a step failed before the rename: remove the temporary file; its own failure is ignored */
    O3_REPLACE_STEP_COUNT
};
extern const char *const O3_REPLACE_STEP_NAMES[O3_REPLACE_STEP_COUNT];

/* Temporary files are made beside their target under this prefix; what a killed process left is swept at this age. */
#define O3_REPLACE_TEMP_PREFIX ".o3-tmp-"
#define O3_REPLACE_TEMP_AGE_S 600

/* Performs one step; 0 or a negative O3_E_ code with `e` filled in. A positive value says that the process died: no
 * further step is performed, not even a discard. */
typedef int o3_replace_step_fn(void *ctx, enum o3_replace_step step, struct o3_err *e);
/* All steps in order; the first that is not 0 ends it and is returned. */
int o3_replace(o3_replace_step_fn *perform, void *ctx, struct o3_err *e);

#endif
