/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_LAYOUT_H
#define O3_IO_LAYOUT_H
/* A folder as Kubernetes mounts a ConfigMap: every key is a link into ..data, which is a link to the folder with the
 * files, and is swapped. A reader that watches the folder sees all keys change at once. Blocking: run as a job. */
#include "io/file.h"
#include "o3/keys.h"

/* The files of such a folder, of one moment; of any other folder its plain files.
 * What is no name of a key is left out. O3_E_NOT_FOUND: there is no folder. */
O3_MUST_CHECK int o3_layout_read(const char *dir, struct o3_keys *ret, struct o3_err *e);
/* The same without what links lead to outside of it: what is kept of it is written again, for all to read. */
O3_MUST_CHECK int o3_layout_read_within(const char *dir, struct o3_keys *ret, struct o3_err *e);
/* How many of these keys the version in force may hold, and readers do not see: their links are not there. 0 without a
 * version. */
size_t o3_layout_count_hidden(const char *dir, const struct o3_keys *keys);
/* The folder holds exactly these texts from now on; it is made when it is not there. Links that are not ours stay; a
 * file under the name of a key is an error. ops.step is called before "write", "swap", "link", "sweep". */
O3_MUST_CHECK int o3_layout_replace(const char *dir, const struct o3_keys *keys, const struct o3_file_ops *ops,
                                    struct o3_err *e);

#endif
