/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_sockets.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_SOCKETS = 4096 };

struct open_socket {
    int fd;
    ino_t inode; /* tells whether fd still is this socket */
};
struct o3_sockets {
    size_t n_refs, n, cap;
    struct open_socket *v;
};

struct o3_sockets *o3_sockets_new(void) {
    struct o3_sockets *s = calloc(1, sizeof *s);
    if (s) s->n_refs = 1;
    return s;
}

void o3_sockets_unref(struct o3_sockets *s) {
    if (--s->n_refs) return;
    free(s->v);
    free(s);
}

static ino_t inode_of(int fd) {
    struct stat st;
    return fstat(fd, &st) < 0 ? 0 : st.st_ino;
}

void o3_sockets_forget_closed(struct o3_sockets *s) {
    for (size_t i = 0; i < s->n;) {
        if (inode_of(s->v[i].fd) == s->v[i].inode) {
            i++;
            continue;
        }
        s->v[i] = s->v[--s->n];
        s->n_refs--;
    }
}

static bool add(struct o3_sockets *s, int fd) {
    o3_sockets_forget_closed(s);
    if (s->n == MAX_SOCKETS) return false;
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 8;
        struct open_socket *v = reallocarray(s->v, cap, sizeof *v);
        if (!v) return false;
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = (struct open_socket){fd, inode_of(fd)};
    s->n_refs++;
    return true;
}

int o3_sockets_open(struct o3_sockets *s, int family, int type, int protocol) {
    int fd = socket(family, type | SOCK_CLOEXEC, protocol);
    if (fd < 0 || add(s, fd)) return fd;
    close(fd);
    return -1;
}

int o3_sockets_close(struct o3_sockets *s, int fd) {
    int r = close(fd);
    for (size_t i = 0; i < s->n; i++) {
        if (s->v[i].fd != fd) continue;
        s->v[i] = s->v[--s->n];
        o3_sockets_unref(s);
        break;
    }
    return r;
}

static uint16_t local_port(int fd) {
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &n) < 0) return 0;
    if (a.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&a)->sin_port);
    return a.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&a)->sin6_port) : 0;
}

size_t o3_sockets_local_ports(const struct o3_sockets *s, uint16_t *out, size_t max) {
    size_t n = 0;
    for (size_t i = 0; i < s->n && n < max; i++) {
        uint16_t port = local_port(s->v[i].fd);
        if (port) out[n++] = port;
    }
    return n;
}
