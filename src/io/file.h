/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_FILE_H
#define O3_IO_FILE_H
/* Whole files: read bounded, replace atomically (temp in the same directory, fsync, rename, fsync directory, re-read
 * and compare), append to a rotated log. Blocking: run as a job from the loop. Errors are told apart: READ_ONLY,
 * DISK_FULL, NOT_FOUND, IO. */
#include "o3/buf.h"

/* The system calls of a replace, so that a test can stop after each step. Default: the real ones. */
struct o3_file_ops {
    void *ctx;
    void (*step)(void *ctx, const char *name); /* called before "open", "write", "fsync", "rename", "fsync_dir",
                                                  "read_back", after a failure "discard" (o3/replace.h);
                                                  may kill or fail the process */
};
O3_MUST_CHECK int o3_file_read(const char *path, size_t max, struct o3_buf *out,
                               struct o3_err *e); /* LIMIT when larger */
/* Its last bytes, at most max. */
O3_MUST_CHECK int o3_file_read_tail(const char *path, size_t max, struct o3_buf *out, struct o3_err *e);
/* The old content stays whole until the new one is. A path that is a symbolic link (a mounted ConfigMap, a user's link)
 * stays one: the file it leads to is replaced, in that file's directory. The mode stays; of a new file it is 0644 less
 * the umask. What is not a plain file (a folder, a pipe, /dev/null) is never replaced: O3_E_IO. CHANGED when what is
 * read back differs: another writer was faster. */
O3_MUST_CHECK int o3_file_replace(const char *path, const char *bytes, size_t n, const struct o3_file_ops *ops,
                                  struct o3_err *e);
/* Removes temporary files that a killed process left in a directory, once they are ten minutes old; returns how many.
 */
int o3_file_sweep_temps(const char *dir);
O3_MUST_CHECK int o3_file_make_dirs(const char *path, struct o3_err *e); /* like mkdir -p, mode 0755 */
/* Appends lines, whole or not at all; at max_bytes the file becomes path.1 (... path.keep) and a new one begins. */
O3_MUST_CHECK int o3_file_append_rotated(const char *path, const char *bytes, size_t n, size_t max_bytes, int keep,
                                         struct o3_err *e);
/* Removes the oldest files of a directory with this suffix until `keep` are left (names sort by time). How many, or <
 * 0. */
int o3_file_keep_newest(const char *dir, const char *suffix, int keep, struct o3_err *e);

/* Tells when the content of a file changes, also through a symlink swap (`..data`) in its directory: inotify on the
 * directory as a hint, plus a poll of the content's sha256 by the caller. */
struct o3_file_watch; /* NOT_FOUND when the directory does not exist */
O3_MUST_CHECK int o3_file_watch_new(const char *path, struct o3_file_watch **ret, struct o3_err *e);
/* Another file, by the same descriptor. */
O3_MUST_CHECK int o3_file_watch_add(struct o3_file_watch *w, const char *path, struct o3_err *e);
void o3_file_watch_free(struct o3_file_watch *w);
int o3_file_watch_fd(const struct o3_file_watch *w);
void o3_file_watch_drain(struct o3_file_watch *w); /* reads the pending notifications */

#endif
