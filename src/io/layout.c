/* SPDX-License-Identifier: Apache-2.0 */
#include "io/layout.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA "..data"
#define DATA_NEW "..data_tmp"
#define VERSION_PREFIX "..o3-"
#define LINK_PREFIX DATA "/"

static int fail(struct o3_err *e, const char *what, const char *dir, const char *name) {
    int sys = errno;
    int code = sys == ENOSPC || sys == EDQUOT ? O3_E_DISK_FULL
               : sys == EROFS                 ? O3_E_READ_ONLY
               : sys == ENOENT                ? O3_E_NOT_FOUND
                                              : O3_E_IO;
    (void)o3_err_set(e, code, "cannot %s %.120s/%.60s: %s", what, dir, name, strerror(sys));
    if (e) e->sys = sys;
    return code;
}

static int open_dir(int at, const char *name) {
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* A version: what is a link is none of ours, and is not followed into what is not ours. */
static int open_version(int at, const char *name) {
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

#define TRIES 4

/* The version in force; a link that leads out of the folder is none. */
static int open_current(int at) {
    char to[NAME_MAX + 1];
    int fd = -1;
    for (int i = 0; fd < 0 && i < TRIES; i++) { /* it may be swapped between the two calls */
        ssize_t n = readlinkat(at, DATA, to, sizeof to - 1);
        if (n < 0) return open_version(at, DATA); /* of a copy it may be a folder */
        to[n] = '\0';
        if (strchr(to, '/') || !strcmp(to, "..")) return -1;
        fd = open_version(at, to);
    }
    return fd;
}

/* ---- read ---- */

static int read_file(int fd, struct o3_buf *out) {
    char chunk[8192];
    for (ssize_t n; (n = read(fd, chunk, sizeof chunk)) != 0;) {
        if (n < 0 && errno != EINTR) return O3_E_IO;
        if (n > 0 && o3_buf_add(out, chunk, (size_t)n) < 0) return out->err;
    }
    return 0;
}

/* link_flag: 0 or O_NOFOLLOW. */
static int read_key(int dir_fd, const char *name, int link_flag, struct o3_keys *ret) {
    struct stat st;
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | link_flag);
    if (fd < 0) return errno == ENOENT || (link_flag && errno == ELOOP) ? 0 : O3_E_IO;
    O3_AUTO_BUF text;
    o3_buf_init(&text, O3_KEYS_BYTES_MAX);
    int r = 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        r = read_file(fd, &text);
        if (r == 0) r = o3_keys_set(ret, name, o3_buf_str(&text), text.len);
        if (r == O3_E_PARSE) r = 0;
    }
    close(fd);
    return r;
}

static int read_all(int take_fd, int link_flag, struct o3_keys *ret) {
    DIR *d = fdopendir(take_fd);
    if (!d) {
        close(take_fd);
        return O3_E_NOMEM;
    }
    int r = 0;
    for (struct dirent *entry; r == 0 && (entry = readdir(d));)
        if (entry->d_name[0] != '.') r = read_key(dirfd(d), entry->d_name, link_flag, ret);
    closedir(d);
    return r;
}

static int read_layout(const char *dir, int link_flag, struct o3_keys *ret, struct o3_err *e) {
    *ret = (struct o3_keys){.n = 0};
    int at = open_dir(AT_FDCWD, dir);
    if (at < 0) return fail(e, "read", dir, "");
    /* The folder behind ..data, not the link: a swap in the middle does not mix two versions. */
    int fd = link_flag ? open_current(at) : open_dir(at, DATA);
    if (fd >= 0)
        close(at);
    else
        fd = at;
    int r = read_all(fd, link_flag, ret);
    if (r == 0) return 0;
    o3_keys_free(ret);
    return o3_err_set(e, r, "cannot read what is in %.150s", dir);
}

int o3_layout_read(const char *dir, struct o3_keys *ret, struct o3_err *e) {
    return read_layout(dir, 0, ret, e);
}

int o3_layout_read_within(const char *dir, struct o3_keys *ret, struct o3_err *e) {
    return read_layout(dir, O_NOFOLLOW, ret, e);
}

/* Ours are the links into ..data. */
static bool is_our_link(int at, const char *name) {
    char to[NAME_MAX + 16];
    ssize_t n = readlinkat(at, name, to, sizeof to - 1);
    if (n <= 0) return false;
    to[n] = '\0';
    return !strncmp(to, LINK_PREFIX, sizeof LINK_PREFIX - 1) && !strcmp(to + sizeof LINK_PREFIX - 1, name);
}

size_t o3_layout_count_hidden(const char *dir, const struct o3_keys *keys) {
    size_t n = 0;
    int at = open_dir(AT_FDCWD, dir);
    if (at < 0) return 0;
    bool has_version = faccessat(at, DATA, F_OK, 0) == 0;
    for (size_t i = 0; has_version && i < keys->n; i++)
        n += keys->v[i].value && !is_our_link(at, keys->v[i].name);
    close(at);
    return n;
}

/* ---- written ---- */

struct layout {
    const char *dir;
    const struct o3_keys *keys;
    const struct o3_file_ops *ops;
    char version[32]; /* name of the new folder */
    int at, fd;       /* the folder; the new one in it */
};

static void step(const struct layout *l, const char *name) {
    if (l->ops && l->ops->step) l->ops->step(l->ops->ctx, name);
}

static int make_version(struct layout *l, struct o3_err *e) {
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/" VERSION_PREFIX "XXXXXX", l->dir);
    if (n < 0 || n >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return fail(e, "write", l->dir, "");
    }
    if (!mkdtemp(path)) return fail(e, "write", l->dir, VERSION_PREFIX);
    snprintf(l->version, sizeof l->version, "%s", strrchr(path, '/') + 1);
    l->fd = open_version(l->at, l->version);
    /* Its readers are other users of the pod. */
    return l->fd < 0 || fchmod(l->fd, 0755) < 0 ? fail(e, "write", l->dir, l->version) : 0;
}

static int write_key(const struct layout *l, const struct o3_key *k, struct o3_err *e) {
    int fd = openat(l->fd, k->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) return fail(e, "write", l->dir, k->name);
    size_t done = 0;
    bool ok = fchmod(fd, 0644) == 0;
    while (ok && done < k->n) {
        ssize_t n = write(fd, k->value + done, k->n - done);
        if (n > 0) done += (size_t)n;
        ok = n > 0 || (n < 0 && errno == EINTR);
    }
    ok = ok && fsync(fd) == 0;
    int r = ok ? 0 : fail(e, "write", l->dir, k->name);
    close(fd);
    return r;
}

static int write_version(struct layout *l, struct o3_err *e) {
    int r = make_version(l, e);
    for (size_t i = 0; r == 0 && i < l->keys->n; i++) {
        step(l, "write");
        if (l->keys->v[i].value) r = write_key(l, &l->keys->v[i], e);
    }
    if (r == 0 && fsync(l->fd) < 0) r = fail(e, "write", l->dir, l->version);
    return r;
}

static int swap(const struct layout *l, struct o3_err *e) {
    step(l, "swap");
    (void)unlinkat(l->at, DATA_NEW, 0);
    if (symlinkat(l->version, l->at, DATA_NEW) < 0) return fail(e, "write", l->dir, DATA_NEW);
    return renameat(l->at, DATA_NEW, l->at, DATA) < 0 ? fail(e, "write", l->dir, DATA) : 0;
}

static int link_keys(const struct layout *l, struct o3_err *e) {
    char to[NAME_MAX + 16];
    step(l, "link");
    for (size_t i = 0; i < l->keys->n; i++) {
        const struct o3_key *k = &l->keys->v[i];
        if (!k->value || is_our_link(l->at, k->name)) continue;
        snprintf(to, sizeof to, LINK_PREFIX "%s", k->name);
        if (symlinkat(to, l->at, k->name) < 0) return fail(e, "write", l->dir, k->name);
    }
    return 0;
}

static void remove_version(const struct layout *l, const char *name) {
    int fd = open_version(l->at, name);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d && fd >= 0) close(fd);
    for (struct dirent *entry; d && (entry = readdir(d));)
        (void)unlinkat(dirfd(d), entry->d_name, 0);
    if (d) closedir(d);
    (void)unlinkat(l->at, name, AT_REMOVEDIR);
}

static bool is_gone(const struct layout *l, const char *name) {
    const struct o3_key *k = o3_keys_find(l->keys, name);
    return (!k || !k->value) && is_our_link(l->at, name);
}

/* Versions but the one given, and, when the new one is in force, links of keys that are not there any more. */
static void sweep(const struct layout *l, const char *keep, bool is_in_force) {
    int fd = open_dir(l->at, ".");
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d && fd >= 0) close(fd);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        const char *name = entry->d_name;
        if (!strncmp(name, VERSION_PREFIX, sizeof VERSION_PREFIX - 1) && strcmp(name, keep) != 0)
            remove_version(l, name);
        else if (is_in_force && name[0] != '.' && is_gone(l, name))
            (void)unlinkat(l->at, name, 0);
    }
    if (d) closedir(d);
}

static int replace(struct layout *l, struct o3_err *e) {
    int r = write_version(l, e);
    if (r == 0) r = swap(l, e);
    if (r < 0) {
        if (*l->version) remove_version(l, l->version);
        return r;
    }
    r = link_keys(l, e);
    if (r == 0 && fsync(l->at) < 0) r = fail(e, "write", l->dir, DATA);
    step(l, "sweep");
    sweep(l, l->version, true);
    return r;
}

int o3_layout_replace(const char *dir, const struct o3_keys *keys, const struct o3_file_ops *ops, struct o3_err *e) {
    int r = o3_file_make_dirs(dir, e);
    if (r < 0) return r;
    struct layout l = {.dir = dir, .keys = keys, .ops = ops, .at = open_dir(AT_FDCWD, dir), .fd = -1};
    if (l.at < 0) return fail(e, "open", dir, "");
    r = replace(&l, e);
    if (l.fd >= 0) close(l.fd);
    close(l.at);
    return r;
}
