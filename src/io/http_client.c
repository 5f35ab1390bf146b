/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_client.h"
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include "io/host_names.h"
#include "io/http_options.h"
#include "io/http_sockets.h"
#include "o3/buf.h"

enum {
    MAX_HEADER_BYTES = 64 * 1024,
    MAX_URL_BYTES = 4096,
    POOLED_HANDLES = 2,
    CONNECT_TIMEOUT_MS = 5000,
    TOTAL_TIMEOUT_MS = 600000
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
    struct curl_slist *pin, *headers; /* headers: of a body that is not JSON */
    char host[O3_HOST_SIZE];
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
    struct o3_sockets *sockets;
    struct o3_names *names;
    CURL *pool[POOLED_HANDLES];
    struct curl_slist *get_headers, *post_headers;
};

/* --- sockets --- */

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a) {
    (void)purpose;
    int fd = o3_sockets_open(ctx, a->family, a->socktype, a->protocol);
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int on_close_socket(void *ctx, curl_socket_t fd) {
    return o3_sockets_close(ctx, fd);
}

size_t o3_http_local_ports(const struct o3_http *h, uint16_t *out, size_t max) {
    return o3_sockets_local_ports(h->sockets, out, max);
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
    curl_slist_free_all(x->headers);
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
    curl_off_t after_s = 0;
    if (x->state == RUNNING && curl_easy_getinfo(x->easy, CURLINFO_RETRY_AFTER, &after_s) == CURLE_OK && after_s > 0)
        r.retry_after_s = (int64_t)after_s;
    o3_str_copy(r.text, sizeof r.text, text);
    detach(x);
    TAILQ_REMOVE(&x->http->xfers, x, link);
    x->state = ENDED;
    if (x->cb.on_end) x->cb.on_end(x->cb.ctx, &r, now_ns);
    free_xfer(x);
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
    if (code == O3_E_UNREACHABLE && *x->host) o3_names_doubt(x->http->names, x->host);
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
    int64_t now_ns = o3_now_read().mono_ns; /* before all else: this is a measurement */
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

static bool pin(struct o3_xfer *x, const char *addresses) {
    char text[O3_HOST_SIZE + O3_ADDRESSES_SIZE + 16];
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

static void on_name(void *ctx, const char *name, const char *addresses, const char *error) {
    struct o3_http *h = ctx;
    /* From the start after each callback: it may have changed the list. */
    for (struct o3_xfer *x; (x = next_resolving(h, name));) {
        char text[160];
        snprintf(text, sizeof text, "cannot resolve %.64s: %s", name, error);
        if (!*addresses)
            finish(x, O3_E_UNREACHABLE, text, o3_now_read().mono_ns);
        else if (pin(x, addresses))
            x->state = READY;
        else
            finish(x, O3_E_NOMEM, "no memory", o3_now_read().mono_ns);
    }
}

static int resolve(struct o3_xfer *x) {
    const char *addresses = NULL;
    int r = o3_names_find(x->http->names, x->host, &addresses);
    if (addresses) {
        x->state = READY;
        return pin(x, addresses) ? 0 : O3_E_NOMEM;
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
              (!strcmp(scheme, "http") || !strcmp(scheme, "https")) && o3_str_copy(host, O3_HOST_SIZE, host_text);
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

static bool add_header(struct curl_slist **list, const char *text);

static bool set_headers(struct o3_xfer *x, const struct o3_http_req *rq, bool has_body) {
    struct curl_slist *list = has_body ? x->http->post_headers : x->http->get_headers;
    if (has_body && rq->content_type) {
        char type[160];
        snprintf(type, sizeof type, "Content-Type: %.120s", rq->content_type);
        if (!add_header(&x->headers, "Accept: application/json") || !add_header(&x->headers, type) ||
            !add_header(&x->headers, "Expect:"))
            return false;
        list = x->headers;
    }
    return curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, list) == CURLE_OK;
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

static unsigned set_limits(struct o3_xfer *x, const struct o3_http_req *rq) {
    int64_t connect_ms = or_default(rq->connect_timeout_ms, CONNECT_TIMEOUT_MS);
    int64_t total_ms = or_default(rq->total_timeout_ms, TOTAL_TIMEOUT_MS);
    int64_t now_ns = o3_now_read().mono_ns;
    x->resolve_deadline_ns = now_ns + connect_ms * O3_NS_PER_MS;
    x->first_byte_deadline_ns = INT64_MAX;
    if (rq->first_byte_timeout_ms > 0) x->first_byte_deadline_ns = now_ns + rq->first_byte_timeout_ms * O3_NS_PER_MS;
    x->max_bytes = rq->max_bytes;
    unsigned bad = curl_easy_setopt(x->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
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
    if (curl_easy_setopt(x->easy, CURLOPT_URL, rq->url) || set_callbacks(x) ||
        !set_headers(x, rq, o3_http_has_body(rq)) || o3_http_set_options(x->easy, rq, x->body) || set_limits(x, rq))
        return O3_E_NOMEM;
    x->state = READY;
    if (!o3_names_is_address(x->host)) return resolve(x);
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
    int64_t now_ns = o3_now_read().mono_ns;
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
    struct o3_sockets *s = o3_sockets_new();
    struct o3_names *names = o3_names_new(l, on_name, h);
    if (!h || !s || !names) {
        free(h);
        o3_names_free(names);
        if (s) o3_sockets_unref(s);
        return o3_err_set(e, O3_E_NOMEM, "no memory for the HTTP client");
    }
    h->loop = l;
    h->multi = o3_loop_curl_multi(l);
    h->sockets = s;
    h->names = names;
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
    o3_names_free(h->names);
    for (size_t i = 0; i < POOLED_HANDLES; i++)
        if (h->pool[i]) curl_easy_cleanup(h->pool[i]);
    curl_slist_free_all(h->get_headers);
    curl_slist_free_all(h->post_headers);
    o3_sockets_forget_closed(h->sockets);
    o3_sockets_unref(h->sockets);
    free(h);
}
