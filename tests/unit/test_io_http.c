/* SPDX-License-Identifier: Apache-2.0 */
/* Our HTTP client against our server, and each against peers that misbehave; all on one loop over the loopback. */
#include "o3_test.h"
#include "io/gzip.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "o3/buf.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#define MAX_RQ 128

struct world {
    struct o3_loop *loop;
    struct o3_server *server;
    struct o3_http *http;
    struct o3_request *held[MAX_RQ]; /* requests of /hold and /stream not yet answered */
    int n_held, n_handled, n_gone;
    char base[64];
};

/* What one client transfer saw. */
struct seen {
    struct o3_buf body;
    struct o3_http_result result;
    struct o3_xfer *xfer;
    int n_data, n_end, first_status;
    int64_t first_ns, last_ns;
    bool cancel_at_data;
};

static void hold(struct world *w, struct o3_request *rq) {
    assert_true(w->n_held < MAX_RQ);
    w->held[w->n_held++] = rq;
}

static void unhold(struct world *w, struct o3_request *rq) {
    for (int i = 0; i < w->n_held; i++)
        if (w->held[i] == rq) w->held[i] = w->held[--w->n_held];
}

static void reply_text(struct o3_request *rq, int status, const char *text, bool gzip) {
    const struct o3_reply r = {
        .status = status, .content_type = "text/plain", .bytes = text, .n = strlen(text), .gzip = gzip};
    o3_request_reply(rq, &r);
}

static char big_text[200001];

static void handle(void *ctx, struct o3_request *rq) {
    struct world *w = ctx;
    const char *path = o3_request_path(rq);
    w->n_handled++;
    size_t n;
    const char *body = o3_request_body(rq, &n);
    if (!strcmp(path, "/hello")) {
        reply_text(rq, 200, "hello\n", true);
    } else if (!strcmp(path, "/big")) {
        reply_text(rq, 200, big_text, true);
    } else if (!strcmp(path, "/echo")) {
        const struct o3_header h[] = {{"X-Method", o3_request_method(rq)}};
        const struct o3_reply r = {.status = 200, .bytes = body, .n = n, .headers = h, .n_headers = 1};
        o3_request_reply(rq, &r);
    } else if (!strcmp(path, "/query")) {
        const char *q = o3_request_query(rq, "q");
        reply_text(rq, 200, q ? q : "(absent)", false);
    } else if (!strcmp(path, "/agent")) {
        reply_text(rq, 200, o3_request_header(rq, "user-agent"), false);
    } else if (!strcmp(path, "/hold")) {
        o3_request_set_tag(rq, w);
        hold(w, rq);
    } else if (!strcmp(path, "/stream")) {
        o3_request_stream(rq, 200, "application/x-ndjson");
        hold(w, rq);
    } else if (!strcmp(path, "/stream-at-once")) {
        o3_request_stream(rq, 200, NULL);
        o3_request_write(rq, "one ", 4);
        o3_request_write(rq, "two", 3);
        o3_request_end(rq);
    } else if (!strcmp(path, "/cut")) {
        o3_request_stream(rq, 200, NULL);
        o3_request_write(rq, "part", 4);
        o3_request_abort(rq);
    } else if (!strcmp(path, "/cut-at-once")) {
        o3_request_abort(rq);
    } else {
        reply_text(rq, 404, "no such page\n", false);
    }
}

static void on_gone(void *ctx, struct o3_request *rq, void *tag) {
    struct world *w = ctx;
    assert_true(tag == NULL || tag == w);
    w->n_gone++;
    unhold(w, rq);
}

static void start_with(struct world *w, int max_connections, int timeout_s) {
    *w = (struct world){0};
    for (size_t i = 0; i < sizeof big_text - 1; i++)
        big_text[i] = "metric{label=\"x\"} 1\n"[i % 20];
    assert_int_equal(o3_loop_new(&w->loop, NULL), 0);
    const struct o3_server_params p = {.listen = "127.0.0.1:0",
                                       .max_connections = max_connections,
                                       .timeout_s = timeout_s,
                                       .max_body = 1000,
                                       .handle = handle,
                                       .on_gone = on_gone,
                                       .ctx = w};
    assert_int_equal(o3_server_new(w->loop, &p, &w->server, NULL), 0);
    assert_int_equal(o3_http_new(w->loop, &w->http, NULL), 0);
    snprintf(w->base, sizeof w->base, "http://127.0.0.1:%u", o3_server_port(w->server));
}

static void start(struct world *w) {
    start_with(w, 0, 0);
}

static void stop(struct world *w) {
    o3_http_free(w->http);
    o3_server_free(w->server);
    o3_loop_free(w->loop);
}

static void on_data(void *ctx, int status, const char *bytes, size_t n, int64_t mono_ns) {
    struct seen *s = ctx;
    if (!s->n_data++) {
        s->first_ns = mono_ns;
        s->first_status = status;
    }
    s->last_ns = mono_ns;
    assert_int_equal(o3_buf_add(&s->body, bytes, n), 0);
    if (s->cancel_at_data) o3_xfer_cancel(s->xfer);
}

static void on_end(void *ctx, const struct o3_http_result *r, int64_t mono_ns) {
    struct seen *s = ctx;
    s->n_end++;
    s->last_ns = mono_ns;
    s->result = *r;
    o3_xfer_cancel(s->xfer); /* allowed, does nothing */
}

static void begin(struct world *w, struct seen *s, const struct o3_http_req *rq) {
    *s = (struct seen){0};
    o3_buf_init(&s->body, 1 << 20);
    const struct o3_http_cb cb = {on_data, on_end, s};
    assert_int_equal(o3_http_start(w->http, rq, &cb, &s->xfer), 0);
    assert_int_equal(s->n_end, 0);
}

static void begin_get(struct world *w, struct seen *s, const char *path) {
    char url[128];
    snprintf(url, sizeof url, "%s%s", w->base, path);
    const struct o3_http_req rq = {.method = "GET", .url = url, .total_timeout_ms = 5000, .max_bytes = 1 << 20};
    begin(w, s, &rq);
}

static void wait_end(struct world *w, struct seen *s) {
    int64_t until_ns = o3_now_read().mono_ns + 20 * O3_NS_PER_S;
    while (!s->n_end && o3_now_read().mono_ns < until_ns)
        o3_loop_once(w->loop, 100);
    assert_int_equal(s->n_end, 1);
}

static void wait_count(struct world *w, const int *count, int wanted) {
    int64_t until_ns = o3_now_read().mono_ns + 20 * O3_NS_PER_S;
    while (*count < wanted && o3_now_read().mono_ns < until_ns)
        o3_loop_once(w->loop, 100);
    assert_int_equal(*count, wanted);
}

/* A few turns even where the machine took all of that time for something else. */
static void run_for(struct world *w, int ms) {
    int64_t until_ns = o3_now_read().mono_ns + ms * O3_NS_PER_MS, left;
    for (int turns = 0; (left = until_ns - o3_now_read().mono_ns) > 0 || turns < 4; turns++)
        o3_loop_once(w->loop, left > 0 ? (int)(left / O3_NS_PER_MS) + 1 : 1);
}

static void get(struct world *w, struct seen *s, const char *path) {
    begin_get(w, s, path);
    wait_end(w, s);
}

#define ASSERT_BODY(s, text)                                                                                           \
    do {                                                                                                               \
        assert_int_equal((s)->result.code, 0);                                                                         \
        assert_string_equal(o3_buf_str(&(s)->body), text);                                                             \
        o3_buf_done(&(s)->body);                                                                                       \
    } while (0)

/* --- both --- */

static void pages_are_served(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start(&w);
    get(&w, &s, "/hello");
    assert_int_equal(s.result.status, 200);
    assert_int_equal(s.first_status, 200);
    ASSERT_BODY(&s, "hello\n");
    get(&w, &s, "/nothing/here");
    assert_int_equal(s.result.status, 404);
    ASSERT_BODY(&s, "no such page\n");
    get(&w, &s, "/query?a=1&q=a%20b%26c");
    ASSERT_BODY(&s, "a b&c");
    get(&w, &s, "/query");
    ASSERT_BODY(&s, "(absent)");
    get(&w, &s, "/agent");
    assert_memory_equal(o3_buf_str(&s.body), "o3/", 3);
    o3_buf_done(&s.body);
    get(&w, &s, "/big");
    assert_int_equal(s.body.len, 200000);
    assert_true(s.n_data > 1);
    o3_buf_done(&s.body);
    stop(&w);
}

static void bodies_are_posted(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start(&w);
    char url[128];
    snprintf(url, sizeof url, "%s/echo", w.base);
    struct o3_http_req rq = {.method = "POST", .url = url, .body = "{\"a\":1}", .body_len = 7, .max_bytes = 100};
    begin(&w, &s, &rq);
    wait_end(&w, &s);
    ASSERT_BODY(&s, "{\"a\":1}");
    rq.body_len = 0;
    begin(&w, &s, &rq);
    wait_end(&w, &s);
    ASSERT_BODY(&s, "");
    char large[2000];
    memset(large, 'x', sizeof large);
    rq.body = large;
    rq.body_len = 1000;
    rq.max_bytes = 2000;
    begin(&w, &s, &rq);
    wait_end(&w, &s);
    assert_int_equal(s.body.len, 1000);
    o3_buf_done(&s.body);
    rq.body_len = sizeof large;
    begin(&w, &s, &rq);
    wait_end(&w, &s);
    assert_int_equal(s.result.status, 413);
    o3_buf_done(&s.body);
    assert_int_equal(w.n_handled, 3);
    stop(&w);
}

static void stream_pieces_carry_their_time(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start(&w);
    begin_get(&w, &s, "/stream");
    wait_count(&w, &w.n_held, 1);
    assert_int_equal(s.n_data, 0);
    int64_t worst_ns = 0;
    for (int i = 0; i < 20; i++) {
        int64_t sent_ns = o3_now_read().mono_ns;
        o3_request_write(w.held[0], "piece\n", 6);
        while (s.n_data <= i)
            o3_loop_once(w.loop, 1000);
        if (s.last_ns - sent_ns > worst_ns) worst_ns = s.last_ns - sent_ns;
        run_for(&w, 5);
    }
    print_message("worst delay of a piece: %.3f ms\n", (double)worst_ns / 1e6);
    assert_true(worst_ns < 10 * O3_NS_PER_S); /* whatever else the machine does */
    assert_int_equal(s.n_end, 0);
    o3_request_end(w.held[0]);
    wait_end(&w, &s);
    assert_int_equal(s.body.len, 120);
    assert_int_equal(s.result.code, 0);
    assert_int_equal(w.n_gone, 0);
    o3_buf_done(&s.body);
    get(&w, &s, "/stream-at-once");
    ASSERT_BODY(&s, "one two");
    stop(&w);
}

static void quiet_stream_outlives_the_idle_timeout(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start_with(&w, 0, 1);
    begin_get(&w, &s, "/stream");
    run_for(&w, 2300);
    assert_int_equal(w.n_held, 1);
    o3_request_write(w.held[0], "late", 4);
    run_for(&w, 1500);
    o3_request_write(w.held[0], "r", 1);
    o3_request_end(w.held[0]);
    wait_end(&w, &s);
    ASSERT_BODY(&s, "later");
    stop(&w);
}

static void late_answers_arrive(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start(&w);
    begin_get(&w, &s, "/hold");
    wait_count(&w, &w.n_held, 1);
    assert_int_equal(s.n_end, 0);
    reply_text(w.held[0], 202, "later", false);
    wait_end(&w, &s);
    assert_int_equal(s.result.status, 202);
    ASSERT_BODY(&s, "later");
    assert_int_equal(w.n_gone, 0);
    stop(&w);
}

static void many_at_once(void **state) {
    (void)state;
    struct world w;
    static struct seen s[100];
    start(&w);
    for (int i = 0; i < 100; i++)
        begin_get(&w, &s[i], i % 2 ? "/hold" : "/big");
    wait_count(&w, &w.n_held, 50);
    while (w.n_held) {
        reply_text(w.held[w.n_held - 1], 200, "x", false);
        w.n_held--;
    }
    for (int i = 0; i < 100; i++) {
        wait_end(&w, &s[i]);
        assert_int_equal(s[i].result.code, 0);
        assert_int_equal(s[i].body.len, i % 2 ? 1 : 200000);
        o3_buf_done(&s[i].body);
    }
    uint16_t ports[256];
    run_for(&w, 20);
    assert_true(o3_http_local_ports(w.http, ports, 256) <= 2);
    stop(&w);
}

static void local_ports_are_told(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start(&w);
    uint16_t ports[8];
    assert_int_equal(o3_http_local_ports(w.http, ports, 8), 0);
    begin_get(&w, &s, "/hold");
    wait_count(&w, &w.n_held, 1);
    assert_int_equal(o3_http_local_ports(w.http, ports, 8), 1);
    assert_true(ports[0] > 0 && ports[0] != o3_server_port(w.server));
    o3_xfer_cancel(s.xfer);
    assert_int_equal(o3_http_local_ports(w.http, ports, 8), 0);
    stop(&w);
}

/* --- ends before the end --- */

static void cancel_is_silent_and_the_server_notices(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start(&w);
    const char *paths[] = {"/stream", "/hold"};
    for (int i = 0; i < 2; i++) {
        begin_get(&w, &s, paths[i]);
        wait_count(&w, &w.n_held, 1);
        if (!i) o3_request_write(w.held[0], "abc", 3);
        run_for(&w, 50);
        int n_data = s.n_data;
        o3_xfer_cancel(s.xfer);
        run_for(&w, 100);
        assert_int_equal(s.n_end, 0);
        assert_int_equal(s.n_data, n_data);
        assert_int_equal(w.n_gone, i + 1);
        assert_int_equal(w.n_held, 0);
        o3_buf_done(&s.body);
    }
    o3_xfer_cancel(NULL);
    stop(&w);
}

static void cancel_inside_data_is_silent(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start(&w);
    begin_get(&w, &s, "/stream");
    s.cancel_at_data = true;
    run_for(&w, 50);
    o3_request_write(w.held[0], "abc", 3);
    wait_count(&w, &w.n_gone, 1);
    assert_int_equal(s.n_data, 1);
    assert_int_equal(s.n_end, 0);
    o3_buf_done(&s.body);
    stop(&w);
}

struct chain {
    struct world *w;
    struct seen *other, *next;
};

static void cancel_other_and_start(void *ctx, int status, const char *bytes, size_t n, int64_t mono_ns) {
    (void)status, (void)bytes, (void)n, (void)mono_ns;
    struct chain *c = ctx;
    if (c->other) o3_xfer_cancel(c->other->xfer);
    if (c->other) begin_get(c->w, c->next, "/hello");
    c->other = NULL;
}

static void start_and_cancel_others_inside_data(void **state) {
    (void)state;
    struct world w;
    struct seen held, next;
    start(&w);
    begin_get(&w, &held, "/hold");
    run_for(&w, 50);
    struct chain c = {&w, &held, &next};
    char url[128];
    snprintf(url, sizeof url, "%s/big", w.base);
    const struct o3_http_req rq = {.method = "GET", .url = url, .max_bytes = 1 << 20};
    const struct o3_http_cb cb = {cancel_other_and_start, NULL, &c};
    struct o3_xfer *x;
    next.n_end = 0;
    assert_int_equal(o3_http_start(w.http, &rq, &cb, &x), 0);
    while (c.other)
        o3_loop_once(w.loop, 1000);
    wait_end(&w, &next);
    ASSERT_BODY(&next, "hello\n");
    wait_count(&w, &w.n_gone, 1);
    assert_int_equal(held.n_end, 0);
    stop(&w);
}

static void free_cancels_all(void **state) {
    (void)state;
    struct world w;
    struct seen a, b;
    start(&w);
    begin_get(&w, &a, "/hold");
    begin_get(&w, &b, "/stream");
    wait_count(&w, &w.n_held, 2);
    stop(&w);
    assert_int_equal(a.n_end + b.n_end, 0);
    assert_int_equal(w.n_gone, 2);
}

static void cut_replies_are_broken(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start(&w);
    get(&w, &s, "/cut");
    assert_int_equal(s.result.code, O3_E_HTTP);
    assert_int_equal(s.result.status, 200);
    assert_string_equal(o3_buf_str(&s.body), "part");
    o3_buf_done(&s.body);
    get(&w, &s, "/cut-at-once");
    assert_int_equal(s.result.code, O3_E_HTTP);
    assert_int_equal(s.result.status, 0);
    assert_int_equal(w.n_gone, 0);
    stop(&w);
}

static void limits_end_the_transfer(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start(&w);
    char url[128];
    snprintf(url, sizeof url, "%s/big", w.base);
    struct o3_http_req rq = {.method = "GET", .url = url, .max_bytes = 1000};
    begin(&w, &s, &rq);
    wait_end(&w, &s);
    assert_int_equal(s.result.code, O3_E_LIMIT);
    assert_int_equal(s.body.len, 0); /* told by Content-Length */
    snprintf(url, sizeof url, "%s/stream", w.base);
    begin(&w, &s, &rq);
    run_for(&w, 50);
    o3_request_write(w.held[0], big_text, 20000);
    wait_end(&w, &s);
    assert_int_equal(s.result.code, O3_E_LIMIT);
    assert_true(s.body.len <= 1000);
    assert_string_equal(s.result.text, "the reply is over the limit");
    o3_buf_done(&s.body);
    stop(&w);
}

static void first_byte_timeout_ends_the_wait(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start(&w);
    char url[128];
    snprintf(url, sizeof url, "%s/hold", w.base);
    struct o3_http_req rq = {.method = "GET", .url = url, .first_byte_timeout_ms = 100, .max_bytes = 100};
    int64_t begin_ns = o3_now_read().mono_ns;
    begin(&w, &s, &rq);
    wait_end(&w, &s);
    assert_int_equal(s.result.code, O3_E_TIMEOUT);
    assert_int_equal(s.result.status, 0);
    assert_true(s.last_ns - begin_ns >= 100 * O3_NS_PER_MS);
    wait_count(&w, &w.n_gone, 1);
    /* Not once the first byte is there. */
    snprintf(url, sizeof url, "%s/stream", w.base);
    begin(&w, &s, &rq);
    while (!w.n_held)
        o3_loop_once(w.loop, 10);
    o3_request_write(w.held[0], "x", 1);
    run_for(&w, 200);
    assert_int_equal(s.n_end, 0);
    o3_request_end(w.held[0]);
    wait_end(&w, &s);
    ASSERT_BODY(&s, "x");
    stop(&w);
}

static void bad_urls_are_refused(void **state) {
    (void)state;
    struct world w;
    start(&w);
    const char *bad[] = {
        "", "no url", "ftp://127.0.0.1/", "file:///etc/passwd", "http://", "http://127.0.0.1:99999/", "http://a b/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct o3_http_req rq = {.method = "GET", .url = bad[i], .max_bytes = 1};
        const struct o3_http_cb cb = {0};
        struct o3_xfer *x;
        assert_int_equal(o3_http_start(w.http, &rq, &cb, &x), O3_E_CONFIG);
    }
    stop(&w);
}

static void names_are_looked_up(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start(&w);
    char url[128];
    const char *good[] = {"localhost", "127.1", "ip4-loopback.invalid"};
    for (int i = 0; i < 3; i++) {
        snprintf(url, sizeof url, "http://%s:%u/hello", good[i], o3_server_port(w.server));
        const struct o3_http_req rq = {.method = "GET", .url = url, .connect_timeout_ms = 3000, .max_bytes = 100};
        begin(&w, &s, &rq);
        wait_end(&w, &s);
        if (i == 2) {
            assert_int_equal(s.result.code, O3_E_UNREACHABLE);
            print_message("%s\n", s.result.text);
        } else {
            ASSERT_BODY(&s, "hello\n");
        }
    }
    /* Ends before the lookup does: nothing is called, nothing leaks. */
    const struct o3_http_req rq = {.method = "GET", .url = url, .max_bytes = 100};
    begin(&w, &s, &rq);
    stop(&w);
    assert_int_equal(s.n_end, 0);
}

/* --- servers that misbehave --- */

struct evil {
    int listen_fd, n_open, fds[16];
    const char *answer; /* sent on accept */
    bool close_after;
    char url[64];
};

static void evil_accept(void *ctx, int fd) {
    struct evil *v = ctx;
    int c = accept(fd, NULL, NULL);
    if (c < 0) return;
    if (v->answer) assert_true(send(c, v->answer, strlen(v->answer), MSG_NOSIGNAL) > 0);
    if (v->close_after) {
        /* Reads first: closing with unread bytes would reset the connection. */
        char buf[4096];
        struct pollfd p = {.fd = c, .events = POLLIN};
        poll(&p, 1, 500);
        assert_true(read(c, buf, sizeof buf) >= 0);
        close(c);
    } else {
        v->fds[v->n_open++ % 16] = c;
    }
}

static void evil_start(struct world *w, struct evil *v) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    v->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(v->listen_fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(v->listen_fd, 16), 0);
    assert_int_equal(getsockname(v->listen_fd, (struct sockaddr *)&a, &n), 0);
    snprintf(v->url, sizeof v->url, "http://127.0.0.1:%u/", ntohs(a.sin_port));
    assert_int_equal(o3_loop_add_fd(w->loop, v->listen_fd, evil_accept, v), 0);
}

static void evil_stop(struct world *w, struct evil *v) {
    o3_loop_remove_fd(w->loop, v->listen_fd);
    close(v->listen_fd);
    for (int i = 0; i < v->n_open && i < 16; i++)
        close(v->fds[i]);
}

static void ask_evil(const char *answer, bool close_after, int want_code, int want_status) {
    struct world w;
    struct seen s;
    start(&w);
    struct evil v = {.answer = answer, .close_after = close_after};
    evil_start(&w, &v);
    const struct o3_http_req rq = {.method = "GET", .url = v.url, .total_timeout_ms = 300, .max_bytes = 1000};
    begin(&w, &s, &rq);
    wait_end(&w, &s);
    if (s.result.code != want_code || s.result.status != want_status)
        fail_msg("%.40s: code %d status %d \"%s\"", answer ? answer : "(none)", s.result.code, s.result.status,
                 s.result.text);
    o3_buf_done(&s.body);
    evil_stop(&w, &v);
    stop(&w);
}

static void broken_servers_are_told_apart(void **state) {
    (void)state;
    ask_evil(NULL, false, O3_E_TIMEOUT, 0);
    ask_evil(NULL, true, O3_E_HTTP, 0);
    ask_evil("SSH-2.0-OpenSSH_9.2\r\n", true, O3_E_HTTP, 0);
    ask_evil("\x16\x03\x01\x02", true, O3_E_HTTP, 0);
    ask_evil("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", true, O3_E_HTTP, 200);
    ask_evil("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow", false, O3_E_TIMEOUT, 200);
    ask_evil("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", true, O3_E_HTTP, 200);
    ask_evil("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", false, O3_E_LIMIT, 200);
    ask_evil("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", false, 0, 302);
    ask_evil("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true, 0, 200);
    ask_evil("HTTP/1.1 200 OK\r\n\r\nuntil close", true, 0, 200);
    char *many = malloc(200100);
    size_t n = (size_t)snprintf(many, 100, "HTTP/1.1 200 OK\r\n");
    while (n < 100000)
        n += (size_t)snprintf(many + n, 200, "X-Filler: %0100d\r\n", 1);
    ask_evil(many, true, O3_E_LIMIT, 200);
    free(many);
}

/* A listener whose queue is full: connections to it neither come to be nor fail. */
static int listen_and_ignore(uint16_t *port, int fillers[4]) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *port = ntohs(a.sin_port);
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fillers[i], (struct sockaddr *)&a, n);
    }
    return fd;
}

/* libcurl does not tell when it closes such a socket: our own list must not grow, nor outlive the client (leak check).
 */
static void unfinished_connections_are_forgotten(void **state) {
    (void)state;
    struct world w;
    start(&w);
    uint16_t port;
    int fillers[4], fd = listen_and_ignore(&port, fillers);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", (int)port);
    const struct o3_http_req rq = {
        .method = "GET", .url = url, .connect_timeout_ms = 50, .total_timeout_ms = 5000, .max_bytes = 1000};
    for (int i = 0; i < 5; i++) {
        struct seen s;
        begin(&w, &s, &rq);
        wait_end(&w, &s);
        assert_int_equal(s.result.code, O3_E_UNREACHABLE);
    }
    struct seen s;
    begin(&w, &s, &rq);
    run_for(&w, 10);
    stop(&w); /* in the middle of connecting */
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(fd);
}

static void refused_connections_are_unreachable(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start(&w);
    struct evil v = {0};
    evil_start(&w, &v);
    evil_stop(&w, &v); /* nobody listens there now */
    const struct o3_http_req rq = {.method = "GET", .url = v.url, .max_bytes = 10};
    begin(&w, &s, &rq);
    wait_end(&w, &s);
    assert_int_equal(s.result.code, O3_E_UNREACHABLE);
    assert_int_equal(s.result.status, 0);
    stop(&w);
}

/* --- clients that misbehave --- */

static int raw_connect(const struct world *w) {
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(o3_server_port(w->server))};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void raw_send(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* What came within ms, or within as many turns as fit into them; *closed tells whether the server ended the connection.
 */
static void raw_read(struct world *w, int fd, int ms, struct o3_buf *out, bool *closed) {
    *closed = false;
    o3_buf_clear(out);
    int64_t until_ns = o3_now_read().mono_ns + ms * O3_NS_PER_MS;
    for (int turns = 0; !*closed && (turns < ms / 5 || o3_now_read().mono_ns < until_ns); turns++) {
        o3_loop_once(w->loop, 5);
        char buf[4096];
        ssize_t n = read(fd, buf, sizeof buf);
        if (n > 0) assert_int_equal(o3_buf_add(out, buf, (size_t)n), 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) *closed = true;
    }
}

static void exchange(struct world *w, const char *request, int ms, struct o3_buf *out, bool *closed) {
    int fd = raw_connect(w);
    raw_send(fd, request);
    raw_read(w, fd, ms, out, closed);
    close(fd);
    run_for(w, 20);
}

#define ASSERT_STARTS(b, text) assert_memory_equal(o3_buf_str(b), text, strlen(text))

static void bad_requests_are_answered(void **state) {
    (void)state;
    struct world w;
    start(&w);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    bool closed;
    exchange(&w, "HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 500, &b, &closed);
    ASSERT_STARTS(&b, "HTTP/1.1 200");
    assert_non_null(strstr(b.p, "Content-Length: 6\r\n"));
    assert_null(strstr(b.p, "hello"));
    exchange(&w, "BREW /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 500, &b, &closed);
    assert_non_null(strstr(b.p, "X-Method: BREW"));
    int n_handled = w.n_handled;
    exchange(&w, "nonsense\r\n\r\n", 500, &b, &closed);
    assert_true(closed);
    exchange(&w, "\x16\x03\x01\x02\r\n\r\n", 500, &b, &closed);
    assert_true(closed);
    exchange(&w, "GET /hello HTTP/1.1\r\n\r\n", 500, &b, &closed); /* no Host */
    ASSERT_STARTS(&b, "HTTP/1.1 400");
    exchange(&w, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n", 500, &b, &closed);
    ASSERT_STARTS(&b, "HTTP/1.1 413");
    assert_true(closed);
    exchange(&w, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", 500, &b, &closed);
    assert_true(closed);
    char *many = malloc(40000);
    memset(many, 'a', 39999);
    many[39999] = '\0';
    memcpy(many, "GET /", 5);
    exchange(&w, many, 500, &b, &closed);
    assert_true(closed);
    free(many);
    assert_int_equal(w.n_handled, n_handled);
    stop(&w);
}

static void chunked_bodies_are_bounded(void **state) {
    (void)state;
    struct world w;
    start(&w);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    bool closed;
    exchange(&w, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
             100, &b, &closed);
    ASSERT_STARTS(&b, "HTTP/1.1 200");
    assert_non_null(strstr(b.p, "\r\n\r\nabcde"));
    struct o3_buf rq;
    o3_buf_init(&rq, 1 << 20);
    o3_buf_adds(&rq, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 20; i++)
        o3_buf_addf(&rq, "64\r\n%0100d\r\n", i);
    o3_buf_adds(&rq, "0\r\n\r\n");
    exchange(&w, rq.p, 200, &b, &closed);
    ASSERT_STARTS(&b, "HTTP/1.1 413");
    assert_int_equal(w.n_handled, 1);
    o3_buf_done(&rq);
    stop(&w);
}

static void half_sent_requests_time_out(void **state) {
    (void)state;
    struct world w;
    start_with(&w, 0, 1);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    int fd = raw_connect(&w);
    bool closed = false;
    int64_t begin_ns = o3_now_read().mono_ns;
    /* A byte now and then does not prolong it. */
    raw_send(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 8 && !closed; i++) { /* a quarter of a second each, more on a busy machine */
        if (send(fd, "X", 1, MSG_NOSIGNAL) < 0) break;
        raw_read(&w, fd, 250, &b, &closed);
    }
    assert_true(closed);
    assert_true(o3_now_read().mono_ns - begin_ns >= 900 * O3_NS_PER_MS);
    close(fd);
    struct seen s;
    get(&w, &s, "/hello");
    ASSERT_BODY(&s, "hello\n");
    stop(&w);
}

static void idle_connections_do_not_keep_others_out(void **state) {
    (void)state;
    struct world w;
    start_with(&w, 16, 10);
    int fds[100];
    for (int i = 0; i < 100; i++) {
        fds[i] = raw_connect(&w);
        if (i % 3 == 0) raw_send(fds[i], "GET /hel");
        if (i % 8 == 0) o3_loop_once(w.loop, 0);
    }
    struct seen s;
    int64_t begin_ns = o3_now_read().mono_ns;
    get(&w, &s, "/hello");
    ASSERT_BODY(&s, "hello\n");
    assert_true(o3_now_read().mono_ns - begin_ns < 8 * O3_NS_PER_S); /* before the idle ones run out of their ten */
    struct o3_server_stats stats;
    o3_server_stats(w.server, &stats);
    assert_true(stats.n_evicted >= 80);
    run_for(&w, 20);
    o3_server_stats(w.server, &stats);
    assert_true(stats.n_connections <= 17);
    for (int i = 0; i < 100; i++)
        close(fds[i]);
    stop(&w);
}

static void served_connections_are_not_pushed_out(void **state) {
    (void)state;
    struct world w;
    start_with(&w, 4, 10);
    struct seen s[4], extra;
    for (int i = 0; i < 4; i++)
        begin_get(&w, &s[i], "/stream");
    wait_count(&w, &w.n_held, 4);
    get(&w, &extra, "/hello");
    assert_int_not_equal(extra.result.code, 0);
    struct o3_server_stats stats;
    o3_server_stats(w.server, &stats);
    assert_true(stats.n_refused >= 1);
    assert_int_equal(w.n_gone, 0);
    o3_buf_done(&extra.body);
    stop(&w);
}

static void half_closed_client_is_gone(void **state) {
    (void)state;
    struct world w;
    start(&w);
    int fd = raw_connect(&w);
    raw_send(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_count(&w, &w.n_held, 1);
    shutdown(fd, SHUT_WR);
    wait_count(&w, &w.n_gone, 1);
    close(fd);
    stop(&w);
}

/* Only while it waits: what is ready is still sent to it. */
static void half_closed_client_gets_what_is_ready(void **state) {
    (void)state;
    struct world w;
    start(&w);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    bool closed;
    int fd = raw_connect(&w);
    raw_send(fd, "GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    shutdown(fd, SHUT_WR);
    raw_read(&w, fd, 1000, &b, &closed);
    assert_true(closed && b.len > 200000);
    close(fd);
    stop(&w);
}

static void unread_streams_are_cut(void **state) {
    (void)state;
    struct world w;
    start(&w);
    int fd = raw_connect(&w);
    raw_send(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_count(&w, &w.n_held, 1);
    for (int i = 0; i < 200 && w.n_held; i++) {
        o3_request_write(w.held[0], big_text, 200000);
        o3_loop_once(w.loop, 1);
    }
    run_for(&w, 20);
    close(fd);
    wait_count(&w, &w.n_gone, 1);
    stop(&w);
}

static void pipelined_requests_are_served(void **state) {
    (void)state;
    struct world w;
    start(&w);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    bool closed;
    exchange(&w, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n", 50, &b, &closed);
    assert_int_equal(b.len, 0);
    assert_int_equal(w.n_gone, 1);
    exchange(&w, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /query?q=2 HTTP/1.1\r\nHost: x\r\n\r\n", 100, &b, &closed);
    assert_non_null(strstr(b.p, "hello\n"));
    assert_non_null(strstr(strstr(b.p, "hello\n"), "\r\n\r\n2"));
    stop(&w);
}

/* --- gzip --- */

static size_t gunzip(const char *bytes, size_t n, char *out, size_t max) {
    z_stream z = {
        .next_in = (Bytef *)(uintptr_t)bytes, .avail_in = (uInt)n, .next_out = (Bytef *)out, .avail_out = (uInt)max};
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    inflateEnd(&z);
    return max - z.avail_out;
}

static void replies_are_compressed_when_asked(void **state) {
    (void)state;
    struct world w;
    start(&w);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    bool closed;
    exchange(&w, "GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: br, gzip;q=0.5\r\n\r\n", 500,
             &b, &closed);
    assert_non_null(strstr(b.p, "Content-Encoding: gzip\r\n"));
    assert_non_null(strstr(b.p, "Vary: Accept-Encoding\r\n"));
    char *body = strstr(b.p, "\r\n\r\n") + 4;
    static char plain[300000];
    assert_int_equal(gunzip(body, b.len - (size_t)(body - b.p), plain, sizeof plain), 200000);
    assert_memory_equal(plain, big_text, 200000);
    exchange(&w, "GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: gzip;q=0\r\n\r\n", 500, &b,
             &closed);
    assert_null(strstr(b.p, "Content-Encoding"));
    assert_non_null(strstr(b.p, "Content-Length: 200000\r\n"));
    exchange(&w, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n", 500, &b,
             &closed);
    assert_null(strstr(b.p, "Content-Encoding"));
    stop(&w);
}

static void accept_encoding_is_understood(void **state) {
    (void)state;
    const char *yes[] = {"gzip",   "GZIP",           "deflate, gzip", "gzip;q=1.0, *;q=0", "*",
                         "x-gzip", "gzip ; q=0.001", " gzip",         "*;q=0, gzip"};
    const char *no[] = {"",        "identity", "gzip;q=0", "gzip; q=0.0", "gzip;q=0.000,deflate",
                        "gzipped", "*;q=0",    "br",       ",,,",         "gzip;Q=0"};
    assert_false(o3_gzip_is_accepted(NULL));
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (!o3_gzip_is_accepted(yes[i])) fail_msg("\"%s\" refused", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (o3_gzip_is_accepted(no[i])) fail_msg("\"%s\" accepted", no[i]);
}

/* --- addresses --- */

static int try_listen(struct o3_loop *l, const char *listen, struct o3_server **ret, struct o3_err *e) {
    const struct o3_server_params p = {.listen = listen, .handle = handle};
    return o3_server_new(l, &p, ret, e);
}

static void listen_addresses(void **state) {
    (void)state;
    struct o3_loop *l;
    struct o3_server *s, *t;
    struct o3_err e;
    assert_int_equal(o3_loop_new(&l, NULL), 0);
    const char *good[] = {"127.0.0.1:0", "localhost:0", ":0", "0.0.0.0:0"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(try_listen(l, good[i], &s, &e), 0);
        assert_true(o3_server_port(s) > 0);
        o3_server_free(s);
    }
    if (try_listen(l, "[::1]:0", &s, &e) == 0)
        o3_server_free(s);
    else
        assert_int_equal(e.code, O3_E_CONFIG);
    const char *bad[] = {"",
                         "21434",
                         "127.0.0.1",
                         "127.0.0.1:",
                         "127.0.0.1:x",
                         "127.0.0.1:65536",
                         "::1:80",
                         "no-such-host.invalid:0",
                         "192.0.2.1:0",
                         "[zz]:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int r = try_listen(l, bad[i], &s, &e);
        if (r != O3_E_CONFIG) fail_msg("\"%s\" gave %d", bad[i], r);
        assert_true(*e.text);
    }
    assert_int_equal(try_listen(l, "127.0.0.1:0", &s, &e), 0);
    char taken[32];
    snprintf(taken, sizeof taken, "127.0.0.1:%u", o3_server_port(s));
    assert_int_equal(try_listen(l, taken, &t, &e), O3_E_PORT_TAKEN);
    assert_non_null(strstr(e.text, taken));
    o3_server_free(s);
    o3_server_free(NULL);
    o3_loop_free(l);
}

static void idle_server_and_client_sleep(void **state) {
    (void)state;
    struct world w;
    struct seen s;
    start(&w);
    get(&w, &s, "/hello");
    ASSERT_BODY(&s, "hello\n");
    int n_turns = 0;
    int64_t until_ns = o3_now_read().mono_ns + 500 * O3_NS_PER_MS;
    for (int64_t left; (left = until_ns - o3_now_read().mono_ns) > 0; n_turns++)
        o3_loop_once(w.loop, (int)(left / O3_NS_PER_MS) + 1);
    print_message("turns in half a second of idling: %d\n", n_turns);
    assert_true(n_turns <= 5);
    stop(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_served),
        cmocka_unit_test(bodies_are_posted),
        cmocka_unit_test(stream_pieces_carry_their_time),
        cmocka_unit_test(quiet_stream_outlives_the_idle_timeout),
        cmocka_unit_test(late_answers_arrive),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(local_ports_are_told),
        cmocka_unit_test(cancel_is_silent_and_the_server_notices),
        cmocka_unit_test(cancel_inside_data_is_silent),
        cmocka_unit_test(start_and_cancel_others_inside_data),
        cmocka_unit_test(free_cancels_all),
        cmocka_unit_test(cut_replies_are_broken),
        cmocka_unit_test(limits_end_the_transfer),
        cmocka_unit_test(first_byte_timeout_ends_the_wait),
        cmocka_unit_test(bad_urls_are_refused),
        cmocka_unit_test(names_are_looked_up),
        cmocka_unit_test(broken_servers_are_told_apart),
        cmocka_unit_test(unfinished_connections_are_forgotten),
        cmocka_unit_test(refused_connections_are_unreachable),
        cmocka_unit_test(bad_requests_are_answered),
        cmocka_unit_test(chunked_bodies_are_bounded),
        cmocka_unit_test(half_sent_requests_time_out),
        cmocka_unit_test(idle_connections_do_not_keep_others_out),
        cmocka_unit_test(served_connections_are_not_pushed_out),
        cmocka_unit_test(half_closed_client_is_gone),
        cmocka_unit_test(half_closed_client_gets_what_is_ready),
        cmocka_unit_test(unread_streams_are_cut),
        cmocka_unit_test(pipelined_requests_are_served),
        cmocka_unit_test(replies_are_compressed_when_asked),
        cmocka_unit_test(accept_encoding_is_understood),
        cmocka_unit_test(listen_addresses),
        cmocka_unit_test(idle_server_and_client_sleep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
