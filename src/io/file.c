/* SPDX-License-Identifier: Apache-2.0 */
#include "io/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "o3/replace.h"

enum { CHUNK = 4 * 1024, TEMP_TRIES = 100, MAX_NAMES = 65536 };

static int code_of(int sys) {
    switch (sys) {
    case EROFS:
    case EACCES:
    case EPERM:
        return O3_E_READ_ONLY;
    case ENOSPC:
    case EDQUOT:
        return O3_E_DISK_FULL;
    case ENOENT:
    case ENOTDIR:
        return O3_E_NOT_FOUND;
    case ENOMEM:
        return O3_E_NOMEM;
    default:
        return O3_E_IO;
    }
}

static int fail(struct o3_err *e, int sys, const char *what, const char *path) {
    int r = o3_err_set(e, code_of(sys), "cannot %s %.150s: %s", what, path, strerror(sys));
    if (e) e->sys = sys;
    return r;
}

static ssize_t read_some(int fd, void *to, size_t n) {
    ssize_t r;
    do
        r = read(fd, to, n);
    while (r < 0 && errno == EINTR);
    return r;
}

/* 0 or an errno. */
static int write_all(int fd, const char *bytes, size_t n) {
    while (n) {
        ssize_t r = write(fd, bytes, n);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return errno;
        bytes += r;
        n -= (size_t)r;
    }
    return 0;
}

/* --- read --- */

static int read_fd(int fd, const char *path, size_t max, struct o3_buf *out, struct o3_err *e) {
    char chunk[CHUNK];
    size_t total = 0;
    for (;;) {
        ssize_t n = read_some(fd, chunk, sizeof chunk);
        if (n < 0) return fail(e, errno, "read", path);
        if (n == 0) return 0;
        total += (size_t)n;
        if (total > max) return o3_err_set(e, O3_E_LIMIT, "%.150s is larger than %zu bytes", path, max);
        int r = o3_buf_add(out, chunk, (size_t)n);
        if (r < 0) return o3_err_set(e, r, "cannot keep %.150s in memory", path);
    }
}

/* O_NONBLOCK: a named pipe in the place of a file must not hold us up. */
static int open_read(const char *path) {
    return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

int o3_file_read(const char *path, size_t max, struct o3_buf *out, struct o3_err *e) {
    int fd = open_read(path);
    if (fd < 0) return fail(e, errno, "read", path);
    int r = read_fd(fd, path, max, out, e);
    close(fd);
    return r;
}

int o3_file_read_tail(const char *path, size_t max, struct o3_buf *out, struct o3_err *e) {
    int fd = open_read(path);
    if (fd < 0) return fail(e, errno, "read", path);
    off_t size = lseek(fd, 0, SEEK_END), from = size > (off_t)max ? size - (off_t)max : 0;
    int r = size < 0 || lseek(fd, from, SEEK_SET) < 0 ? fail(e, errno, "read", path) : read_fd(fd, path, max, out, e);
    close(fd);
    return r;
}

/* --- replace --- */

struct replacement {
    const char *path; /* as the caller wrote it, for messages */
    char target[PATH_MAX];
    char temp[PATH_MAX]; /* in the folder of target, of which the name has n_dir bytes; 0: the current folder */
    size_t n_dir;
    mode_t mode; /* of the file that is replaced; 0 none */
    int fd;      /* of temp while it is open, else -1 */
    const char *bytes;
    size_t n;
    const struct o3_file_ops *ops;
};

/* A link stays a link: what it leads to is replaced. */
static int find_target(struct replacement *p, struct o3_err *e) {
    struct stat st;
    size_t n = strlen(p->path);
    if (n >= PATH_MAX) return fail(e, ENAMETOOLONG, "write", p->path);
    memcpy(p->target, p->path, n + 1);
    if (!lstat(p->path, &st) && S_ISLNK(st.st_mode) && !realpath(p->path, p->target))
        return fail(e, errno, "write", p->path);
    /* Renaming onto /dev/null, a pipe or a socket would take it away from everybody. */
    bool is_there = !stat(p->target, &st);
    if (is_there && !S_ISREG(st.st_mode)) {
        int r = o3_err_set(e, O3_E_IO, "cannot write %.150s: it is not a plain file", p->path);
        if (e) e->sys = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return r;
    }
    if (is_there) p->mode = st.st_mode & 0777;
    const char *slash = strrchr(p->target, '/');
    p->n_dir = slash ? (size_t)(slash - p->target) + 1 : 0;
    return 0;
}

/* 0 or an errno. A name can be left over from a killed process with our number. */
static int open_temp(struct replacement *p) {
    static unsigned counter; /* only the job thread replaces files, and a repeated number is merely tried again */
    for (int i = 0; i < TEMP_TRIES; i++) {
        unsigned number = __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED);
        int n = snprintf(p->temp, PATH_MAX, "%.*s" O3_REPLACE_TEMP_PREFIX "%ld-%u", (int)p->n_dir, p->target,
                         (long)getpid(), number);
        if (n < 0 || n >= PATH_MAX) return ENAMETOOLONG;
        p->fd = open(p->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (p->fd >= 0) return 0;
        if (errno != EEXIST) return errno;
    }
    return EEXIST;
}

/* 0 or an errno. */
static int fill_temp(const struct replacement *p) {
    int sys = write_all(p->fd, p->bytes, p->n);
    return !sys && p->mode && fchmod(p->fd, p->mode) < 0 ? errno : sys;
}

/* 0 or an errno; a network file system may tell of a failed write only when the file is closed. */
static int sync_temp(struct replacement *p) {
    int sys = fsync(p->fd) < 0 ? errno : 0;
    if (close(p->fd) < 0 && !sys) sys = errno;
    p->fd = -1;
    return sys;
}

static void discard_temp(struct replacement *p) {
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
    unlink(p->temp);
}

/* 0 or an errno. Some network file systems cannot sync a directory: there is nothing more we could do. */
static int sync_dir(struct replacement *p) {
    p->temp[p->n_dir] = '\0'; /* gone by that name: what is left is the folder */
    const char *dir = p->n_dir ? p->temp : ".";
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno == EACCES ? 0 : errno; /* writable but not readable: allowed, only not syncable */
    int sys = fsync(fd) < 0 && errno != EINVAL && errno != EROFS ? errno : 0;
    close(fd);
    return sys;
}

/* Not inlined: its buffer would add to the path buffers of the caller's frame. */
__attribute__((noinline)) static bool has_content(int fd, const char *bytes, size_t n) {
    char chunk[CHUNK];
    for (ssize_t got; (got = read_some(fd, chunk, sizeof chunk)) > 0; bytes += got, n -= (size_t)got)
        if ((size_t)got > n || memcmp(chunk, bytes, (size_t)got) != 0) return false;
    return n == 0;
}

static int read_back(const struct replacement *p, struct o3_err *e) {
    int fd = open(p->target, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool same = fd >= 0 && has_content(fd, p->bytes, p->n);
    if (fd >= 0) close(fd);
    if (same) return 0;
    return o3_err_set(e, O3_E_CHANGED, "%.150s is not what was just written: another process writes it", p->path);
}

/* What failed in a step, for "cannot ... PATH". */
static const char *const DOING[O3_REPLACE_STEP_COUNT] = {[O3_REPLACE_OPEN] = "write",
                                                         [O3_REPLACE_WRITE] = "write",
                                                         [O3_REPLACE_FSYNC] = "write",
                                                         [O3_REPLACE_RENAME] = "replace",
                                                         [O3_REPLACE_FSYNC_DIR] = "sync the directory of"};

static int perform(void *ctx, enum o3_replace_step step, struct o3_err *e) {
    struct replacement *p = ctx;
    int sys = 0;
    if (p->ops && p->ops->step) p->ops->step(p->ops->ctx, O3_REPLACE_STEP_NAMES[step]);
    switch (step) {
    case O3_REPLACE_OPEN:
        sys = open_temp(p);
        break;
    case O3_REPLACE_WRITE:
        sys = fill_temp(p);
        break;
    case O3_REPLACE_FSYNC:
        sys = sync_temp(p);
        break;
    case O3_REPLACE_RENAME:
        sys = rename(p->temp, p->target) < 0 ? errno : 0;
        break;
    case O3_REPLACE_FSYNC_DIR:
        sys = sync_dir(p);
        break;
    case O3_REPLACE_READ_BACK:
        return read_back(p, e);
    case O3_REPLACE_DISCARD:
        discard_temp(p);
        break;
    case O3_REPLACE_STEP_COUNT:
        break;
    }
    return sys ? fail(e, sys, DOING[step], p->path) : 0;
}

int o3_file_replace(const char *path, const char *bytes, size_t n, const struct o3_file_ops *ops, struct o3_err *e) {
    struct replacement p = {.path = path, .bytes = bytes, .n = n, .ops = ops, .fd = -1};
    int r = find_target(&p, e);
    return r < 0 ? r : o3_replace(perform, &p, e);
}

int o3_file_sweep_temps(const char *dir) {
    DIR *d = opendir(dir);
    if (!d) return 0;
    int n = 0;
    time_t before = time(NULL) - O3_REPLACE_TEMP_AGE_S;
    for (struct dirent *entry; (entry = readdir(d));) {
        struct stat st;
        if (strncmp(entry->d_name, O3_REPLACE_TEMP_PREFIX, sizeof O3_REPLACE_TEMP_PREFIX - 1) != 0) continue;
        if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) continue;
        if (S_ISREG(st.st_mode) && st.st_mtime < before) n += !unlinkat(dirfd(d), entry->d_name, 0);
    }
    closedir(d);
    return n;
}

/* --- directories --- */

int o3_file_make_dirs(const char *path, struct o3_err *e) {
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part) return fail(e, n ? ENAMETOOLONG : ENOENT, "make the directory", path);
    memcpy(part, path, n + 1);
    int sys = 0; /* the first failure; not yet an error: unwritable parents may be there already */
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != '\0') continue;
        char was = part[i];
        part[i] = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST && !sys) sys = errno;
        part[i] = was;
    }
    struct stat st;
    if (stat(path, &st) < 0) return fail(e, sys ? sys : errno, "make the directory", path);
    return S_ISDIR(st.st_mode) ? 0 : fail(e, ENOTDIR, "make the directory", path);
}

static bool has_suffix(const char *name, const char *suffix) {
    size_t n = strlen(name), m = strlen(suffix);
    return name[0] != '.' && n >= m && !strcmp(name + n - m, suffix);
}

struct names {
    char **v;
    size_t n, cap;
};

static void names_free(struct names *s) {
    for (size_t i = 0; i < s->n; i++)
        free(s->v[i]);
    free(s->v);
}

static bool names_add(struct names *s, const char *name) {
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        char **v = cap <= MAX_NAMES ? reallocarray(s->v, cap, sizeof *v) : NULL;
        if (!v) return false;
        s->v = v;
        s->cap = cap;
    }
    char *copy = strdup(name);
    if (copy) s->v[s->n++] = copy;
    return copy;
}

static int newest_first(const void *a, const void *b) {
    return -strcmp(*(char *const *)a, *(char *const *)b);
}

int o3_file_keep_newest(const char *dir, const char *suffix, int keep, struct o3_err *e) {
    DIR *d = opendir(dir);
    if (!d) return fail(e, errno, "read the directory", dir);
    struct names names = {0};
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(d));)
        if (has_suffix(entry->d_name, suffix)) ok = names_add(&names, entry->d_name);
    int r = ok ? 0 : o3_err_set(e, O3_E_NOMEM, "too many files in %.150s", dir);
    if (names.n > 1) qsort(names.v, names.n, sizeof *names.v, newest_first);
    for (size_t i = keep > 0 ? (size_t)keep : 0; ok && r >= 0 && i < names.n; i++)
        r = unlinkat(dirfd(d), names.v[i], 0) < 0 && errno != ENOENT ? fail(e, errno, "remove old files in", dir)
                                                                     : r + 1;
    names_free(&names);
    closedir(d);
    return r;
}

/* --- append --- */

static bool numbered(char out[PATH_MAX], const char *path, int i) {
    int n = i ? snprintf(out, PATH_MAX, "%s.%d", path, i) : snprintf(out, PATH_MAX, "%s", path);
    return n >= 0 && n < PATH_MAX;
}

/* path.keep is overwritten; 0 or an errno. */
static int rotate(const char *path, int keep) {
    char from[PATH_MAX], to[PATH_MAX];
    if (keep <= 0) return unlink(path) < 0 ? errno : 0;
    for (int i = keep; i > 0; i--) {
        if (!numbered(from, path, i - 1) || !numbered(to, path, i)) return ENAMETOOLONG;
        if (rename(from, to) < 0 && errno != ENOENT) return errno;
    }
    return 0;
}

/* Opens for appending and tells the size; -errno. Not-regular files (/dev/stdout) have none. */
static int open_append(const char *path, off_t *size) {
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0) return -errno;
    struct stat st;
    *size = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : -1;
    return fd;
}

/* Half a line from a crash must not swallow the next one. */
static int end_last_line(int fd, off_t size) {
    char last;
    if (size <= 0 || pread(fd, &last, 1, size - 1) != 1 || last == '\n') return 0;
    return write_all(fd, "\n", 1);
}

static int append(int fd, off_t size, const char *bytes, size_t n) {
    int sys = end_last_line(fd, size);
    if (!sys) sys = write_all(fd, bytes, n);
    if (sys && size >= 0 && ftruncate(fd, size) < 0) return sys; /* the next append ends the half line */
    return sys;
}

int o3_file_append_rotated(const char *path, const char *bytes, size_t n, size_t max_bytes, int keep,
                           struct o3_err *e) {
    off_t size = 0;
    int fd = open_append(path, &size);
    if (fd < 0) return fail(e, -fd, "append to", path);
    if (size > 0 && ((size_t)size >= max_bytes || n > max_bytes - (size_t)size)) {
        close(fd);
        int sys = rotate(path, keep);
        if (sys) return fail(e, sys, "rotate", path);
        fd = open_append(path, &size);
        if (fd < 0) return fail(e, -fd, "append to", path);
    }
    int sys = append(fd, size, bytes, n);
    if (close(fd) < 0 && !sys) sys = errno;
    return sys ? fail(e, sys, "append to", path) : 0;
}
