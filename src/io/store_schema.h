/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_STORE_SCHEMA_H
#define O3_IO_STORE_SCHEMA_H
/* The tables of the store, and where each column of a sample lies in its struct. For store.c and store_samples.c. */
#include <stddef.h>
#include "o3/sample.h"

/* Step n leads from user_version n to n + 1. Never edited once released: a change is a new step.
 * sample.kind is enum o3_probe_kind, sample.outcome enum o3_outcome; NULL stands for -1 (integers) and NaN (reals). */
static const char *const MIGRATIONS[] = {
    "CREATE TABLE model (id INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, UNIQUE (name, digest));"
    "CREATE TABLE sample ("
    " id INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL, mono_ns INTEGER NOT NULL,"
    " model_id INTEGER NOT NULL REFERENCES model (id),"
    " kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 2),"
    " outcome INTEGER NOT NULL CHECK (outcome BETWEEN 0 AND 10),"
    " flags INTEGER NOT NULL, http_status INTEGER NOT NULL,"
    " num_ctx INTEGER, num_batch INTEGER, num_predict INTEGER,"
    " ttft_ns INTEGER, ttfc_ns INTEGER, wall_ns INTEGER,"
    " total_ns INTEGER, load_ns INTEGER, prompt_eval_ns INTEGER, eval_ns INTEGER,"
    " prompt_eval_count INTEGER, eval_count INTEGER, queue_ns INTEGER,"
    " size_bytes INTEGER, vram_bytes INTEGER,"
    " decode_tps REAL, prefill_tps REAL, tpot_s REAL, detail TEXT NOT NULL);"
    "CREATE INDEX sample_by_time ON sample (wall_ms);"
    "CREATE INDEX sample_by_model ON sample (model_id, wall_ms);"
    "CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL, wall_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE event (id INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL, name TEXT NOT NULL, model TEXT NOT NULL,"
    " json TEXT NOT NULL);"
    "CREATE INDEX event_by_time ON event (wall_ms);",
    /* The kind 3 (look), acknowledgements and what was around. A constraint that gets wider is changed in the schema's
     * text, as the manual of ALTER TABLE tells: copying a million rows would take seconds and a hundred MiB. */
    "ALTER TABLE sample ADD COLUMN acknowledged INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE sample ADD COLUMN version TEXT;"
    "ALTER TABLE sample ADD COLUMN gpu TEXT;"
    "ALTER TABLE sample ADD COLUMN parallel INTEGER;"
    "ALTER TABLE sample ADD COLUMN preset_num_ctx INTEGER;"
    "ALTER TABLE sample ADD COLUMN loaded_wall_ms INTEGER;"
    "ALTER TABLE sample ADD COLUMN weight_bytes INTEGER;"
    "ALTER TABLE sample ADD COLUMN interval_ms INTEGER;"
    "ALTER TABLE sample ADD COLUMN n_models INTEGER;"
    "ALTER TABLE sample ADD COLUMN n_loads INTEGER;"
    "ALTER TABLE sample ADD COLUMN n_user_requests INTEGER;"
    "ALTER TABLE sample ADD COLUMN swapped_bytes INTEGER;"
    "ALTER TABLE sample ADD COLUMN n_throttled INTEGER;"
    "ALTER TABLE sample ADD COLUMN n_quota INTEGER;"
    "ALTER TABLE sample ADD COLUMN memory_available_bytes INTEGER;"
    "ALTER TABLE sample ADD COLUMN other_vram_bytes INTEGER;"
    "ALTER TABLE sample ADD COLUMN bandwidth_bytes_per_s REAL;"
    "ALTER TABLE sample ADD COLUMN pressure_cpu REAL;"
    "ALTER TABLE sample ADD COLUMN pressure_memory REAL;"
    "ALTER TABLE sample ADD COLUMN pressure_io REAL;"
    "PRAGMA writable_schema=ON;"
    "UPDATE sqlite_schema SET sql = replace(sql, 'kind BETWEEN 0 AND 2', 'kind BETWEEN 0 AND 3')"
    " WHERE type = 'table' AND name = 'sample';"
    "PRAGMA writable_schema=RESET;",
};
enum { O3_STORE_VERSION = sizeof MIGRATIONS / sizeof *MIGRATIONS };

/* The optional numbers of a sample, in the order of the statements below. */
#define INT_COLUMNS(X)                                                                                                 \
    X(num_ctx)                                                                                                         \
    X(num_batch)                                                                                                       \
    X(num_predict)                                                                                                     \
    X(ttft_ns)                                                                                                         \
    X(ttfc_ns)                                                                                                         \
    X(wall_ns)                                                                                                         \
    X(total_ns)                                                                                                        \
    X(load_ns)                                                                                                         \
    X(prompt_eval_ns)                                                                                                  \
    X(eval_ns)                                                                                                         \
    X(prompt_eval_count)                                                                                               \
    X(eval_count)                                                                                                      \
    X(queue_ns)                                                                                                        \
    X(size_bytes)                                                                                                      \
    X(vram_bytes)
#define REAL_COLUMNS(X) X(decode_tps) X(prefill_tps) X(tpot_s)
/* Of its surroundings; NULL stands for what o3_surroundings_init sets. */
#define AROUND_TEXT_COLUMNS(X) X(version) X(gpu)
#define AROUND_INT_COLUMNS(X)                                                                                          \
    X(parallel)                                                                                                        \
    X(preset_num_ctx)                                                                                                  \
    X(loaded_wall_ms)                                                                                                  \
    X(weight_bytes)                                                                                                    \
    X(interval_ms)                                                                                                     \
    X(n_models)                                                                                                        \
    X(n_loads)                                                                                                         \
    X(n_user_requests)                                                                                                 \
    X(swapped_bytes)                                                                                                   \
    X(n_throttled)                                                                                                     \
    X(n_quota)                                                                                                         \
    X(memory_available_bytes)                                                                                          \
    X(other_vram_bytes)
#define AROUND_REAL_COLUMNS(X) X(bandwidth_bytes_per_s) X(pressure_cpu) X(pressure_memory) X(pressure_io)
#define AS_NAME(c) ", " #c
#define AS_PLACE(c) ", ?"
#define AS_OFFSET(c) offsetof(struct o3_sample, c),
#define AS_AROUND(c) offsetof(struct o3_sample, around.c),
#define AS_TEXT(c) {offsetof(struct o3_sample, around.c), sizeof((struct o3_surroundings *)0)->c},

static const size_t INT_OFFSETS[] = {INT_COLUMNS(AS_OFFSET)};
static const size_t REAL_OFFSETS[] = {REAL_COLUMNS(AS_OFFSET) AROUND_REAL_COLUMNS(AS_AROUND)};
static const size_t AROUND_INT_OFFSETS[] = {AROUND_INT_COLUMNS(AS_AROUND)};
static const struct {
    size_t offset, size;
} AROUND_TEXTS[] = {AROUND_TEXT_COLUMNS(AS_TEXT)};
enum {
    N_INTS = sizeof INT_OFFSETS / sizeof *INT_OFFSETS,
    N_REALS = sizeof REAL_OFFSETS / sizeof *REAL_OFFSETS,
    N_AROUND_INTS = sizeof AROUND_INT_OFFSETS / sizeof *AROUND_INT_OFFSETS,
    N_AROUND_TEXTS = sizeof AROUND_TEXTS / sizeof *AROUND_TEXTS,
    N_COLUMNS = 10 + N_INTS + N_REALS + N_AROUND_INTS + N_AROUND_TEXTS /* of a sample that is read */
};
#define EACH_COLUMN(AS)                                                                                                \
    INT_COLUMNS(AS) REAL_COLUMNS(AS) AROUND_REAL_COLUMNS(AS) AROUND_INT_COLUMNS(AS) AROUND_TEXT_COLUMNS(AS)

static const char INSERT_MODEL[] = "INSERT OR IGNORE INTO model (name, digest) VALUES (?, ?)";
static const char INSERT_SAMPLE[] = "INSERT INTO sample (model_id, wall_ms, mono_ns, kind, outcome, flags, "
                                    "http_status, detail, acknowledged" EACH_COLUMN(
                                        AS_NAME) ") VALUES ((SELECT id FROM model WHERE name = ? AND digest = ?), ?, "
                                                 "?, ?, ?, ?, ?, ?, ?" EACH_COLUMN(AS_PLACE) ")";
static const char SELECT_SAMPLES[] =
    "SELECT name, digest, wall_ms, mono_ns, kind, outcome, flags, http_status, detail, acknowledged" EACH_COLUMN(
        AS_NAME) " FROM sample JOIN model ON model.id = model_id WHERE wall_ms >= ?1 AND (?2 = '' OR name = ?2)"
                 " ORDER BY wall_ms DESC, sample.id DESC LIMIT ?3";
static const char SELECT_IN_TIME[] =
    "SELECT name, digest, wall_ms, mono_ns, kind, outcome, flags, http_status, detail, acknowledged" EACH_COLUMN(
        AS_NAME) " FROM sample JOIN model ON model.id = model_id WHERE wall_ms >= ?1 AND wall_ms < ?3"
                 " AND (?2 = '' OR name = ?2) ORDER BY wall_ms, sample.id LIMIT ?4";

static const char SELECT_AFTER[] =
    "SELECT name, digest, wall_ms, mono_ns, kind, outcome, flags, http_status, detail, acknowledged" EACH_COLUMN(
        AS_NAME) ", sample.id FROM sample JOIN model ON model.id = model_id"
                 " WHERE sample.id > max(?1, (SELECT max(id) FROM sample) - ?2) ORDER BY sample.id";

#endif
