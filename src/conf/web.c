/* SPDX-License-Identifier: Apache-2.0 */
/* The web configuration file: the document's events -> struct o3_web_config, by a table of its keys. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "conf/conf.h"
#include "conf/document.h"
#include "conf/web.h"
#include "o3/text.h"

#define ARENA_MAX (1024 * 1024)
#define KEY_MAX 64

struct o3_web_memory {
    struct o3_arena arena;
};

enum kind { GROUP, USERS, TEXT, TEXTS, BOOL, WORD, HEADER, FOREIGN };

/* A key of the file. `at` is where its value goes in struct o3_web_config; `words` are those of a WORD, in the order of
 * its enum, and of a HEADER with closed values. */
struct key {
    const char *name;
    enum kind kind;
    size_t at, place;
    const char *const *words;
};

static const char *const CLIENT_AUTHS[] = {"NoClientCert",
                                           "RequestClientCert",
                                           "RequireAnyClientCert",
                                           "VerifyClientCertIfGiven",
                                           "RequireAndVerifyClientCert",
                                           NULL};
static const char *const VERSIONS[] = {"TLS10", "TLS11", "TLS12", "TLS13", NULL};
static const char *const FRAME_OPTIONS[] = {"deny", "sameorigin", NULL};
static const char *const TYPE_OPTIONS[] = {"nosniff", NULL};

#define TLS(field) offsetof(struct o3_web_config, tls.field)
static const struct key KEYS[] = {
    {"tls_server_config", GROUP, 0, 0, NULL},
    {"tls_server_config.cert", TEXT, TLS(cert), 0, NULL},
    {"tls_server_config.key", TEXT, TLS(key), 0, NULL},
    {"tls_server_config.client_ca", TEXT, TLS(client_ca), 0, NULL},
    {"tls_server_config.cert_file", TEXT, TLS(cert_file), 0, NULL},
    {"tls_server_config.key_file", TEXT, TLS(key_file), 0, NULL},
    {"tls_server_config.client_ca_file", TEXT, TLS(client_ca_file), 0, NULL},
    {"tls_server_config.client_auth_type", WORD, TLS(client_auth), TLS(client_auth_at), CLIENT_AUTHS},
    {"tls_server_config.client_allowed_sans", TEXTS, TLS(client_allowed_sans), TLS(sans_at), NULL},
    {"tls_server_config.min_version", WORD, TLS(min_version), TLS(min_at), VERSIONS},
    {"tls_server_config.max_version", WORD, TLS(max_version), TLS(max_at), VERSIONS},
    {"tls_server_config.cipher_suites", TEXTS, TLS(cipher_suites), TLS(ciphers_at), NULL},
    {"tls_server_config.curve_preferences", TEXTS, TLS(curves), TLS(curves_at), NULL},
    {"tls_server_config.prefer_server_cipher_suites", BOOL, TLS(is_server_preferred), 0, NULL},
    {"http_server_config", GROUP, 0, 0, NULL},
    {"http_server_config.http2", BOOL, offsetof(struct o3_web_config, is_http2_asked), 0, NULL},
    {"http_server_config.headers", GROUP, 0, 0, NULL},
    {"http_server_config.headers.Content-Security-Policy", HEADER, 0, 0, NULL},
    {"http_server_config.headers.X-Frame-Options", HEADER, 0, 0, FRAME_OPTIONS},
    {"http_server_config.headers.X-Content-Type-Options", HEADER, 0, 0, TYPE_OPTIONS},
    {"http_server_config.headers.X-XSS-Protection", HEADER, 0, 0, NULL},
    {"http_server_config.headers.Strict-Transport-Security", HEADER, 0, 0, NULL},
    {"basic_auth_users", USERS, 0, 0, NULL},
    {"rate_limit", FOREIGN, 0, 0, NULL},
};
enum { N_KEYS = sizeof KEYS / sizeof *KEYS };

struct reader {
    struct o3_document d;
    struct o3_web_config *c;
    uint32_t seen[N_KEYS]; /* the line; 0 not yet */
};

static int fail(struct reader *r, struct place at, const char *name, const char *text) {
    char full[240];
    snprintf(full, sizeof full, "%.120s: %s", name, text);
    return o3_document_fail(&r->d, at, full);
}

static void *slot(struct reader *r, size_t at) {
    return (char *)r->c + at;
}

static const char *last_word(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

static int unknown_key(struct reader *r, struct place at, const char *full) {
    char text[240], key[512];
    struct o3_conf_shown shown;
    const struct key *best = NULL;
    o3_str_copy_n(key, sizeof key, full, o3_conf_key_part(full));
    size_t n = strlen(last_word(key));
    int least = n < 9 ? 1 + (int)n / 3 : 4; /* nearer than this */
    for (size_t i = 0; i < N_KEYS; i++) {
        int distance = o3_edit_distance(last_word(key), last_word(KEYS[i].name));
        if (distance >= least) continue;
        least = distance;
        best = &KEYS[i];
    }
    o3_conf_show_key(&shown, full);
    snprintf(text, sizeof text, best ? "unknown key %s; did you mean \"%s\"?" : "unknown key %s%s", shown.text,
             best ? best->name : "");
    return o3_document_fail(&r->d, at, text);
}

/* A scalar that is not empty; *ret is NULL for nothing, null and "". */
static int read_text(struct reader *r, const char *name, struct o3_web_text *ret) {
    AUTO_EVENT ev = {0};
    int rc = o3_document_next(&r->d, &ev);
    if (rc < 0) return rc;
    struct place at = o3_document_place(ev.start_mark);
    if (ev.type != YAML_SCALAR_EVENT) return fail(r, at, name, "expected a single value");
    const char *s = (const char *)ev.data.scalar.value;
    if (strlen(s) != ev.data.scalar.length) return fail(r, at, name, "a NUL character is not allowed");
    *ret = (struct o3_web_text){.line = at.line, .col = at.col};
    if (!*s || o3_document_is_null(&ev)) return 0;
    ret->s = o3_arena_copy(&r->c->memory->arena, s, strlen(s));
    return ret->s ? 0 : o3_err_set(r->d.e, O3_E_NOMEM, "no memory for the web configuration");
}

static struct place place_of(const struct o3_web_text *t) {
    return (struct place){t->line, t->col};
}

static int read_texts(struct reader *r, const struct key *k) {
    struct o3_web_list *list = slot(r, k->at);
    struct o3_web_text *place = slot(r, k->place);
    AUTO_EVENT begin = {0};
    int rc = o3_document_next(&r->d, &begin);
    if (rc < 0) return rc;
    struct place at = o3_document_place(begin.start_mark);
    *place = (struct o3_web_text){.line = at.line, .col = at.col};
    if (o3_document_is_null(&begin)) return 0;
    if (begin.type != YAML_SEQUENCE_START_EVENT) return fail(r, at, k->name, "expected a list");
    for (;;) {
        AUTO_EVENT ev = {0};
        rc = o3_document_next(&r->d, &ev);
        if (rc < 0 || ev.type == YAML_SEQUENCE_END_EVENT) return rc;
        at = o3_document_place(ev.start_mark);
        const char *s = ev.type == YAML_SCALAR_EVENT ? (const char *)ev.data.scalar.value : "";
        if (!*s || strlen(s) != ev.data.scalar.length) return fail(r, at, k->name, "a list holds single values only");
        if (list->n == O3_WEB_LIST_MAX) return fail(r, at, k->name, "too many items");
        s = o3_arena_copy(&r->c->memory->arena, s, strlen(s));
        if (!s) return o3_err_set(r->d.e, O3_E_NOMEM, "no memory for the web configuration");
        list->v[list->n++] = (struct o3_web_text){s, at.line, at.col};
    }
}

static int read_bool(struct reader *r, const struct key *k) {
    struct o3_web_text t;
    int rc = read_text(r, k->name, &t);
    if (rc < 0) return rc;
    bool is_true = t.s && !strcmp(t.s, "true");
    if (!is_true && (!t.s || strcmp(t.s, "false"))) return fail(r, place_of(&t), k->name, "expected true or false");
    *(bool *)slot(r, k->at) = is_true;
    return 0;
}

/* The position of a word; -1 absent. */
static int word_index(const char *const *words, const char *s) {
    for (int i = 0; words[i]; i++)
        if (!strcmp(words[i], s)) return i;
    return -1;
}

static int not_a_word(struct reader *r, const struct key *k, struct place at) {
    char text[160] = "expected ";
    for (int i = 0; k->words[i]; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s", i ? k->words[i + 1] ? ", " : " or " : "", k->words[i]);
    }
    return fail(r, at, last_word(k->name), text);
}

static int read_word(struct reader *r, const struct key *k) {
    struct o3_web_text t;
    int rc = read_text(r, k->name, &t);
    if (rc < 0) return rc;
    int i = t.s ? word_index(k->words, t.s) : -1;
    if (t.s && i < 0) return not_a_word(r, k, place_of(&t));
    *(struct o3_web_text *)slot(r, k->place) = t;
    if (t.s) *(int *)slot(r, k->at) = i;
    return 0;
}

/* Blank: the header is not sent. */
static int read_header(struct reader *r, const struct key *k) {
    struct o3_web_text t;
    int rc = read_text(r, k->name, &t);
    if (rc < 0 || !t.s) return rc;
    for (const char *p = t.s; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            return fail(r, place_of(&t), k->name, "expected printable ASCII characters on one line");
    if (k->words && word_index(k->words, t.s) < 0) return not_a_word(r, k, place_of(&t));
    r->c->headers[r->c->n_headers++] = (struct o3_web_header){last_word(k->name), t.s};
    return 0;
}

/* ---- users ---- */

static int read_user(struct reader *r, const yaml_event_t *ev) {
    struct o3_web_config *c = r->c;
    struct place at = o3_document_place(ev->start_mark);
    static const char GROUP_NAME[] = "basic_auth_users";
    const char *name = (const char *)ev->data.scalar.value;
    if (!*name || strlen(name) != ev->data.scalar.length || strlen(name) > 255 || strchr(name, ':'))
        return fail(r, at, GROUP_NAME, "a user's name has 1 to 255 bytes and no colon");
    for (size_t i = 0; i < c->n_users; i++)
        if (!strcmp(c->users[i].name, name)) return fail(r, at, GROUP_NAME, "this user was given before");
    if (c->n_users == O3_WEB_USERS_MAX) return fail(r, at, GROUP_NAME, "more than 64 users");
    name = o3_arena_copy(&c->memory->arena, name, strlen(name));
    if (!name) return o3_err_set(r->d.e, O3_E_NOMEM, "no memory for the web configuration");
    struct o3_web_text t;
    int rc = read_text(r, GROUP_NAME, &t);
    if (rc < 0) return rc;
    int cost = t.s ? o3_bcrypt_cost(t.s) : -1;
    if (cost < 0) /* whatever stands there may be a password: it is not shown */
        return fail(r, place_of(&t), GROUP_NAME, "expected a bcrypt hash, as \"htpasswd -nBC 10 NAME\" makes it");
    if (cost > O3_WEB_COST_MAX)
        return fail(r, place_of(&t), GROUP_NAME, "the cost of this bcrypt hash is above 14: one check takes too long");
    c->users[c->n_users++] = (struct o3_web_user){name, t.s, cost, at.line, at.col};
    return 0;
}

static int read_users(struct reader *r, const struct key *k) {
    AUTO_EVENT begin = {0};
    int rc = o3_document_next(&r->d, &begin);
    if (rc < 0 || o3_document_is_null(&begin)) return rc;
    if (begin.type != YAML_MAPPING_START_EVENT)
        return fail(r, o3_document_place(begin.start_mark), k->name, "expected lines of NAME: HASH");
    for (;;) {
        AUTO_EVENT ev = {0};
        rc = o3_document_next(&r->d, &ev);
        if (rc < 0 || ev.type == YAML_MAPPING_END_EVENT) return rc;
        if (ev.type != YAML_SCALAR_EVENT)
            return fail(r, o3_document_place(ev.start_mark), k->name, "expected the name of a user");
        rc = read_user(r, &ev);
        if (rc < 0) return rc;
    }
}

/* ---- keys ---- */

static int read_group(struct reader *r, const char *group);

static int read_value(struct reader *r, const struct key *k, struct place at) {
    switch (k->kind) {
    case GROUP:
        return read_group(r, k->name);
    case USERS:
        return read_users(r, k);
    case TEXT:
        return read_text(r, k->name, slot(r, k->at));
    case TEXTS:
        return read_texts(r, k);
    case BOOL:
        return read_bool(r, k);
    case WORD:
        return read_word(r, k);
    case HEADER:
        return read_header(r, k);
    case FOREIGN:
        break;
    }
    return fail(r, at, k->name, "not supported by this server, which limits connections and failed passwords itself");
}

static int read_key(struct reader *r, const char *group, const yaml_event_t *ev) {
    struct place at = o3_document_place(ev->start_mark);
    const char *name = (const char *)ev->data.scalar.value;
    char full[512];
    if (ev->data.scalar.length > 256 || strlen(name) != ev->data.scalar.length)
        return o3_document_fail(&r->d, at, "this is no key: it is too long or holds a NUL character");
    snprintf(full, sizeof full, "%s%s%s", group, *group ? "." : "", name);
    for (size_t i = 0; !strchr(name, '.') && i < N_KEYS; i++) {
        if (strcmp(KEYS[i].name, full)) continue;
        char text[64];
        snprintf(text, sizeof text, "already given in line %u", r->seen[i]);
        if (r->seen[i]) return fail(r, at, full, text);
        r->seen[i] = at.line;
        return read_value(r, &KEYS[i], at);
    }
    return unknown_key(r, at, full);
}

static int read_group(struct reader *r, const char *group) {
    AUTO_EVENT begin = {0};
    int rc = o3_document_next(&r->d, &begin);
    if (rc < 0 || o3_document_is_null(&begin)) return rc;
    if (begin.type != YAML_MAPPING_START_EVENT)
        return fail(r, o3_document_place(begin.start_mark), *group ? group : "this file",
                    "expected a group of keys, one per line");
    for (;;) {
        AUTO_EVENT ev = {0};
        rc = o3_document_next(&r->d, &ev);
        if (rc < 0 || ev.type == YAML_MAPPING_END_EVENT) return rc;
        if (ev.type != YAML_SCALAR_EVENT)
            return o3_document_fail(&r->d, o3_document_place(ev.start_mark), "expected the name of a key");
        rc = read_key(r, group, &ev);
        if (rc < 0) return rc;
    }
}

static int read_document(void *ctx) {
    return read_group(ctx, "");
}

static int fill(struct o3_web_config *c, const char *text, size_t n, struct o3_err *e) {
    struct reader r = {.c = c};
    int rc = o3_document_open(&r.d, text, n, e);
    if (rc < 0) return rc;
    rc = o3_document_read(&r.d, read_document, &r);
    o3_document_close(&r.d);
    return rc < 0 ? rc : o3_web_check_together(c, e);
}

int o3_web_config_parse(const char *text, size_t n, struct o3_web_config **ret, struct o3_err *e) {
    struct o3_web_config *c = calloc(1, sizeof *c);
    if (c) c->memory = calloc(1, sizeof *c->memory);
    if (!c || !c->memory) {
        free(c);
        return o3_err_set(e, O3_E_NOMEM, "no memory for the web configuration");
    }
    o3_arena_init(&c->memory->arena, ARENA_MAX);
    c->tls.min_version = O3_TLS_1_2;
    c->tls.max_version = O3_TLS_1_3;
    c->tls.is_server_preferred = true;
    int rc = fill(c, text, n, e);
    if (rc < 0) {
        o3_web_config_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void o3_web_config_free(struct o3_web_config *c) {
    if (!c) return;
    o3_arena_done(&c->memory->arena);
    free(c->memory);
    free(c);
}
