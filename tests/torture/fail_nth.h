/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_TORTURE_FAIL_NTH_H
#define O3_TORTURE_FAIL_NTH_H
/* The n-th call of a kind fails, for all n: linked with --wrap, so that it catches the calls of our own code.
 *
 *     for (o3_fail_arm(O3_FAIL_ALLOC, 1); ; o3_fail_arm(O3_FAIL_ALLOC, n + 1)) {
 *         use(); if (!o3_fail_disarm()) break;    // the n-th call did not come: all were tried
 *     }                                                                                                              */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum o3_fail_kind { O3_FAIL_ALLOC, O3_FAIL_WRITE, O3_FAIL_FSYNC, O3_FAIL_RENAME, O3_FAIL_KINDS };

static struct {
    bool is_armed;
    enum o3_fail_kind kind;
    long at, n;
    bool short_writes; /* each write takes one byte only */
} o3_fail;

static inline void o3_fail_arm(enum o3_fail_kind kind, long at) {
    o3_fail.is_armed = true;
    o3_fail.kind = kind;
    o3_fail.at = at;
    o3_fail.n = 0;
}

/* Whether the call was reached. */
static inline bool o3_fail_disarm(void) {
    o3_fail.is_armed = false;
    return o3_fail.n >= o3_fail.at;
}

static inline bool o3_fail_now(enum o3_fail_kind kind) {
    return o3_fail.is_armed && o3_fail.kind == kind &&
           __atomic_add_fetch(&o3_fail.n, 1, __ATOMIC_RELAXED) == o3_fail.at;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
ssize_t __real_write(int fd, const void *p, size_t n);
int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
ssize_t __wrap_write(int fd, const void *p, size_t n);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);

void *__wrap_malloc(size_t n) {
    return o3_fail_now(O3_FAIL_ALLOC) ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    return o3_fail_now(O3_FAIL_ALLOC) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n) {
    return o3_fail_now(O3_FAIL_ALLOC) ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size) {
    return o3_fail_now(O3_FAIL_ALLOC) ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s) {
    return o3_fail_now(O3_FAIL_ALLOC) ? NULL : __real_strdup(s);
}

ssize_t __wrap_write(int fd, const void *p, size_t n) {
    if (o3_fail_now(O3_FAIL_WRITE)) {
        errno = ENOSPC;
        return -1;
    }
    return __real_write(fd, p, o3_fail.short_writes && n > 1 ? 1 : n);
}

int __wrap_fsync(int fd) {
    if (!o3_fail_now(O3_FAIL_FSYNC)) return __real_fsync(fd);
    errno = EIO;
    return -1;
}

int __wrap_rename(const char *from, const char *to) {
    if (!o3_fail_now(O3_FAIL_RENAME)) return __real_rename(from, to);
    errno = EROFS;
    return -1;
}

#endif
