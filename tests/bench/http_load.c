/* SPDX-License-Identifier: Apache-2.0 */
/* Small requests over kept connections, each sent when the answer of the one before is complete; counts the answers.
 *
 *   http_load 127.0.0.1:11434 32 5 'GET /api/version' 'POST /api/generate {"model":"sim-small"}'
 *
 * means 32 connections for 5 seconds (half a second before them is not counted), the requests taken in turn. Prints one
 * line: answers a second, the median and the 99th percentile of the time of one, and how many were not a status 200. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 1000, MAX_REQUESTS = 16, REPLY_SIZE = 256 * 1024, MAX_US = 1000000, EVENTS = 64 };
static const int64_t WARM_UP_NS = 500000000;

struct connection {
    int fd, next; /* request to be sent next */
    int64_t sent_ns;
    size_t n;
    char *reply; /* REPLY_SIZE */
};

static struct connection connections[MAX_CONNECTIONS];
static char *requests[MAX_REQUESTS];
static int n_connections, n_requests;
static int64_t times[MAX_US]; /* how many took so many microseconds */
static int64_t n_done, n_wrong, begin_ns, end_ns;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

__attribute__((noreturn)) static void die(const char *what) {
    fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* "POST /path body" -> the bytes to send. */
static char *request_of(const char *text, const char *host) {
    const char *path = strchr(text, ' ');
    if (!path) die(text);
    const char *body = strchr(path + 1, ' ');
    size_t n_body = body ? strlen(body + 1) : 0;
    size_t n_head = body ? (size_t)(body - text) : strlen(text);
    char *all = NULL;
    if (asprintf(&all, "%.*s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                 (int)n_head, text, host, n_body, body ? body + 1 : "") < 0)
        die("memory");
    return all;
}

static void send_next(struct connection *c) {
    const char *bytes = requests[c->next];
    size_t n = strlen(bytes);
    c->next = (c->next + 1) % n_requests;
    c->n = 0;
    c->sent_ns = now_ns();
    /* Smaller than any socket's buffer: it goes whole or the connection is broken. */
    if (send(c->fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n) die("send");
}

/* Length of the whole answer, 0 while it is not known, SIZE_MAX when it is none that we understand. */
static size_t reply_length(const char *reply, size_t n) {
    const char *end = memmem(reply, n, "\r\n\r\n", 4);
    if (!end) return n == REPLY_SIZE - 1 ? SIZE_MAX : 0;
    const char *length = strcasestr(reply, "\r\nContent-Length:");
    size_t head = (size_t)(end + 4 - reply);
    if (length && length < end) return head + strtoul(length + 17, NULL, 10);
    const char *coding = strcasestr(reply, "\r\nTransfer-Encoding: chunked");
    if (!coding || coding >= end) return SIZE_MAX;
    return n >= head + 5 && !memcmp(reply + n - 5, "0\r\n\r\n", 5) ? n : 0;
}

static void note(const struct connection *c) {
    int64_t now = now_ns();
    if (now < begin_ns || now >= end_ns) return;
    n_done++;
    n_wrong += strncmp(c->reply + 8, " 200 ", 5) != 0;
    int64_t us = (now - c->sent_ns) / 1000;
    times[us < MAX_US ? us : MAX_US - 1]++;
}

static void receive(struct connection *c) {
    ssize_t n = recv(c->fd, c->reply + c->n, REPLY_SIZE - 1 - c->n, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) die("the server closed a connection");
    c->n += (size_t)n;
    c->reply[c->n] = '\0';
    size_t length = reply_length(c->reply, c->n);
    if (length == SIZE_MAX || (length && c->n > length)) {
        errno = EPROTO;
        die("answer");
    }
    if (length == 0 || c->n < length) return;
    note(c);
    send_next(c);
}

static void open_connection(struct connection *c, const struct sockaddr_in *to, int epoll_fd) {
    int on = 1;
    c->reply = malloc(REPLY_SIZE);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!c->reply || c->fd < 0) die("socket");
    const struct sockaddr *address = (const void *)to;
    if (connect(c->fd, address, sizeof *to) < 0) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) < 0) die("epoll");
}

static int64_t percentile_us(double share) {
    int64_t seen = 0, wanted = (int64_t)((double)n_done * share);
    for (int64_t us = 0; us < MAX_US; us++)
        if ((seen += times[us]) > wanted) return us;
    return MAX_US;
}

static void run(const struct sockaddr_in *to, double seconds) {
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) die("epoll");
    for (int i = 0; i < n_connections; i++) {
        open_connection(&connections[i], to, epoll_fd);
        connections[i].next = i % n_requests;
    }
    begin_ns = now_ns() + WARM_UP_NS;
    end_ns = begin_ns + (int64_t)(seconds * 1e9);
    for (int i = 0; i < n_connections; i++)
        send_next(&connections[i]);
    while (now_ns() < end_ns) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll_fd, events, EVENTS, 100);
        for (int i = 0; i < n; i++)
            receive(events[i].data.ptr);
    }
    close(epoll_fd);
}

int main(int argc, char **argv) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    char *colon = argc > 1 ? strrchr(argv[1], ':') : NULL;
    double seconds = argc > 3 ? strtod(argv[3], NULL) : 0;
    n_connections = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    n_requests = argc - 4;
    char host[16] = "";
    if (colon) snprintf(host, sizeof host, "%.*s", (int)(colon - argv[1]), argv[1]);
    if (!colon || inet_pton(AF_INET, host, &to.sin_addr) != 1 || n_connections < 1 || n_connections > MAX_CONNECTIONS ||
        !(seconds > 0) || n_requests < 1 || n_requests > MAX_REQUESTS) {
        fprintf(stderr, "usage: http_load ADDRESS:PORT CONNECTIONS SECONDS 'METHOD /PATH [BODY]' ...\n");
        return 2;
    }
    to.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    for (int i = 0; i < n_requests; i++)
        requests[i] = request_of(argv[4 + i], argv[1]);
    run(&to, seconds);
    printf("per_second %.0f p50_us %lld p99_us %lld requests %lld not_200 %lld\n", (double)n_done / seconds,
           (long long)percentile_us(0.5), (long long)percentile_us(0.99), (long long)n_done, (long long)n_wrong);
    for (int i = 0; i < n_requests; i++)
        free(requests[i]);
    for (int i = 0; i < n_connections; i++) {
        close(connections[i].fd);
        free(connections[i].reply);
    }
    return n_done == 0;
}
