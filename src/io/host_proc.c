/* SPDX-License-Identifier: Apache-2.0 */
#include "io/host_proc.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/file.h"

enum {
    MAX_PIDS = 4096,
    MAX_FDS_COUNTED = 65536,
    MAX_CMDLINE = 16 * 1024,
    CHUNK = 8 * 1024,
    PAGE = 4096,
    MAX_LINE = 256,   /* of a table of sockets: 150 and 190 bytes */
    MAX_CHUNKS = 2048 /* 16 MiB of sockets: about 100,000 */
};

static bool join(char out[PATH_MAX], const char *root, const char *rest) {
    return (size_t)snprintf(out, PATH_MAX, "%s/%s", root, rest) < PATH_MAX;
}

bool o3_host_read_text(const char *root, const char *rest, struct o3_buf *out) {
    char path[PATH_MAX];
    o3_buf_clear(out);
    return join(path, root, rest) && o3_file_read(path, O3_HOST_TEXT_MAX, out, NULL) == 0;
}

/* --- sockets --- */

struct socket_filter {
    uint16_t server_port;
    const uint16_t *own;
    size_t n_own;
    bool is_head_only; /* the listeners, which stand first */
};

/* In pieces of whole lines: the table of a busy node can be megabytes. The kernel fills a page with lines as long as
 * there are any; a piece that leaves room for more lines is the last one, and asking for the end would make it walk its
 * whole hash table again (1.7 ms with 262144 buckets). */
static bool count_file(const char *root, const char *rest, const struct socket_filter *f, struct o3_net_tcp_count *c) {
    char path[PATH_MAX], buf[CHUNK];
    if (!join(path, root, rest)) return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t n = 0;
    for (int i = 0; i < MAX_CHUNKS; i++) {
        size_t room = sizeof buf - n;
        ssize_t got = read(fd, buf + n, room);
        if (got <= 0) break;
        n += (size_t)got;
        const char *newline = memrchr(buf, '\n', n);
        size_t whole = newline ? (size_t)(newline - buf) + 1 : 0;
        o3_net_tcp_count(buf, whole, f->server_port, f->own, f->n_own, c);
        n -= whole;
        memmove(buf, buf + whole, n);
        if (f->is_head_only && c->has_other_states) break;
        if ((size_t)got + MAX_LINE < (room < PAGE ? room : PAGE)) break;
        if (n == sizeof buf) n = 0; /* no such line exists: not a table of sockets */
    }
    close(fd);
    return true;
}

static void add_family(const char *root, const char *rest, unsigned family, const struct socket_filter *f,
                       struct o3_host_sockets *ret) {
    int n_listening = ret->count.n_listening;
    if (!count_file(root, rest, f, &ret->count)) return;
    ret->is_readable = true;
    if (ret->count.n_listening > n_listening) ret->listening_families |= family;
}

void o3_host_read_sockets(const char *root, uint16_t server_port, const uint16_t *own, size_t n_own, unsigned families,
                          struct o3_host_sockets *ret) {
    *ret = (struct o3_host_sockets){0};
    struct socket_filter f = {server_port, own, n_own, false};
    if (families & O3_HOST_TCP6) add_family(root, "net/tcp6", O3_HOST_TCP6, &f, ret);
    ret->count.has_other_states = false;
    f.is_head_only = !(families & O3_HOST_TCP); /* runners listen on 127.0.0.1, wherever Ollama itself does */
    add_family(root, "net/tcp", O3_HOST_TCP, &f, ret);
}

/* --- processes --- */

static bool is_pid(const char *name) {
    return *name >= '1' && *name <= '9' && strspn(name, "0123456789") == strlen(name) && strlen(name) < 11;
}

/* Reads what fits: the options stand at the front. */
static size_t read_cmdline(const char *root, const char *pid, char *out, size_t max) {
    char path[PATH_MAX], rest[32];
    snprintf(rest, sizeof rest, "%.11s/cmdline", pid);
    if (!join(path, root, rest)) return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    size_t n = 0;
    for (ssize_t got = 1; got > 0 && n < max; n += got > 0 ? (size_t)got : 0)
        got = read(fd, out + n, max - n);
    close(fd);
    return n;
}

size_t o3_host_read_runners(const char *root, struct o3_runner_cmdline *out, size_t max) {
    DIR *d = opendir(root);
    if (!d) return 0;
    size_t n = 0;
    int n_pids = 0;
    static char cmdline[MAX_CMDLINE]; /* loop thread only; too large for a stack frame */
    for (struct dirent *entry; n < max && n_pids < MAX_PIDS && (entry = readdir(d));) {
        if (!is_pid(entry->d_name)) continue;
        n_pids++;
        size_t len = read_cmdline(root, entry->d_name, cmdline, sizeof cmdline);
        if (!len || !o3_runner_cmdline_parse(cmdline, len, &out[n])) continue;
        out[n++].pid = strtol(entry->d_name, NULL, 10);
    }
    closedir(d);
    return n;
}

bool o3_host_is_runner_alive(const char *root, const struct o3_runner_cmdline *runner) {
    char pid[24], cmdline[4096]; /* the options that tell it stand at the front */
    struct o3_runner_cmdline now;
    snprintf(pid, sizeof pid, "%lld", (long long)runner->pid);
    size_t len = runner->pid > 0 ? read_cmdline(root, pid, cmdline, sizeof cmdline) : 0;
    return len && o3_runner_cmdline_parse(cmdline, len, &now) && now.port == runner->port &&
           !strcmp(now.blob, runner->blob);
}

/* --- this process --- */

static int64_t count_fds(const char *root) {
    char path[PATH_MAX];
    DIR *d = join(path, root, "self/fd") ? opendir(path) : NULL;
    if (!d) return -1;
    int64_t n = 0;
    for (struct dirent *entry; n < MAX_FDS_COUNTED && (entry = readdir(d));)
        n += entry->d_name[0] != '.';
    int own = dirfd(d); /* the one opened here is seen too, where the directory is the real one */
    char name[16];
    snprintf(name, sizeof name, "%d", own);
    bool is_seen = faccessat(own, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    closedir(d);
    return n - is_seen;
}

static void read_times(const char *root, struct o3_buf *b, struct o3_host_self *ret) {
    struct o3_proc_stat stat;
    long hz = sysconf(_SC_CLK_TCK);
    if (hz <= 0 || !o3_host_read_text(root, "self/stat", b) || !o3_proc_stat_parse(o3_buf_str(b), &stat)) return;
    ret->cpu_seconds = (double)(stat.user_ticks + stat.system_ticks) / (double)hz;
    int64_t boot_s = o3_host_read_text(root, "stat", b) ? o3_proc_boot_time_s(o3_buf_str(b)) : -1;
    if (boot_s >= 0) ret->start_time_s = (double)boot_s + (double)stat.start_ticks / (double)hz;
}

void o3_host_read_self(const char *root, struct o3_host_self *ret) {
    *ret = (struct o3_host_self){-1, -1, -1, -1, -1, -1, -1};
    O3_AUTO_BUF b;
    o3_buf_init(&b, O3_HOST_TEXT_MAX);
    if (o3_host_read_text(root, "self/status", &b)) {
        ret->virtual_kib = o3_proc_status_kib(o3_buf_str(&b), "VmSize");
        ret->rss_kib = o3_proc_status_kib(o3_buf_str(&b), "VmRSS");
        ret->rss_anon_kib = o3_proc_status_kib(o3_buf_str(&b), "RssAnon");
    }
    if (o3_host_read_text(root, "self/limits", &b)) ret->max_fds = o3_proc_max_open_files(o3_buf_str(&b));
    ret->open_fds = count_fds(root);
    read_times(root, &b, ret);
}

int64_t o3_host_memory_available_bytes(const char *root) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, O3_HOST_TEXT_MAX);
    int64_t kib = o3_host_read_text(root, "meminfo", &b) ? o3_meminfo_kib(o3_buf_str(&b), "MemAvailable") : -1;
    return kib < 0 || kib > INT64_MAX / 1024 ? -1 : kib * 1024;
}
