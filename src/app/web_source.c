/* SPDX-License-Identifier: Apache-2.0 */
#include "app/web_source.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "io/file.h"
#include "o3/text.h"

enum { PEM_MAX = 256 * 1024 };

/* Everything that was read, each part with its NUL: for the checksum, and to hold the keys in one place that is wiped.
 */
struct sources {
    struct o3_web *web;
    const char *path;
    struct o3_buf all, cert, key, client_ca;
};

static void wipe(struct o3_buf *b) {
    if (b->p) explicit_bzero(b->p, b->len);
    o3_buf_done(b);
}

/* A pipe could hold us up for ever, and would be empty at the second reading. */
static bool is_plain_file(const char *path) {
    struct stat st;
    return stat(path, &st) != 0 || S_ISREG(st.st_mode); /* what is not there is told by the reading */
}

static int read_whole(const char *path, size_t max, struct o3_buf *out, struct o3_err *e) {
    o3_buf_init(out, max);
    if (!is_plain_file(path)) return o3_err_set(e, O3_E_CONFIG, "%.150s: this is not a plain file", path);
    int r = o3_file_read(path, max, out, e);
    if (r < 0 && r != O3_E_NOMEM && e) e->code = O3_E_CONFIG;
    return r == 0 || r == O3_E_NOMEM ? r : O3_E_CONFIG;
}

/* Relative to the folder of the file that says it. */
static bool full_path(const char *file, const char *name, char *out, size_t size) {
    const char *slash = strrchr(file, '/');
    int folder = *name == '/' || !slash ? 0 : (int)(slash - file) + 1;
    int n = snprintf(out, size, "%.*s%s", folder, file, name);
    return n > 0 && (size_t)n < size;
}

/* The PEM text of a pair of keys: what stands in the file itself, else in the file that is named. */
static int read_pem(struct sources *s, int watched, const char *key, const struct o3_web_text *text,
                    const struct o3_web_text *file, struct o3_buf *out, struct o3_err *e) {
    struct o3_err why = {0};
    o3_buf_init(out, PEM_MAX);
    if (text->s) return o3_buf_adds(out, text->s) < 0 ? o3_err_set(e, O3_E_NOMEM, "no memory for a certificate") : 0;
    if (!file->s) return 0;
    char *path = s->web->watched[watched];
    int r = full_path(s->path, file->s, path, O3_WEB_PATH_SIZE) ? read_whole(path, PEM_MAX, out, &why)
                                                                : o3_err_set(&why, O3_E_CONFIG, "the name is too long");
    if (r == 0 && strlen(o3_buf_str(out)) != out->len)
        r = o3_err_set(&why, O3_E_CONFIG, "%.150s: not a PEM text", path);
    if (r == 0 && o3_buf_add(&s->all, o3_buf_str(out), out->len + 1) < 0) r = O3_E_NOMEM;
    return r < 0 ? o3_err_at(e, r, file->line, file->col, "tls_server_config.%s: %s", key, why.text) : 0;
}

static int load_tls(struct sources *s, struct o3_err *e) {
    const struct o3_web_tls *t = &s->web->config->tls;
    if (!s->web->config->has_tls) return 0;
    int r = read_pem(s, 1, "cert_file", &t->cert, &t->cert_file, &s->cert, e);
    if (r == 0) r = read_pem(s, 2, "key_file", &t->key, &t->key_file, &s->key, e);
    if (r == 0) r = read_pem(s, 3, "client_ca_file", &t->client_ca, &t->client_ca_file, &s->client_ca, e);
    if (r < 0) return r;
    bool has_ca = t->client_ca.s || t->client_ca_file.s;
    struct o3_tls_files f = {.cert = o3_buf_str(&s->cert),
                             .key = o3_buf_str(&s->key),
                             .client_ca = has_ca ? o3_buf_str(&s->client_ca) : NULL};
    return o3_tls_new(t, &f, &s->web->tls, e);
}

static int load(struct sources *s, struct o3_err *e) {
    if (!o3_str_copy(s->web->watched[0], O3_WEB_PATH_SIZE, s->path))
        return o3_err_set(e, O3_E_CONFIG, "web.config_file: the name is too long");
    o3_buf_init(&s->all, O3_WEB_FILE_MAX + 4 * (PEM_MAX + 1));
    struct o3_buf text;
    int r = read_whole(s->path, O3_WEB_FILE_MAX, &text, e);
    if (r == 0 && o3_buf_add(&s->all, o3_buf_str(&text), text.len + 1) < 0)
        r = o3_err_set(e, O3_E_NOMEM, "no memory for the web configuration");
    if (r == 0) r = o3_web_config_parse(o3_buf_str(&text), text.len, &s->web->config, e);
    if (r == 0) r = load_tls(s, e);
    if (r == 0) o3_sha256_hex(o3_buf_str(&s->all), s->all.len, s->web->sha256);
    wipe(&text);
    return r;
}

int o3_web_load(const char *path, struct o3_web **ret, struct o3_err *e) {
    struct sources s = {.path = path, .web = calloc(1, sizeof *s.web)};
    if (!s.web) return o3_err_set(e, O3_E_NOMEM, "no memory for the web configuration");
    int r = load(&s, e);
    wipe(&s.all);
    wipe(&s.cert);
    wipe(&s.key);
    wipe(&s.client_ca);
    if (r < 0)
        o3_web_free(s.web);
    else
        *ret = s.web;
    return r;
}

static void peer_of(const char *path, const struct o3_web_config *c, struct o3_web_peer *ret) {
    const struct o3_web_tls *t = &c->tls;
    *ret = (struct o3_web_peer){.is_tls = c->has_tls};
    ret->is_client_cert_required = t->client_auth == O3_CLIENT_CERT_REQUIRE_ANY ||
                                   t->client_auth == O3_CLIENT_CERT_REQUIRE_AND_VERIFY;
    if (t->cert_file.s && !full_path(path, t->cert_file.s, ret->cert_file, sizeof ret->cert_file))
        *ret->cert_file = '\0';
    if (t->key_file.s && !full_path(path, t->key_file.s, ret->key_file, sizeof ret->key_file)) *ret->key_file = '\0';
}

int o3_web_find_peer(const char *path, struct o3_web_peer *ret, struct o3_err *e) {
    struct o3_web_config *c = NULL;
    struct o3_buf text;
    int r = read_whole(path, O3_WEB_FILE_MAX, &text, e);
    if (r == 0) r = o3_web_config_parse(o3_buf_str(&text), text.len, &c, e);
    if (r == 0) peer_of(path, c, ret);
    o3_web_config_free(c);
    wipe(&text);
    return r;
}

void o3_web_free(struct o3_web *w) {
    if (!w) return;
    o3_web_config_free(w->config);
    o3_tls_unref(w->tls);
    free(w);
}
