/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_STORE_INTERNAL_H
#define O3_IO_STORE_INTERNAL_H
/* What the files of the store share. store.c: the file, states, events, and what is thrown away; store_samples.c. */
#include <sqlite3.h>
#include <stdatomic.h>
#include "io/store.h"

enum { MAX_SAMPLES = 1000000 };

struct o3_store {
    sqlite3 *db;
    int lock_fd;
    atomic_bool is_hurried;
};

#define AUTO_STATEMENT __attribute__((cleanup(o3_store_finalize))) sqlite3_stmt
void o3_store_finalize(sqlite3_stmt **p);
int o3_store_fail(struct o3_store *s, const char *what, struct o3_err *e); /* of the last call of SQLite */
int o3_store_exec(struct o3_store *s, const char *sql, const char *what, struct o3_err *e);
int o3_store_prepare(struct o3_store *s, const char *sql, sqlite3_stmt **ret, struct o3_err *e);
/* Runs a statement that gives no rows, and makes it ready for the next. */
int o3_store_run(struct o3_store *s, sqlite3_stmt *st, struct o3_err *e);
unsigned o3_store_bind_text(sqlite3_stmt *st, int i, const char *text);
/* Ends the transaction: commits when all went well so far. The first error is the one that counts. */
int o3_store_end_transaction(struct o3_store *s, int r, struct o3_err *e);

#endif
