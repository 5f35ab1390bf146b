/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_client.h"
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "o3/buf.h"

enum {
    HOST_SIZE = 256,
    ADDRESSES_SIZE = 512,
    MAX_ADDRESSES = 8,
    MAX_HOSTS = 8,
    MAX_HEADER_BYTES = 64 * 1024,
    MAX_URL_BYTES = 4096,
    POOLED_HANDLES = 2,
    MAX_SOCKETS = 4096,
    CONNECT_TIMEOUT_MS = 5000,
    TOTAL_TIMEOUT_MS = 600000,
    IDLE_CONNECTION_S = 30
};
#define LOOKUP_LIFE_NS (60 * O3_NS_PER_S)

/* Open sockets. Lives as long as the last of them: libcurl keeps idle connections until the multi handle ends, and
 * calls back then. */
struct open_socket {
    int fd;
    ino_t inode; /* tells whether fd still is this socket */
};
struct sockets {
    size_t n_refs, n, cap;
    struct open_socket *v;
};

/* Owned by the job thread while `run` works, else by the loop. `owner` is the loop's: cleared when the client ends
 * first. */
struct lookup {
    struct o3_http *owner;
    char host[HOST_SIZE];
    char addresses[ADDRESSES_SIZE]; /* "1.2.3.4,[::1]"; "" failed */
    char error[64];
};

struct host {
    char name[HOST_SIZE]; /* "" free slot */
    char addresses[ADDRESSES_SIZE];
    int64_t since_ns; /* of the answer; INT64_MIN: look up before the next use */
    struct lookup *lookup;
};

enum xfer_state {
    RESOLVING,
    READY,   /* to be given to libcurl before the next wait */
    RUNNING, /* libcurl has it */
    DOOMED,  /* cancelled inside libcurl: removed before the next wait, no callbacks */
    ENDED    /* on_end is being called */
};

struct o3_xfer {
    struct o3_curl_done done; /* first: libcurl's private pointer points here */
    TAILQ_ENTRY(o3_xfer) link;
    struct o3_http *http;
    CURL *easy;
    enum xfer_state state;
    struct o3_http_cb cb;
    char *body;
    struct curl_slist *pin;
    char host[HOST_SIZE];
    long port;
    int64_t resolve_deadline_ns, first_byte_deadline_ns; /* INT64_MAX none */
    size_t max_bytes, n_bytes, n_header_bytes;
    int why; /* set where a callback of ours ended the transfer */
    char error[CURL_ERROR_SIZE];
};
TAILQ_HEAD(xfer_list, o3_xfer);

struct o3_http {
    struct o3_loop *loop;
    CURLM *multi;
    struct xfer_list xfers;
    struct sockets *sockets;
    struct host hosts[MAX_HOSTS];
    CURL *pool[POOLED_HANDLES];
    struct curl_slist *get_headers, *post_headers;
};

static int64_t mono_ns(void) {
    return o3_now_read().mono_ns;
}

/* --- sockets --- */

static void sockets_unref(struct sockets *s) {
    if (--s->n_refs) return;
    free(s->v);
    free(s);
}

static ino_t inode_of(int fd) {
    struct stat st;
    return fstat(fd, &st) < 0 ? 0 : st.st_ino;
}

/* libcurl closes a socket that never got connected without telling. The client's own reference keeps the list alive
 * here. */
static void sockets_forget_closed(struct sockets *s) {
    for (size_t i = 0; i < s->n;) {
        if (inode_of(s->v[i].fd) == s->v[i].inode) {
            i++;
            continue;
        }
        s->v[i] = s->v[--s->n];
        s->n_refs--;
    }
}

static bool sockets_add(struct sockets *s, int fd) {
    sockets_forget_closed(s);
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

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a) {
    (void)purpose;
    int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
    if (fd < 0) return CURL_SOCKET_BAD;
    if (sockets_add(ctx, fd)) return fd;
    close(fd);
    return CURL_SOCKET_BAD;
}

static int on_close_socket(void *ctx, curl_socket_t fd) {
    struct sockets *s = ctx;
    int r = close(fd);
    for (size_t i = 0; i < s->n; i++) {
        if (s->v[i].fd != fd) continue;
        s->v[i] = s->v[--s->n];
        sockets_unref(s);
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

size_t o3_http_local_ports(const struct o3_http *h, uint16_t *out, size_t max) {
    size_t n = 0;
    for (size_t i = 0; i < h->sockets->n && n < max; i++) {
        uint16_t port = local_port(h->sockets->v[i].fd);
        if (port) out[n++] = port;
    }
    return n;
}

/* --- transfers: end --- */

static void give_handle(struct o3_http *h, CURL *easy) {
    curl_easy_reset(easy);
    for (size_t i = 0; i < POOLED_HANDLES; i++) {
        if (h->pool[i]) continue;
        h->pool[i] = easy;
        return;
    }
    curl_easy_cleanup(easy);
}

static CURL *take_handle(struct o3_http *h) {
    for (size_t i = 0; i < POOLED_HANDLES; i++) {
        if (!h->pool[i]) continue;
        CURL *easy = h->pool[i];
        h->pool[i] = NULL;
        return easy;
    }
    return curl_easy_init();
}

static void free_xfer(struct o3_xfer *x) {
    if (x->easy) give_handle(x->http, x->easy);
    curl_slist_free_all(x->pin);
    free(x->body);
    free(x);
}

/* False inside libcurl's own callbacks, where it must not be taken away. */
static bool detach(struct o3_xfer *x) {
    if (x->state != RUNNING && x->state != DOOMED) return true;
    return curl_multi_remove_handle(x->http->multi, x->easy) != CURLM_RECURSIVE_API_CALL;
}

void o3_xfer_cancel(struct o3_xfer *x) {
    if (!x || x->state == ENDED || x->state == DOOMED) return;
    if (!detach(x)) {
        x->state = DOOMED;
        return;
    }
    TAILQ_REMOVE(&x->http->xfers, x, link);
    free_xfer(x);
}

static void finish(struct o3_xfer *x, int code, const char *text, int64_t now_ns) {
    struct o3_http_result r = {.code = code};
    long status = 0;
    if (x->state == RUNNING) curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    r.status = (int)status;
    o3_str_copy(r.text, sizeof r.text, text);
    detach(x);
    TAILQ_REMOVE(&x->http->xfers, x, link);
    x->state = ENDED;
    if (x->cb.on_end) x->cb.on_end(x->cb.ctx, &r, now_ns);
    free_xfer(x);
}

static struct host *find_host(struct o3_http *h, const char *name) {
    for (size_t i = 0; i < MAX_HOSTS; i++)
        if (!strcasecmp(h->hosts[i].name, name)) return &h->hosts[i];
    return NULL;
}

/* Whether the request could be sent; until then the trouble is the connection's. */
static bool was_connected(const struct o3_xfer *x) {
    curl_off_t us = 0;
    curl_easy_getinfo(x->easy, CURLINFO_PRETRANSFER_TIME_T, &us);
    return us > 0;
}

static int code_of(const struct o3_xfer *x, CURLcode c) {
    if (c == CURLE_OK) return 0;
    if (x->why) return x->why;
    if (c == CURLE_OUT_OF_MEMORY) return O3_E_NOMEM;
    if (c == CURLE_FILESIZE_EXCEEDED) return O3_E_LIMIT;
    if (!was_connected(x)) return O3_E_UNREACHABLE;
    return c == CURLE_OPERATION_TIMEDOUT ? O3_E_TIMEOUT : O3_E_HTTP;
}

static const char *text_of(const struct o3_xfer *x, CURLcode c) {
    if (c == CURLE_OK) return "";
    if (x->why == O3_E_LIMIT || c == CURLE_FILESIZE_EXCEEDED) return "the reply is over the limit";
    return *x->error ? x->error : curl_easy_strerror(c);
}

static void on_curl_done(struct o3_curl_done *d, int curl_code, int64_t now_ns) {
    struct o3_xfer *x = (struct o3_xfer *)d;
    if (x->state == DOOMED) {
        detach(x);
        TAILQ_REMOVE(&x->http->xfers, x, link);
        free_xfer(x);
        return;
    }
    int code = code_of(x, (CURLcode)curl_code);
    struct host *host = code == O3_E_UNREACHABLE && *x->host ? find_host(x->http, x->host) : NULL;
    if (host) host->since_ns = INT64_MIN;
    finish(x, code, text_of(x, (CURLcode)curl_code), now_ns);
}

/* --- transfers: data --- */

static size_t on_header(char *bytes, size_t one, size_t n, void *ctx) {
    (void)bytes, (void)one;
    struct o3_xfer *x = ctx;
    x->n_header_bytes += n;
    if (x->n_header_bytes <= MAX_HEADER_BYTES) return n;
    x->why = O3_E_LIMIT;
    return 0;
}

static size_t on_body(char *bytes, size_t one, size_t n, void *ctx) {
    int64_t now_ns = mono_ns(); /* before all else: this is a measurement */
    (void)one;
    struct o3_xfer *x = ctx;
    if (x->state == DOOMED) return 0;
    if (!n) return 0;
    x->first_byte_deadline_ns = INT64_MAX;
    x->n_bytes += n;
    if (x->n_bytes > x->max_bytes) {
        x->why = O3_E_LIMIT;
        return 0;
    }
    long status = 0;
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    if (x->cb.on_data) x->cb.on_data(x->cb.ctx, (int)status, bytes, n, now_ns);
    return x->state == DOOMED ? 0 : n;
}

/* --- names --- */

static bool is_known_without_lookup(const char *host) {
    unsigned char address[sizeof(struct in6_addr)];
    size_t n = strlen(host);
    if (n > 2 && host[0] == '[') return true; /* libcurl checked what stands inside */
    return inet_pton(AF_INET, host, address) == 1 || !strcasecmp(host, "localhost");
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

static bool pin(struct o3_xfer *x, const char *addresses) {
    char text[HOST_SIZE + ADDRESSES_SIZE + 16];
    snprintf(text, sizeof text, "%s:%ld:%s", x->host, x->port, addresses);
    x->pin = curl_slist_append(NULL, text);
    return x->pin && curl_easy_setopt(x->easy, CURLOPT_RESOLVE, x->pin) == CURLE_OK;
}

static struct o3_xfer *next_resolving(struct o3_http *h, const char *host) {
    struct o3_xfer *x;
    TAILQ_FOREACH(x, &h->xfers, link)
    if (x->state == RESOLVING && !strcasecmp(x->host, host)) return x;
    return NULL;
}

static void on_lookup(void *job) {
    struct lookup *k = job;
    struct o3_http *h = k->owner;
    struct host *host = h ? find_host(h, k->host) : NULL;
    if (host) {
        host->lookup = NULL;
        if (*k->addresses) {
            o3_str_copy(host->addresses, sizeof host->addresses, k->addresses);
            host->since_ns = mono_ns();
        }
    }
    /* From the start after each callback: it may have changed the list. */
    for (struct o3_xfer *x; h && (x = next_resolving(h, k->host));) {
        char text[160];
        snprintf(text, sizeof text, "cannot resolve %.64s: %s", k->host, k->error);
        if (!*k->addresses)
            finish(x, O3_E_UNREACHABLE, text, mono_ns());
        else if (pin(x, k->addresses))
            x->state = READY;
        else
            finish(x, O3_E_NOMEM, "no memory", mono_ns());
    }
    free(k);
}

static int start_lookup(struct o3_http *h, struct host *host) {
    if (host->lookup) return 0;
    struct lookup *k = calloc(1, sizeof *k);
    if (!k) return O3_E_NOMEM;
    k->owner = h;
    o3_str_copy(k->host, sizeof k->host, host->name);
    int r = o3_loop_submit(h->loop, run_lookup, on_lookup, k);
    if (r < 0) {
        free(k);
        return r;
    }
    host->lookup = k;
    return 0;
}

static struct host *make_host(struct o3_http *h, const char *name) {
    struct host *host = find_host(h, name), *oldest = NULL;
    if (host) return host;
    for (size_t i = 0; i < MAX_HOSTS; i++) {
        host = &h->hosts[i];
        if (!host->lookup && (!oldest || !*host->name || (*oldest->name && host->since_ns < oldest->since_ns)))
            oldest = host;
    }
    if (!oldest) return NULL;
    *oldest = (struct host){.since_ns = INT64_MIN};
    o3_str_copy(oldest->name, sizeof oldest->name, name);
    return oldest;
}

/* An answer past its life serves once more while it is asked again; after a failed connect the new one is waited for.
 */
static int resolve(struct o3_xfer *x) {
    struct host *host = make_host(x->http, x->host);
    if (!host) return O3_E_LIMIT;
    bool has_answer = host->since_ns != INT64_MIN;
    bool is_fresh = has_answer && mono_ns() - host->since_ns < LOOKUP_LIFE_NS;
    int r = is_fresh ? 0 : start_lookup(x->http, host);
    if (has_answer) {
        x->state = READY;
        return pin(x, host->addresses) ? 0 : O3_E_NOMEM;
    }
    x->state = RESOLVING;
    return r;
}

/* --- transfers: start --- */

/* Host and port of the URL; host keeps the brackets of an IPv6 address. */
static int parse_url(const char *text, char *host, long *port) {
    CURLU *u = curl_url();
    if (!u) return O3_E_NOMEM;
    char *host_text = NULL, *port_text = NULL, *scheme = NULL;
    int64_t n = 0;
    bool ok = strlen(text) <= MAX_URL_BYTES && !curl_url_set(u, CURLUPART_URL, text, 0) &&
              !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) && !curl_url_get(u, CURLUPART_HOST, &host_text, 0) &&
              !curl_url_get(u, CURLUPART_PORT, &port_text, CURLU_DEFAULT_PORT) && o3_int_parse(port_text, &n) &&
              (!strcmp(scheme, "http") || !strcmp(scheme, "https")) && o3_str_copy(host, HOST_SIZE, host_text);
    *port = (long)n;
    curl_free(scheme);
    curl_free(host_text);
    curl_free(port_text);
    curl_url_cleanup(u);
    return ok ? 0 : O3_E_CONFIG;
}

static int64_t or_default(int64_t v, int64_t fallback) {
    return v > 0 ? v : fallback;
}

static unsigned set_method(struct o3_xfer *x, const struct o3_http_req *rq) {
    bool is_post = !strcmp(rq->method, "POST");
    unsigned bad = curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER,
                                    is_post ? x->http->post_headers : x->http->get_headers);
    bad |= curl_easy_setopt(x->easy, CURLOPT_XOAUTH2_BEARER, rq->bearer);
    bad |= curl_easy_setopt(x->easy, CURLOPT_HTTPAUTH, rq->bearer ? CURLAUTH_BEARER : CURLAUTH_NONE);
    if (is_post) {
        bad |= curl_easy_setopt(x->easy, CURLOPT_POST, 1L);
        bad |= curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, x->body ? x->body : "");
        bad |= curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body_len);
    } else if (!strcmp(rq->method, "HEAD")) {
        bad |= curl_easy_setopt(x->easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(rq->method, "GET") != 0) {
        bad |= curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, rq->method);
    }
    return bad;
}

static unsigned set_manners(CURL *c) {
    unsigned bad = curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    bad |= curl_easy_setopt(c, CURLOPT_PROXY, "");
    bad |= curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    bad |= curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    bad |= curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    bad |= curl_easy_setopt(c, CURLOPT_HTTP09_ALLOWED, 0L);
    bad |= curl_easy_setopt(c, CURLOPT_USERAGENT, "o3/" O3_VERSION);
    bad |= curl_easy_setopt(c, CURLOPT_MAXAGE_CONN, (long)IDLE_CONNECTION_S);
    return bad;
}

static unsigned set_callbacks(struct o3_xfer *x) {
    unsigned bad = curl_easy_setopt(x->easy, CURLOPT_PRIVATE, &x->done);
    bad |= curl_easy_setopt(x->easy, CURLOPT_ERRORBUFFER, x->error);
    bad |= curl_easy_setopt(x->easy, CURLOPT_WRITEFUNCTION, on_body);
    bad |= curl_easy_setopt(x->easy, CURLOPT_WRITEDATA, x);
    bad |= curl_easy_setopt(x->easy, CURLOPT_HEADERFUNCTION, on_header);
    bad |= curl_easy_setopt(x->easy, CURLOPT_HEADERDATA, x);
    bad |= curl_easy_setopt(x->easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    bad |= curl_easy_setopt(x->easy, CURLOPT_OPENSOCKETDATA, x->http->sockets);
    bad |= curl_easy_setopt(x->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    bad |= curl_easy_setopt(x->easy, CURLOPT_CLOSESOCKETDATA, x->http->sockets);
    return bad;
}

static unsigned set_peer(CURL *c, const struct o3_http_peer *p) {
    if (!p) return 0;
    unsigned bad = curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    bad |= curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, p->cert_file ? 1L : 0L);
    if (p->cert_file) bad |= curl_easy_setopt(c, CURLOPT_CAINFO, p->cert_file);
    if (p->cert_file) bad |= curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    if (!p->client_cert_file || !p->client_key_file) return bad;
    bad |= curl_easy_setopt(c, CURLOPT_SSLCERT, p->client_cert_file);
    return bad | curl_easy_setopt(c, CURLOPT_SSLKEY, p->client_key_file);
}

static unsigned set_limits(struct o3_xfer *x, const struct o3_http_req *rq) {
    int64_t connect_ms = or_default(rq->connect_timeout_ms, CONNECT_TIMEOUT_MS);
    int64_t total_ms = or_default(rq->total_timeout_ms, TOTAL_TIMEOUT_MS);
    int64_t now_ns = mono_ns();
    x->resolve_deadline_ns = now_ns + connect_ms * O3_NS_PER_MS;
    x->first_byte_deadline_ns = INT64_MAX;
    if (rq->first_byte_timeout_ms > 0) x->first_byte_deadline_ns = now_ns + rq->first_byte_timeout_ms * O3_NS_PER_MS;
    x->max_bytes = rq->max_bytes;
    unsigned bad = set_peer(x->easy, rq->peer);
    bad |= curl_easy_setopt(x->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    bad |= curl_easy_setopt(x->easy, CURLOPT_TIMEOUT_MS, (long)total_ms);
    bad |= curl_easy_setopt(x->easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)rq->max_bytes);
    return bad;
}

static int set_up(struct o3_xfer *x, const struct o3_http_req *rq) {
    int r = parse_url(rq->url, x->host, &x->port);
    if (r < 0) return r;
    x->easy = take_handle(x->http);
    if (!x->easy) return O3_E_NOMEM;
    if (rq->body_len) {
        x->body = malloc(rq->body_len);
        if (!x->body) return O3_E_NOMEM;
        memcpy(x->body, rq->body, rq->body_len);
    }
    if (curl_easy_setopt(x->easy, CURLOPT_URL, rq->url) || set_manners(x->easy) || set_callbacks(x) ||
        set_method(x, rq) || set_limits(x, rq))
        return O3_E_NOMEM;
    x->state = READY;
    if (!is_known_without_lookup(x->host)) return resolve(x);
    *x->host = '\0';
    return 0;
}

int o3_http_start(struct o3_http *h, const struct o3_http_req *rq, const struct o3_http_cb *cb, struct o3_xfer **ret) {
    struct o3_xfer *x = calloc(1, sizeof *x);
    if (!x) return O3_E_NOMEM;
    x->done.fn = on_curl_done;
    x->http = h;
    x->cb = *cb;
    int r = set_up(x, rq);
    /* Inside a libcurl callback it must wait for the end of the turn. */
    CURLMcode m = !r && x->state == READY ? curl_multi_add_handle(h->multi, x->easy) : CURLM_RECURSIVE_API_CALL;
    if (m == CURLM_OK)
        x->state = RUNNING;
    else if (!r && m != CURLM_RECURSIVE_API_CALL)
        r = O3_E_NOMEM;
    if (r < 0) {
        free_xfer(x);
        return r;
    }
    TAILQ_INSERT_TAIL(&h->xfers, x, link);
    if (ret) *ret = x;
    return 0;
}

/* --- before each wait --- */

static int64_t deadline_ns(const struct o3_xfer *x) {
    if (x->state == RESOLVING && x->resolve_deadline_ns < x->first_byte_deadline_ns) return x->resolve_deadline_ns;
    return x->state == RUNNING || x->state == RESOLVING ? x->first_byte_deadline_ns : INT64_MAX;
}

/* What is due for this transfer; true when it is gone from the list. */
static bool settle(struct o3_xfer *x, int64_t now_ns) {
    if (x->state == DOOMED) {
        detach(x);
        TAILQ_REMOVE(&x->http->xfers, x, link);
        free_xfer(x);
        return true;
    }
    if (x->state == READY) {
        if (curl_multi_add_handle(x->http->multi, x->easy) != CURLM_OK) {
            finish(x, O3_E_NOMEM, "no memory", now_ns);
            return true;
        }
        x->state = RUNNING;
    }
    if (deadline_ns(x) > now_ns) return false;
    if (x->state == RESOLVING)
        finish(x, O3_E_UNREACHABLE, "the name lookup took too long", now_ns);
    else
        finish(x, was_connected(x) ? O3_E_TIMEOUT : O3_E_UNREACHABLE, "no byte of an answer in time", now_ns);
    return true;
}

static bool settle_one(struct o3_http *h, int64_t now_ns) {
    struct o3_xfer *x;
    TAILQ_FOREACH(x, &h->xfers, link)
    if (settle(x, now_ns)) return true;
    return false;
}

static int on_wait(void *ctx) {
    struct o3_http *h = ctx;
    int64_t now_ns = mono_ns();
    /* From the start after each end: its callback may have changed the list. */
    while (settle_one(h, now_ns))
        continue;
    int64_t next_ns = INT64_MAX;
    struct o3_xfer *x;
    TAILQ_FOREACH(x, &h->xfers, link)
    if (deadline_ns(x) < next_ns) next_ns = deadline_ns(x);
    if (next_ns == INT64_MAX) return -1;
    int64_t ms = (next_ns - now_ns) / O3_NS_PER_MS + 1;
    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

/* --- life --- */

static bool add_header(struct curl_slist **list, const char *text) {
    struct curl_slist *grown = curl_slist_append(*list, text);
    if (!grown) return false;
    *list = grown;
    return true;
}

int o3_http_new(struct o3_loop *l, struct o3_http **ret, struct o3_err *e) {
    struct o3_http *h = calloc(1, sizeof *h);
    struct sockets *s = calloc(1, sizeof *s);
    if (!h || !s) {
        free(h);
        free(s);
        return o3_err_set(e, O3_E_NOMEM, "no memory for the HTTP client");
    }
    s->n_refs = 1;
    h->loop = l;
    h->multi = o3_loop_curl_multi(l);
    h->sockets = s;
    TAILQ_INIT(&h->xfers);
    int r = o3_loop_add_wait(l, on_wait, h);
    /* "Expect:" off: waiting for a 100 Continue would delay the first token. */
    if (!add_header(&h->get_headers, "Accept: application/json, */*") ||
        !add_header(&h->post_headers, "Content-Type: application/json") || !add_header(&h->post_headers, "Expect:"))
        r = O3_E_NOMEM;
    if (r < 0) {
        o3_http_free(h);
        return o3_err_set(e, r, "the HTTP client could not be started");
    }
    *ret = h;
    return 0;
}

void o3_http_free(struct o3_http *h) {
    if (!h) return;
    o3_loop_remove_wait(h->loop, h);
    struct o3_xfer *x;
    while ((x = TAILQ_FIRST(&h->xfers))) {
        if (x->state == DOOMED) x->state = RUNNING;
        o3_xfer_cancel(x);
        O3_ASSERT(x != TAILQ_FIRST(&h->xfers)); /* called from inside a transfer's callback */
    }
    for (size_t i = 0; i < MAX_HOSTS; i++)
        if (h->hosts[i].lookup) h->hosts[i].lookup->owner = NULL;
    for (size_t i = 0; i < POOLED_HANDLES; i++)
        if (h->pool[i]) curl_easy_cleanup(h->pool[i]);
    curl_slist_free_all(h->get_headers);
    curl_slist_free_all(h->post_headers);
    sockets_forget_closed(h->sockets);
    sockets_unref(h->sockets);
    free(h);
}
