/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "io/file.h"

enum { MAX_READS = 64 };

struct o3_file_watch {
    int fd;
};

/* The directory, not the file: editors and ConfigMap mounts replace the file or a link beside it. */
static int watch_dir(int fd, const char *path, struct o3_err *e) {
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = !slash || slash == path ? 1 : (size_t)(slash - path);
    if (n >= sizeof dir) return o3_err_set(e, O3_E_NOT_FOUND, "cannot watch %.150s: the name is too long", path);
    memcpy(dir, slash ? path : ".", n);
    dir[n] = '\0';
    const uint32_t what = IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_CLOSE_WRITE | IN_DELETE | IN_DELETE_SELF |
                          IN_MOVE_SELF | IN_ONLYDIR;
    if (inotify_add_watch(fd, dir, what) >= 0) return 0;
    int code = errno == ENOENT || errno == ENOTDIR ? O3_E_NOT_FOUND : errno == ENOSPC ? O3_E_LIMIT : O3_E_IO;
    return o3_err_set(e, code, "cannot watch %.150s: %s", path, strerror(errno));
}

int o3_file_watch_new(const char *path, struct o3_file_watch **ret, struct o3_err *e) {
    struct o3_file_watch *w = calloc(1, sizeof *w);
    if (!w) return o3_err_set(e, O3_E_NOMEM, "no memory to watch %.150s", path);
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    int r = w->fd < 0 ? o3_err_set(e, O3_E_LIMIT, "cannot watch %.150s: %s", path, strerror(errno))
                      : watch_dir(w->fd, path, e);
    if (r < 0) {
        o3_file_watch_free(w);
        return r;
    }
    *ret = w;
    return 0;
}

int o3_file_watch_add(struct o3_file_watch *w, const char *path, struct o3_err *e) {
    return watch_dir(w->fd, path, e);
}

void o3_file_watch_free(struct o3_file_watch *w) {
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    free(w);
}

int o3_file_watch_fd(const struct o3_file_watch *w) {
    return w->fd;
}

void o3_file_watch_drain(struct o3_file_watch *w) {
    char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    for (int i = 0; i < MAX_READS && read(w->fd, buf, sizeof buf) > 0; i++)
        continue; /* what is left over wakes the loop again */
}
