/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_REHEARSAL_MEMORY_FILES_H
#define O3_REHEARSAL_MEMORY_FILES_H
/* A file system in memory on which whole files are replaced by the steps of o3/replace.h. What is on the disk and what
 * only the cache holds are kept apart, for names and for bytes, so that a power failure loses what was not made
 * durable. It also is the judge: after every step and every power failure it looks at the files as a reader would. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/replace.h"

enum {
    O3_MEMORY_FILES_KILLED = 1, /* the process died */
    O3_MEMORY_FILES_MAX = 256,  /* names; more: DISK_FULL */
};
#define O3_MEMORY_FILES_CAPACITY_BYTES ((size_t)64 << 20) /* of all files together; more: DISK_FULL */

struct o3_memory_files;
struct o3_memory_files *o3_memory_files_new(void); /* NULL: no memory */
void o3_memory_files_free(struct o3_memory_files *f);

/* From now on. A full disk takes a part of what is written to it; a read-only one refuses all but reading. */
void o3_memory_files_set_full(struct o3_memory_files *f, bool is_full);
void o3_memory_files_set_read_only(struct o3_memory_files *f, bool is_read_only);
void o3_memory_files_set_now(struct o3_memory_files *f,
                             int64_t now_ns); /* for the age of temporary files; 0 at first */
/* Called before each step: what else happens on the machine in that moment. It may call all of this but replace, power
 * loss and free. NULL: nothing. */
void o3_memory_files_set_on_step(struct o3_memory_files *f, void (*on_step)(void *ctx, enum o3_replace_step),
                                 void *ctx);

/* Replaces path. The process dies just before kill_at is performed (O3_REPLACE_STEP_COUNT: never). 0, a negative O3_E_
 * code, or O3_MEMORY_FILES_KILLED. */
int o3_memory_files_replace(struct o3_memory_files *f, const char *path, const char *bytes, size_t n,
                            enum o3_replace_step kill_at, struct o3_err *e);
/* The same with another order of steps in the place of o3_replace: a test shows that a forgotten one is found. */
typedef int o3_memory_files_order_fn(o3_replace_step_fn *perform, void *ctx, struct o3_err *e);
int o3_memory_files_replace_by(struct o3_memory_files *f, o3_memory_files_order_fn *order, const char *path,
                               const char *bytes, size_t n, enum o3_replace_step kill_at, struct o3_err *e);
/* Another process writes it in place, to the disk and at once, whatever is refused to us. 0 or a negative O3_E_ code.
 */
int o3_memory_files_overwrite(struct o3_memory_files *f, const char *path, const char *bytes, size_t n);
/* What a reader sees now, with a NUL behind it; NULL: no such file. Valid until the files change. ret_n may be NULL. */
const char *o3_memory_files_read(const struct o3_memory_files *f, const char *path, size_t *ret_n);

/* The machine stops and starts again: only what was made durable is left. Returns how many files are torn by it. */
int o3_memory_files_power_loss(struct o3_memory_files *f);
/* A disk may have been given more than it was asked to keep: names that were not synced, or bytes, but not the other.
 */
int o3_memory_files_power_loss_keeping(struct o3_memory_files *f, bool keeps_names, bool keeps_bytes);
/* How often a file was found, after a step or a power failure, that was neither the whole old nor the whole new one, or
 * not the new one after its replacement had been reported as done. */
int64_t o3_memory_files_torn(const struct o3_memory_files *f);

/* Removes the temporary files that killed processes left in a folder, once they are O3_REPLACE_TEMP_AGE_S old; returns
 * how many. "" is the current folder. */
int o3_memory_files_sweep_temps(struct o3_memory_files *f, const char *dir);
int o3_memory_files_temps(const struct o3_memory_files *f); /* how many there are, anywhere */

#endif
