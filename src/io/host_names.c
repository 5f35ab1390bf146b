/* SPDX-License-Identifier: Apache-2.0 */
#include "io/host_names.h"
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { MAX_ADDRESSES = 8, MAX_HOSTS = 8 };
#define LOOKUP_LIFE_NS (60 * O3_NS_PER_S)

/* Owned by the job thread while `run` works, else by the loop. `owner` is the loop's: cleared when it ends first. */
struct lookup {
    struct o3_names *owner;
    char host[O3_HOST_SIZE];
    char addresses[O3_ADDRESSES_SIZE]; /* "" failed */
    char error[64];
};

struct host {
    char name[O3_HOST_SIZE]; /* "" free slot */
    char addresses[O3_ADDRESSES_SIZE];
    int64_t since_ns; /* of the answer; INT64_MIN: look up before the next use */
    struct lookup *lookup;
};

struct o3_names {
    struct o3_loop *loop;
    o3_names_fn *fn;
    void *ctx;
    struct host hosts[MAX_HOSTS];
};

bool o3_names_is_address(const char *host) {
    unsigned char address[sizeof(struct in6_addr)];
    size_t n = strlen(host);
    if (n > 2 && host[0] == '[') return true; /* libcurl checked what stands inside */
    return inet_pton(AF_INET, host, address) == 1 || !strcasecmp(host, "localhost");
}

static struct host *find_host(struct o3_names *n, const char *name) {
    for (size_t i = 0; i < MAX_HOSTS; i++)
        if (!strcasecmp(n->hosts[i].name, name)) return &n->hosts[i];
    return NULL;
}

static void add_address(char *list, size_t size, const struct sockaddr *sa, socklen_t len) {
    char text[NI_MAXHOST];
    if (getnameinfo(sa, len, text, sizeof text, NULL, 0, NI_NUMERICHOST)) return;
    if (strchr(text, '%')) return; /* link-local addresses need an interface */
    size_t n = strlen(list);
    bool is_v6 = sa->sa_family == AF_INET6;
    if (n + strlen(text) + 4 > size) return;
    snprintf(list + n, size - n, "%s%s%s%s", n ? "," : "", is_v6 ? "[" : "", text, is_v6 ? "]" : "");
}

static void run_lookup(void *job) {
    struct lookup *k = job;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    int r = getaddrinfo(k->host, NULL, &hints, &list);
    int n = 0;
    for (const struct addrinfo *a = r ? NULL : list; a && n < MAX_ADDRESSES; a = a->ai_next, n++)
        add_address(k->addresses, sizeof k->addresses, a->ai_addr, a->ai_addrlen);
    if (!r) freeaddrinfo(list);
    if (!*k->addresses) o3_str_copy(k->error, sizeof k->error, r ? gai_strerror(r) : "no address");
}

static void done_lookup(void *job) {
    struct lookup *k = job;
    struct o3_names *n = k->owner;
    struct host *host = n ? find_host(n, k->host) : NULL;
    if (host) {
        host->lookup = NULL;
        if (*k->addresses) {
            o3_str_copy(host->addresses, sizeof host->addresses, k->addresses);
            host->since_ns = o3_now_read().mono_ns;
        }
    }
    if (n) n->fn(n->ctx, k->host, k->addresses, k->error);
    free(k);
}

static int start_lookup(struct o3_names *n, struct host *host) {
    if (host->lookup) return 0;
    struct lookup *k = calloc(1, sizeof *k);
    if (!k) return O3_E_NOMEM;
    k->owner = n;
    o3_str_copy(k->host, sizeof k->host, host->name);
    int r = o3_loop_submit(n->loop, run_lookup, done_lookup, k);
    if (r < 0) {
        free(k);
        return r;
    }
    host->lookup = k;
    return 0;
}

static struct host *make_host(struct o3_names *n, const char *name) {
    struct host *host = find_host(n, name), *oldest = NULL;
    if (host) return host;
    for (size_t i = 0; i < MAX_HOSTS; i++) {
        host = &n->hosts[i];
        if (!host->lookup && (!oldest || !*host->name || (*oldest->name && host->since_ns < oldest->since_ns)))
            oldest = host;
    }
    if (!oldest) return NULL;
    *oldest = (struct host){.since_ns = INT64_MIN};
    o3_str_copy(oldest->name, sizeof oldest->name, name);
    return oldest;
}

int o3_names_find(struct o3_names *n, const char *name, const char **ret) {
    struct host *host = make_host(n, name);
    if (!host) return O3_E_LIMIT;
    bool has_answer = host->since_ns != INT64_MIN;
    bool is_fresh = has_answer && o3_now_read().mono_ns - host->since_ns < LOOKUP_LIFE_NS;
    int r = is_fresh ? 0 : start_lookup(n, host);
    if (has_answer) *ret = host->addresses;
    return has_answer ? 0 : r;
}

void o3_names_doubt(struct o3_names *n, const char *name) {
    struct host *host = find_host(n, name);
    if (host) host->since_ns = INT64_MIN;
}

struct o3_names *o3_names_new(struct o3_loop *l, o3_names_fn *fn, void *ctx) {
    struct o3_names *n = calloc(1, sizeof *n);
    if (n) *n = (struct o3_names){.loop = l, .fn = fn, .ctx = ctx};
    return n;
}

void o3_names_free(struct o3_names *n) {
    if (!n) return;
    for (size_t i = 0; i < MAX_HOSTS; i++)
        if (n->hosts[i].lookup) n->hosts[i].lookup->owner = NULL;
    free(n);
}
