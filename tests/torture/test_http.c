/* SPDX-License-Identifier: Apache-2.0 */
/* Loop, server, client and log without memory: each allocation of ours and of libcurl fails in turn. A request then
 * fails or succeeds, each ends exactly once, and all is given back. */
#include "o3_test.h"
#include "fail_nth.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/log_sink.h"
#include <curl/curl.h>
#include <fcntl.h>
#include <unistd.h>

static void *curl_malloc(size_t n) {
    return o3_fail_now(O3_FAIL_ALLOC) ? NULL : __real_malloc(n);
}

static void *curl_realloc(void *p, size_t n) {
    return o3_fail_now(O3_FAIL_ALLOC) ? NULL : __real_realloc(p, n);
}

static char *curl_strdup(const char *s) {
    return o3_fail_now(O3_FAIL_ALLOC) ? NULL : __real_strdup(s);
}

static void *curl_calloc(size_t n, size_t size) {
    return o3_fail_now(O3_FAIL_ALLOC) ? NULL : __real_calloc(n, size);
}

static char page[4000];

static void handle(void *ctx, struct o3_request *rq) {
    (void)ctx;
    if (!strcmp(o3_request_path(rq), "/stream")) {
        o3_request_stream(rq, 200, "text/plain");
        o3_request_write(rq, page, sizeof page);
        o3_request_end(rq);
        return;
    }
    const struct o3_reply r = {.status = 200, .bytes = page, .n = sizeof page, .gzip = true};
    o3_request_reply(rq, &r);
}

struct transfer {
    int n_end;
    size_t n_bytes;
    struct o3_http_result result;
};

static void on_data(void *ctx, int status, const char *bytes, size_t n, int64_t mono_ns) {
    (void)status, (void)bytes, (void)mono_ns;
    ((struct transfer *)ctx)->n_bytes += n;
}

static void on_end(void *ctx, const struct o3_http_result *r, int64_t mono_ns) {
    (void)mono_ns;
    struct transfer *t = ctx;
    t->n_end++;
    t->result = *r;
}

/* True when the transfer came through whole. */
static bool transfer(struct o3_loop *l, struct o3_http *h, uint16_t port, const char *host, const char *rest) {
    struct transfer t = {0};
    struct o3_xfer *x;
    char url[64];
    snprintf(url, sizeof url, "http://%s:%u%s", host, port, rest);
    const struct o3_http_req rq = {.method = "POST",
                                   .url = url,
                                   .body = "{}",
                                   .body_len = 2,
                                   .connect_timeout_ms = 300,
                                   .total_timeout_ms = 300,
                                   .max_bytes = 10000};
    const struct o3_http_cb cb = {on_data, on_end, &t};
    int r = o3_http_start(h, &rq, &cb, &x);
    if (r < 0) {
        o3_loop_once(l, 0);
        assert_int_equal(t.n_end, 0);
        return false;
    }
    for (int i = 0; i < 200 && !t.n_end; i++)
        o3_loop_once(l, 50);
    assert_int_equal(t.n_end, 1);
    if (t.result.code == 0 && t.result.status == 200) assert_int_equal(t.n_bytes, sizeof page);
    return t.result.code == 0 && t.result.status == 200;
}

static int use_http(void) {
    struct o3_loop *l = NULL;
    struct o3_server *s = NULL;
    struct o3_http *h = NULL;
    struct o3_err e;
    int n_whole = 0;
    if (o3_loop_new(&l, &e) < 0) return 0;
    const struct o3_server_params p = {.listen = "127.0.0.1:0", .timeout_s = 1, .handle = handle};
    if (o3_server_new(l, &p, &s, &e) == 0 && o3_http_new(l, &h, &e) == 0) {
        n_whole += transfer(l, h, o3_server_port(s), "127.0.0.1", "/page");
        n_whole += transfer(l, h, o3_server_port(s), "127.1", "/stream"); /* through the lookup job */
        n_whole += transfer(l, h, o3_server_port(s), "127.0.0.1", "/page");
    }
    o3_http_free(h);
    o3_server_free(s);
    o3_loop_free(l);
    return n_whole;
}

static void http_survives_no_memory(void **state) {
    (void)state;
    memset(page, 'p', sizeof page);
    long n = 1, n_good = 0;
    for (;; n++) {
        o3_fail_arm(O3_FAIL_ALLOC, n);
        int n_whole = use_http();
        bool was_hit = o3_fail_disarm();
        n_good += n_whole;
        if (was_hit) continue;
        assert_int_equal(n_whole, 3);
        break;
    }
    print_message("%ld allocations; %ld of %ld transfers came through\n", n - 1, n_good, 3 * n);
    assert_true(n > 30);
}

static void the_log_survives_no_memory(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    const struct o3_field f[] = {O3_F_STR("model", "m"), O3_F_STR("reason", "x")};
    for (long n = 1;; n++) {
        o3_fail_arm(O3_FAIL_ALLOC, n);
        struct o3_log *l = o3_log_new(fds[1], O3_LOGFMT, O3_LOG_DEBUG);
        for (int i = 0; i < 3; i++)
            o3_log_write(l, i, O3_EV_MODEL_SKIPPED, f, 2);
        o3_log_free(l);
        char text[10000];
        ssize_t got = read(fds[0], text, sizeof text);
        if (!o3_fail_disarm()) {
            assert_true(got > 0);
            break;
        }
        if (l && got > 0) assert_int_equal(text[got - 1], '\n');
    }
    close(fds[0]);
    close(fds[1]);
}

int main(void) {
    /* First come, first served: the loop's own initialisation then keeps these. */
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, curl_malloc, free, curl_realloc, curl_strdup, curl_calloc)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_survives_no_memory),
        cmocka_unit_test(the_log_survives_no_memory),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return r;
}
