/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_options.h"
#include <curl/curl.h>
#include <string.h>

enum { IDLE_CONNECTION_S = 30 };

bool o3_http_has_body(const struct o3_http_req *rq) {
    return !strcmp(rq->method, "PATCH") || !strcmp(rq->method, "POST");
}

/* The file is read anew for each connection: authorities change while the process lives. */
static unsigned set_trust(CURL *c, const char *ca_file) {
    if (!ca_file) return 0;
    unsigned bad = curl_easy_setopt(c, CURLOPT_CAINFO, ca_file);
    bad |= curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    bad |= curl_easy_setopt(c, CURLOPT_CA_CACHE_TIMEOUT, 0L);
    return bad;
}

static unsigned set_method(CURL *c, const struct o3_http_req *rq, const char *body) {
    bool is_patch = !strcmp(rq->method, "PATCH");
    unsigned bad = curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, rq->bearer);
    bad |= curl_easy_setopt(c, CURLOPT_HTTPAUTH, rq->bearer ? CURLAUTH_BEARER : CURLAUTH_NONE);
    if (o3_http_has_body(rq)) {
        bad |= curl_easy_setopt(c, CURLOPT_POST, 1L);
        bad |= curl_easy_setopt(c, CURLOPT_POSTFIELDS, body ? body : "");
        bad |= curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body_len);
        if (is_patch) bad |= curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, "PATCH");
    } else if (!strcmp(rq->method, "HEAD")) {
        bad |= curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    } else if (strcmp(rq->method, "GET") != 0) {
        bad |= curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, rq->method);
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

unsigned o3_http_set_options(void *easy, const struct o3_http_req *rq, const char *body) {
    return set_manners(easy) | set_method(easy, rq, body) | set_trust(easy, rq->ca_file) | set_peer(easy, rq->peer);
}
