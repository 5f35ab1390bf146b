/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_SAMPLE_LOG_H
#define O3_APP_SAMPLE_LOG_H
/* The logs of samples, FOLDER/STEM.jsonl, one a model, rotated. What a turn appends to them is a batch: a text that is
 * kept in the store with its samples, so that a process that is killed between the two leaves no log without a sample
 * that was judged. It begins with the folder; of each sample it holds the stem of its file, the record of the
 * configuration and the sample itself. Blocking: inside jobs, or before the loop runs. */
#include "o3/config.h"
#include "o3/sample.h"

/* Errors of both stay in the buffer. */
void o3_sample_log_begin(struct o3_buf *batch, const char *folder);
/* is_told: the log's last record is of the same configuration; then another is written only where a file begins. */
void o3_sample_log_add(struct o3_buf *batch, const char *stem, bool is_told, const struct o3_config *c,
                       const char *run_id, const struct o3_sample *v);
O3_MUST_CHECK int o3_sample_log_append(const char *folder, const char *batch, size_t n, struct o3_err *e);
/* Appends the samples that are missing at the end of their logs; *ret_n_missing: how many. A batch of another folder is
 * left alone, as are samples that are older than the last one of their log: it went on without them. A damaged batch
 * ends where it is. */
O3_MUST_CHECK int o3_sample_log_complete(const char *folder, const char *batch, size_t n, int64_t *ret_n_missing,
                                         struct o3_err *e);

#endif
