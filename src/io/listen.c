/* SPDX-License-Identifier: Apache-2.0 */
#include "io/listen.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "o3/text.h"

enum { BACKLOG = 256, HOST_SIZE = 256, PORT_SIZE = 8 };

struct address {
    char host[HOST_SIZE]; /* "" all addresses */
    char port[PORT_SIZE];
};

static bool split_address(const char *text, struct address *ret) {
    const char *colon = strrchr(text, ':');
    if (!colon || strlen(colon + 1) >= PORT_SIZE) return false;
    const char *host = text;
    size_t n = (size_t)(colon - text);
    if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
        host++;
        n -= 2;
    } else if (memchr(host, ':', n)) {
        return false; /* IPv6 needs brackets, else the port could be a part of the address */
    }
    int64_t port;
    if (n >= HOST_SIZE || !o3_int_parse(colon + 1, &port) || port < 0 || port > UINT16_MAX) return false;
    memcpy(ret->host, host, n);
    ret->host[n] = '\0';
    return o3_str_copy(ret->port, sizeof ret->port, colon + 1);
}

static int resolve(const char *text, const struct address *a, int family, struct addrinfo **ret, struct o3_err *e) {
    /* localhost is ours to answer: a name service might be absent, slow or wrong. */
    const char *host = !*a->host ? (family == AF_INET6 ? "::" : "0.0.0.0") : a->host;
    if (!strcmp(host, "localhost")) host = "127.0.0.1";
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICHOST};
    if (!getaddrinfo(host, a->port, &hints, ret)) return 0;
    hints.ai_flags = AI_PASSIVE;
    int r = getaddrinfo(host, a->port, &hints, ret);
    if (!r) return 0;
    return o3_err_set(e, O3_E_CONFIG, "cannot listen on %.120s: %s", text, gai_strerror(r));
}

static int bind_error(const char *text, int sys, struct o3_err *e) {
    int r;
    if (sys == EADDRINUSE)
        r = o3_err_set(e, O3_E_PORT_TAKEN, "cannot listen on %.120s: the port is taken by another process", text);
    else if (sys == EADDRNOTAVAIL || sys == EAFNOSUPPORT)
        r = o3_err_set(e, O3_E_CONFIG, "cannot listen on %.120s: this machine has no such address", text);
    else if (sys == EACCES || sys == EPERM)
        r = o3_err_set(e, O3_E_CONFIG, "cannot listen on %.120s: not permitted (ports below 1024 need a privilege)",
                       text);
    else
        r = o3_err_set(e, O3_E_IO, "cannot listen on %.120s: %s", text, strerror(sys));
    if (e) e->sys = sys;
    return r;
}

/* The descriptor, or -errno. */
static int open_socket(const struct addrinfo *ai, bool is_dual) {
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int on = 1, only6 = !is_dual;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ai->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, sizeof only6);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int sys = errno;
        close(fd);
        return -sys;
    }
    return fd;
}

static uint16_t local_port(int fd) {
    struct sockaddr_storage s = {0};
    socklen_t n = sizeof s;
    if (getsockname(fd, (struct sockaddr *)&s, &n) < 0) return 0;
    in_port_t port = s.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&s)->sin6_port
                                             : ((struct sockaddr_in *)&s)->sin_port;
    return ntohs(port);
}

static int try_family(const char *text, const struct address *a, int family, int *ret_fd, struct o3_err *e) {
    struct addrinfo *list = NULL;
    int r = resolve(text, a, family, &list, e);
    if (r < 0) return r;
    int fd = open_socket(list, !*a->host);
    freeaddrinfo(list);
    if (fd < 0) return bind_error(text, -fd, e);
    *ret_fd = fd;
    return 0;
}

int o3_listen_open(const char *address, int *ret_fd, uint16_t *ret_port, struct o3_err *e) {
    struct address a;
    if (!split_address(address, &a))
        return o3_err_set(e, O3_E_CONFIG,
                          "\"%.120s\" is not a listen address; write 127.0.0.1:21434, [::1]:21434 or :21434", address);
    int fd;
    int r = try_family(address, &a, AF_INET6, &fd, e);
    /* "All addresses" on a machine without IPv6 means IPv4. */
    if (r == O3_E_CONFIG && !*a.host) r = try_family(address, &a, AF_INET, &fd, e);
    if (r < 0) return r;
    *ret_fd = fd;
    *ret_port = local_port(fd);
    return 0;
}
