/* SPDX-License-Identifier: Apache-2.0 */
#include "rehearsal/memory_files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/text.h"

enum { MAX_PATH = 4096 };
static const size_t CAPACITY = O3_MEMORY_FILES_CAPACITY_BYTES;

/* Bytes that never change, shared by counting. */
struct blob {
    size_t refs, n;
    char bytes[]; /* and a NUL */
};

/* A file without its name. */
struct inode {
    size_t refs;
    struct blob *cached, *durable; /* what a reader gets, and what the disk has */
    int64_t written_ns;
};

struct entry {
    char *path;                     /* NULL: free */
    struct inode *cached, *durable; /* where the name leads to; NULL: nowhere */
    /* What a reader may find here: whole contents, NULL for no file. The second counts when is_pending. */
    struct blob *promised[2];
    struct blob *incoming; /* of the replacement that runs */
    bool is_pending;
};

struct o3_memory_files {
    struct entry entries[O3_MEMORY_FILES_MAX];
    bool is_full, is_read_only;
    int64_t now_ns, n_torn;
    uint64_t n_made; /* temporary files; their numbers */
    void (*on_step)(void *ctx, enum o3_replace_step);
    void *ctx;
};

/* ---- bytes ---- */

static struct blob *blob_new(const char *bytes, size_t n) {
    struct blob *b = n < SIZE_MAX / 2 ? malloc(sizeof *b + n + 1) : NULL;
    if (!b) return NULL;
    b->refs = 1;
    b->n = n;
    if (n) memcpy(b->bytes, bytes, n);
    b->bytes[n] = '\0';
    return b;
}

static void blob_drop(struct blob *b) {
    if (b && --b->refs == 0) free(b);
}

static void blob_set(struct blob **to, struct blob *b) {
    if (b) b->refs++;
    blob_drop(*to);
    *to = b;
}

static bool blob_equal(const struct blob *a, const struct blob *b) {
    if (!a || !b) return a == b;
    return a->n == b->n && !memcmp(a->bytes, b->bytes, a->n);
}

/* ---- files and names ---- */

static struct inode *inode_new(int64_t now_ns) {
    struct inode *i = calloc(1, sizeof *i);
    struct blob *empty = blob_new("", 0);
    if (!i || !empty) {
        free(i);
        blob_drop(empty);
        return NULL;
    }
    i->refs = 1;
    i->cached = empty;
    i->written_ns = now_ns;
    blob_set(&i->durable, empty);
    return i;
}

static void inode_drop(struct inode *i) {
    if (!i || --i->refs) return;
    blob_drop(i->cached);
    blob_drop(i->durable);
    free(i);
}

static void inode_set(struct inode **to, struct inode *i) {
    if (i) i->refs++;
    inode_drop(*to);
    *to = i;
}

static struct blob *bytes_of(const struct inode *i) {
    return i ? i->cached : NULL;
}

/* O3_MEMORY_FILES_MAX: none. */
static size_t index_of(const struct o3_memory_files *f, const char *path) {
    size_t i = 0;
    while (i < O3_MEMORY_FILES_MAX && !(f->entries[i].path && !strcmp(f->entries[i].path, path)))
        i++;
    return i;
}

static int find_or_make(struct o3_memory_files *f, const char *path, struct entry **ret, struct o3_err *e) {
    size_t i = index_of(f, path);
    if (i == O3_MEMORY_FILES_MAX) {
        if (!*path || strlen(path) >= MAX_PATH)
            return o3_err_set(e, O3_E_IO, "cannot write %.150s: not a name for a file", path);
        for (i = 0; i < O3_MEMORY_FILES_MAX && f->entries[i].path;)
            i++;
        if (i == O3_MEMORY_FILES_MAX)
            return o3_err_set(e, O3_E_DISK_FULL, "cannot write %.150s: there are %d files already", path,
                              O3_MEMORY_FILES_MAX);
        f->entries[i].path = strdup(path);
        if (!f->entries[i].path) return o3_err_set(e, O3_E_NOMEM, "no memory for the name of %.150s", path);
    }
    *ret = &f->entries[i];
    return 0;
}

static void entry_done(struct entry *x) {
    inode_drop(x->cached);
    inode_drop(x->durable);
    blob_drop(x->promised[0]);
    blob_drop(x->promised[1]);
    blob_drop(x->incoming);
    free(x->path);
    *x = (struct entry){0};
}

/* Bytes in the folder's name, the slash included. */
static size_t dir_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

static bool is_in_dir(const struct entry *x, const char *dir, size_t n) {
    return x->path && dir_length(x->path) == n && !memcmp(x->path, dir, n);
}

static bool is_temp(const struct entry *x) {
    return x->path &&
           !strncmp(x->path + dir_length(x->path), O3_REPLACE_TEMP_PREFIX, sizeof O3_REPLACE_TEMP_PREFIX - 1);
}

static size_t used_bytes(const struct o3_memory_files *f) {
    size_t n = 0;
    for (size_t i = 0; i < O3_MEMORY_FILES_MAX; i++)
        if (f->entries[i].cached) n += f->entries[i].cached->cached->n;
    return n;
}

/* ---- the judge ---- */

/* No replacement runs: a reader finds what the name leads to, in the cache or, after a power failure, on the disk. */
static void settle(struct entry *x) {
    x->is_pending = x->cached != x->durable;
    blob_set(&x->promised[0], bytes_of(x->cached));
    blob_set(&x->promised[1], x->is_pending ? bytes_of(x->durable) : NULL);
}

static void drop_if_gone(struct entry *x) {
    if (x->path && !x->cached && !x->durable && !x->incoming) entry_done(x);
}

static bool is_torn(const struct entry *x) {
    if (is_temp(x)) return false; /* nobody reads them */
    const struct blob *seen = bytes_of(x->cached);
    return !(blob_equal(seen, x->promised[0]) || (x->is_pending && blob_equal(seen, x->promised[1])) ||
             (x->incoming && blob_equal(seen, x->incoming)));
}

/* ---- steps ---- */

struct replacement {
    struct o3_memory_files *f;
    struct entry *target, *temp;
    struct inode *file; /* the open temporary file */
    enum o3_replace_step kill_at;
    bool is_dead;
};

static int fail_full(const struct replacement *p, struct o3_err *e) {
    return o3_err_set(e, O3_E_DISK_FULL, "cannot write %.150s: the disk is full", p->target->path);
}

static int open_temp(struct replacement *p, struct o3_err *e) {
    char name[MAX_PATH + 64];
    int n = snprintf(name, sizeof name, "%.*s" O3_REPLACE_TEMP_PREFIX "%llu", (int)dir_length(p->target->path),
                     p->target->path, (unsigned long long)p->f->n_made++);
    O3_ASSERT(n > 0 && (size_t)n < sizeof name);
    p->file = inode_new(p->f->now_ns);
    if (!p->file) return o3_err_set(e, O3_E_NOMEM, "no memory for %.150s", p->target->path);
    int r = find_or_make(p->f, name, &p->temp, NULL);
    if (r < 0) return o3_err_set(e, r, "cannot write %.150s: no room for a temporary file", p->target->path);
    inode_set(&p->temp->cached, p->file);
    return 0;
}

/* Its name still leads to it: nobody removed it in between. */
static bool has_temp(const struct replacement *p) {
    return p->temp && p->file && p->temp->cached == p->file;
}

static int fail_order(const struct replacement *p, struct o3_err *e) {
    return o3_err_set(e, O3_E_INTERNAL, "cannot write %.150s: no temporary file was made", p->target->path);
}

/* A disk without room takes the first half, if that much is left. */
static int write_temp(struct replacement *p, struct o3_err *e) {
    struct o3_memory_files *f = p->f;
    if (!p->file) return fail_order(p, e);
    const struct blob *all = p->target->incoming;
    size_t used = used_bytes(f), room = used < CAPACITY ? CAPACITY - used : 0;
    bool fits = !f->is_full && all->n <= room;
    size_t part = all->n / 2 < room ? all->n / 2 : room;
    struct blob *b = blob_new(all->bytes, fits ? all->n : part);
    if (!b) return o3_err_set(e, O3_E_NOMEM, "no memory for %.150s", p->target->path);
    blob_set(&p->file->cached, b);
    blob_drop(b);
    return fits ? 0 : fail_full(p, e);
}

static int sync_temp(struct replacement *p, struct o3_err *e) {
    if (!p->file) return fail_order(p, e);
    blob_set(&p->file->durable, p->file->cached);
    return 0;
}

static void discard_temp(struct replacement *p) {
    if (!has_temp(p)) return;
    inode_set(&p->temp->cached, NULL);
    drop_if_gone(p->temp);
    p->temp = NULL;
}

static int rename_temp(struct replacement *p, struct o3_err *e) {
    if (!has_temp(p))
        return o3_err_set(e, O3_E_NOT_FOUND, "cannot replace %.150s: the temporary file is gone", p->target->path);
    inode_set(&p->target->cached, p->temp->cached);
    discard_temp(p);
    return 0;
}

static void sync_dir(struct o3_memory_files *f, const char *path) {
    size_t n = dir_length(path);
    for (size_t i = 0; i < O3_MEMORY_FILES_MAX; i++) {
        struct entry *x = &f->entries[i];
        if (!is_in_dir(x, path, n)) continue;
        inode_set(&x->durable, x->cached);
        drop_if_gone(x);
    }
}

static int do_step(struct replacement *p, enum o3_replace_step step, struct o3_err *e) {
    if (p->f->is_read_only && step != O3_REPLACE_READ_BACK)
        return o3_err_set(e, O3_E_READ_ONLY, "cannot write %.150s: the file system is read-only", p->target->path);
    switch (step) {
    case O3_REPLACE_OPEN:
        return open_temp(p, e);
    case O3_REPLACE_WRITE:
        return write_temp(p, e);
    case O3_REPLACE_FSYNC:
        return sync_temp(p, e);
    case O3_REPLACE_RENAME:
        return rename_temp(p, e);
    case O3_REPLACE_FSYNC_DIR:
        sync_dir(p->f, p->target->path);
        break;
    case O3_REPLACE_READ_BACK:
        if (blob_equal(bytes_of(p->target->cached), p->target->incoming)) break;
        return o3_err_set(e, O3_E_CHANGED, "%.150s is not what was just written: another process writes it",
                          p->target->path);
    case O3_REPLACE_DISCARD:
        discard_temp(p);
        break;
    case O3_REPLACE_STEP_COUNT:
        break;
    }
    return 0;
}

static int perform(void *ctx, enum o3_replace_step step, struct o3_err *e) {
    struct replacement *p = ctx;
    p->is_dead |= step == p->kill_at;
    if (p->is_dead) return O3_MEMORY_FILES_KILLED;
    if (p->f->on_step) p->f->on_step(p->f->ctx, step);
    int r = do_step(p, step, e);
    p->f->n_torn += is_torn(p->target);
    return r;
}

/* ---- what others call ---- */

struct o3_memory_files *o3_memory_files_new(void) {
    return calloc(1, sizeof(struct o3_memory_files));
}

void o3_memory_files_free(struct o3_memory_files *f) {
    if (!f) return;
    for (size_t i = 0; i < O3_MEMORY_FILES_MAX; i++)
        entry_done(&f->entries[i]);
    free(f);
}

void o3_memory_files_set_full(struct o3_memory_files *f, bool is_full) {
    f->is_full = is_full;
}

void o3_memory_files_set_read_only(struct o3_memory_files *f, bool is_read_only) {
    f->is_read_only = is_read_only;
}

void o3_memory_files_set_now(struct o3_memory_files *f, int64_t now_ns) {
    f->now_ns = now_ns;
}

void o3_memory_files_set_on_step(struct o3_memory_files *f, void (*on_step)(void *ctx, enum o3_replace_step),
                                 void *ctx) {
    f->on_step = on_step;
    f->ctx = ctx;
}

/* Done is a promise: from now on only the new content will do, whatever happens. */
static int finish(struct replacement *p, int r) {
    struct entry *x = p->target;
    if (p->is_dead) r = O3_MEMORY_FILES_KILLED;
    settle(x);
    if (r == 0) {
        x->is_pending = false;
        blob_set(&x->promised[0], x->incoming);
        blob_set(&x->promised[1], NULL);
    }
    blob_set(&x->incoming, NULL);
    p->f->n_torn += is_torn(x);
    drop_if_gone(x);
    inode_drop(p->file);
    return r;
}

int o3_memory_files_replace_by(struct o3_memory_files *f, o3_memory_files_order_fn *order, const char *path,
                               const char *bytes, size_t n, enum o3_replace_step kill_at, struct o3_err *e) {
    struct replacement p = {.f = f, .kill_at = kill_at};
    struct blob *b = blob_new(bytes, n);
    if (!b) return o3_err_set(e, O3_E_NOMEM, "no memory for %.150s", path);
    int r = find_or_make(f, path, &p.target, e);
    if (r < 0) {
        blob_drop(b);
        return r;
    }
    p.target->incoming = b;
    return finish(&p, order(perform, &p, e));
}

int o3_memory_files_replace(struct o3_memory_files *f, const char *path, const char *bytes, size_t n,
                            enum o3_replace_step kill_at, struct o3_err *e) {
    return o3_memory_files_replace_by(f, o3_replace, path, bytes, n, kill_at, e);
}

int o3_memory_files_overwrite(struct o3_memory_files *f, const char *path, const char *bytes, size_t n) {
    struct entry *x = NULL;
    struct blob *b = blob_new(bytes, n);
    int r = b ? find_or_make(f, path, &x, NULL) : O3_E_NOMEM;
    if (r == 0 && !x->cached && !(x->cached = inode_new(f->now_ns))) r = O3_E_NOMEM;
    if (r == 0) {
        blob_set(&x->cached->cached, b);
        blob_set(&x->cached->durable, b);
        inode_set(&x->durable, x->cached);
        settle(x);
    } else if (x) {
        drop_if_gone(x);
    }
    blob_drop(b);
    return r;
}

const char *o3_memory_files_read(const struct o3_memory_files *f, const char *path, size_t *ret_n) {
    size_t i = index_of(f, path);
    const struct blob *b = i < O3_MEMORY_FILES_MAX ? bytes_of(f->entries[i].cached) : NULL;
    if (ret_n) *ret_n = b ? b->n : 0;
    return b ? b->bytes : NULL;
}

int o3_memory_files_power_loss(struct o3_memory_files *f) {
    return o3_memory_files_power_loss_keeping(f, false, false);
}

int o3_memory_files_power_loss_keeping(struct o3_memory_files *f, bool keeps_names, bool keeps_bytes) {
    int n_torn = 0;
    for (size_t i = 0; i < O3_MEMORY_FILES_MAX; i++) {
        struct entry *x = &f->entries[i];
        if (!x->path) continue;
        struct inode *left = keeps_names ? x->cached : x->durable;
        if (left) blob_set(keeps_bytes ? &left->durable : &left->cached, keeps_bytes ? left->cached : left->durable);
        inode_set(keeps_names ? &x->durable : &x->cached, left);
        n_torn += is_torn(x);
        settle(x);
        drop_if_gone(x);
    }
    f->n_torn += n_torn;
    return n_torn;
}

int64_t o3_memory_files_torn(const struct o3_memory_files *f) {
    return f->n_torn;
}

int o3_memory_files_sweep_temps(struct o3_memory_files *f, const char *dir) {
    int n = 0;
    size_t n_dir = strlen(dir);
    for (size_t i = 0; i < O3_MEMORY_FILES_MAX; i++) {
        struct entry *x = &f->entries[i];
        size_t of_file = x->path ? dir_length(x->path) : 0;
        /* The folder may be written with its last slash or without. */
        if (!x->path || (of_file != n_dir && !(n_dir && of_file == n_dir + 1)) || memcmp(x->path, dir, n_dir) != 0)
            continue;
        if (!is_temp(x) || !x->cached || f->now_ns - x->cached->written_ns <= O3_REPLACE_TEMP_AGE_S * O3_NS_PER_S)
            continue;
        inode_set(&x->cached, NULL);
        drop_if_gone(x);
        n++;
    }
    return n;
}

int o3_memory_files_temps(const struct o3_memory_files *f) {
    int n = 0;
    for (size_t i = 0; i < O3_MEMORY_FILES_MAX; i++)
        n += is_temp(&f->entries[i]) && f->entries[i].cached;
    return n;
}
