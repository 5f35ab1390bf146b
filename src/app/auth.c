/* SPDX-License-Identifier: Apache-2.0 */
#include "app/auth.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include "app/credentials.h"
#include "app/daemon_internal.h"
#include "io/password.h"

#define ATTEMPTS_MAX 16       /* different credentials that wait for a check */
#define CLIENT_ATTEMPTS_MAX 4 /* of one client */
#define TELL_EVERY_NS (60LL * O3_NS_PER_S)
#define KEY_BYTES 32

/* Credentials that are to be checked, and the requests that wait for it. */
struct attempt {
    TAILQ_ENTRY(attempt) link;
    struct o3_auth *auth;
    struct o3_client client;
    char digest[O3_DIGEST_SIZE], hash[O3_BCRYPT_LEN + 1];
    char password[O3_CREDENTIALS_MAX];
    bool is_known_user;
    struct o3_password_check *check; /* NULL: it waits */
};
TAILQ_HEAD(attempt_list, attempt);

struct waiter {
    TAILQ_ENTRY(waiter) link;
    struct o3_request *rq;
    struct attempt *attempt;
};
TAILQ_HEAD(waiter_list, waiter);

struct o3_auth {
    struct o3_daemon *daemon;
    unsigned char key[KEY_BYTES]; /* of the digests; new in each process */
    struct o3_findings findings;
    struct o3_tries tries;
    struct attempt_list attempts; /* the first one runs */
    struct waiter_list waiters;
    int64_t told_ns;
    int64_t n_untold;
};

int o3_auth_new(struct o3_daemon *d, struct o3_auth **ret, struct o3_err *e) {
    struct o3_auth *a = calloc(1, sizeof *a);
    if (!a) return o3_err_set(e, O3_E_NOMEM, "no memory for passwords");
    a->daemon = d;
    TAILQ_INIT(&a->attempts);
    TAILQ_INIT(&a->waiters);
    if (getrandom(a->key, sizeof a->key, 0) != (ssize_t)sizeof a->key) {
        free(a);
        return o3_err_set(e, O3_E_IO, "the system gives no random bytes");
    }
    *ret = a;
    return 0;
}

static void free_attempt(struct attempt *x) {
    TAILQ_REMOVE(&x->auth->attempts, x, link);
    explicit_bzero(x, sizeof *x);
    free(x);
}

static void free_waiter(struct o3_auth *a, struct waiter *w) {
    TAILQ_REMOVE(&a->waiters, w, link);
    free(w);
}

void o3_auth_stop(struct o3_auth *a) {
    struct attempt *x;
    if (!a) return;
    TAILQ_FOREACH(x, &a->attempts, link) {
        o3_password_check_abandon(x->check);
        x->check = NULL;
    }
}

void o3_auth_free(struct o3_auth *a) {
    if (!a) return;
    struct attempt *x;
    struct waiter *w;
    while ((w = TAILQ_FIRST(&a->waiters)))
        free_waiter(a, w);
    while ((x = TAILQ_FIRST(&a->attempts)))
        free_attempt(x);
    explicit_bzero(a, sizeof *a);
    free(a);
}

void o3_auth_request_gone(struct o3_auth *a, const struct o3_request *rq) {
    struct waiter *w;
    if (!a) return;
    TAILQ_FOREACH(w, &a->waiters, link) {
        if (w->rq != rq) continue;
        free_waiter(a, w); /* its check goes on: the next one who asks finds the answer */
        return;
    }
}

/* ---- answers ---- */

static void count(struct o3_auth *a, const char *result) {
    o3_metric_add(a->daemon->metrics, O3_M_WEB_SIGN_INS, O3_L(result), 1);
}

/* At most one event a minute. No names: people type passwords where names belong. */
static void tell_wrong(struct o3_auth *a, const struct o3_client *client) {
    int64_t now_ns = o3_now_read().mono_ns;
    a->n_untold++;
    if (a->told_ns && now_ns - a->told_ns < TELL_EVERY_NS) return;
    O3_DAEMON_EVENT(a->daemon, O3_EV_SIGN_IN_REFUSED, O3_F_STR("client", client->text), O3_F_INT("count", a->n_untold));
    a->told_ns = now_ns;
    a->n_untold = 0;
}

static const struct o3_header ASK_PASSWORD = {"WWW-Authenticate", "Basic realm=\"o3\", charset=\"UTF-8\""};
static const struct o3_header ASK_TOKEN = {"WWW-Authenticate", "Bearer"};

static bool refuse(struct o3_auth *a, struct o3_request *rq, const char *result, const char *text,
                   const struct o3_header *challenge) {
    count(a, result);
    o3_daemon_reply_json_error_with(a->daemon, rq, 401, text, challenge);
    return false;
}

static bool refuse_for_now(struct o3_auth *a, struct o3_request *rq, int status, int wait_s) {
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", wait_s);
    count(a, status == 429 ? "limited" : "busy");
    o3_daemon_reply_json_error_with(a->daemon, rq, status,
                                    status == 429 ? "too many wrong passwords or tokens; try again later"
                                                  : "too many passwords are being checked; try again",
                                    &(struct o3_header){"Retry-After", seconds});
    return false;
}

static bool take_try(struct o3_auth *a, struct o3_request *rq, const struct o3_client *client) {
    int wait_s;
    if (o3_tries_take(&a->tries, client->network, o3_now_read().mono_ns, &wait_s)) return true;
    tell_wrong(a, client);
    return refuse_for_now(a, rq, 429, wait_s);
}

/* Of who asks and of the texts, each with its NUL, under the process's key: no password is kept. */
static bool digest_of(const struct o3_auth *a, const struct o3_client *client, const char *const *texts, size_t n,
                      char out[O3_DIGEST_SIZE]) {
    struct o3_buf b;
    o3_buf_init(&b, 16 * 1024);
    o3_buf_add(&b, a->key, KEY_BYTES);
    o3_buf_add(&b, client->network, sizeof client->network);
    for (size_t i = 0; i < n; i++)
        o3_buf_add(&b, texts[i], strlen(texts[i]) + 1);
    bool is_whole = !b.err;
    if (is_whole) o3_sha256_hex(b.p, b.len, out);
    if (b.p) explicit_bzero(b.p, b.len);
    o3_buf_done(&b);
    return is_whole;
}

/* ---- the check of a password ---- */

/* The user, or the costliest one: a name that does not exist takes as long, so that names cannot be found by time. */
static const struct o3_web_user *user_of(const struct o3_web_config *c, const char *name, bool *ret_is_known) {
    const struct o3_web_user *found = NULL, *costliest = &c->users[0];
    for (size_t i = 0; i < c->n_users; i++) {
        const struct o3_web_user *u = &c->users[i];
        if (o3_secret_equal(name, strlen(name), u->name, strlen(u->name))) found = u;
        if (u->cost > costliest->cost) costliest = u;
    }
    *ret_is_known = found;
    return found ? found : costliest;
}

static void start_next(struct o3_auth *a);

static void done_check(void *ctx, bool is_same) {
    struct attempt *x = ctx;
    struct o3_auth *a = x->auth;
    struct waiter_list waiting = TAILQ_HEAD_INITIALIZER(waiting);
    struct waiter *w, *next;
    bool is_right = is_same && x->is_known_user;
    o3_findings_add(&a->findings, x->digest, is_right);
    if (is_right)
        o3_tries_give_back(&a->tries, x->client.network);
    else
        tell_wrong(a, &x->client);
    for (w = TAILQ_FIRST(&a->waiters); w; w = next) {
        next = TAILQ_NEXT(w, link);
        if (w->attempt != x) continue;
        TAILQ_REMOVE(&a->waiters, w, link);
        TAILQ_INSERT_TAIL(&waiting, w, link);
    }
    free_attempt(x);
    while ((w = TAILQ_FIRST(&waiting))) {
        TAILQ_REMOVE(&waiting, w, link);
        struct o3_request *rq = w->rq;
        free(w);
        o3_daemon_handle(a->daemon, rq);
    }
    start_next(a);
}

/* Without memory for a check: those who wait for it are told. */
static void give_up(struct o3_auth *a, const struct attempt *x) {
    struct waiter *w, *next;
    for (w = TAILQ_FIRST(&a->waiters); w; w = next) {
        next = TAILQ_NEXT(w, link);
        if (w->attempt != x) continue;
        struct o3_request *rq = w->rq;
        free_waiter(a, w);
        refuse_for_now(a, rq, 503, 1);
    }
}

/* One at a time: they take no more than one processor. */
static void start_next(struct o3_auth *a) {
    struct attempt *x;
    while (!a->daemon->is_stopping && (x = TAILQ_FIRST(&a->attempts)) && !x->check) {
        if (o3_password_check_start(a->daemon->loop, x->password, x->hash, done_check, x, &x->check) == 0) return;
        give_up(a, x);
        free_attempt(x);
    }
}

static struct attempt *find_attempt(struct o3_auth *a, const char *digest) {
    struct attempt *x;
    TAILQ_FOREACH(x, &a->attempts, link)
    if (!strcmp(x->digest, digest)) return x;
    return NULL;
}

static bool has_room(const struct o3_auth *a, const struct o3_client *client) {
    int n = 0, of_client = 0;
    const struct attempt *x;
    TAILQ_FOREACH(x, &a->attempts, link) {
        n++;
        of_client += !memcmp(x->client.network, client->network, sizeof client->network);
    }
    return n < ATTEMPTS_MAX && of_client < CLIENT_ATTEMPTS_MAX;
}

static struct attempt *new_attempt(struct o3_auth *a, const struct o3_client *client, const char *digest,
                                   const struct o3_web_user *u, const char *password) {
    struct attempt *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    x->auth = a;
    x->client = *client;
    o3_str_copy(x->digest, sizeof x->digest, digest);
    o3_str_copy(x->hash, sizeof x->hash, u->hash);
    o3_str_copy_n(x->password, sizeof x->password, password, strlen(password));
    TAILQ_INSERT_TAIL(&a->attempts, x, link);
    return x;
}

static bool wait_for(struct o3_auth *a, struct attempt *x, struct o3_request *rq) {
    struct waiter *w = calloc(1, sizeof *w);
    if (!w) return refuse_for_now(a, rq, 503, 1);
    *w = (struct waiter){.rq = rq, .attempt = x};
    TAILQ_INSERT_TAIL(&a->waiters, w, link);
    start_next(a);
    return false;
}

static bool check_later(struct o3_auth *a, struct o3_request *rq, const struct o3_client *client, const char *digest,
                        const struct o3_web_user *u, bool is_known, const char *password) {
    struct attempt *x = find_attempt(a, digest);
    if (x) return wait_for(a, x, rq);
    if (!has_room(a, client)) return refuse_for_now(a, rq, 503, 1);
    if (!take_try(a, rq, client)) return false;
    x = new_attempt(a, client, digest, u, password);
    if (!x) return refuse_for_now(a, rq, 503, 1);
    x->is_known_user = is_known;
    return wait_for(a, x, rq);
}

/* A changed hash is another digest. So is a user that is gone, whose name is now checked against the hash of somebody
 * else. */
static bool check_basic(struct o3_auth *a, struct o3_request *rq, const struct o3_client *client,
                        const struct o3_credentials *c) {
    char digest[O3_DIGEST_SIZE];
    bool is_known, is_right;
    const struct o3_web_user *u = user_of(a->daemon->web->config, c->user, &is_known);
    const char *const texts[] = {is_known ? "user" : "nobody", u->hash, c->user, c->password};
    if (!digest_of(a, client, texts, 4, digest)) return refuse_for_now(a, rq, 503, 1);
    if (!o3_findings_find(&a->findings, digest, &is_right))
        return check_later(a, rq, client, digest, u, is_known, c->password);
    if (!is_right) return refuse(a, rq, "wrong", "the name or the password is wrong", &ASK_PASSWORD);
    count(a, "ok");
    return true;
}

/* ---- the check of a token ---- */

static const char *token_in(const char *header) {
    static const char SCHEME[] = "Bearer ";
    return header && !strncmp(header, SCHEME, sizeof SCHEME - 1) ? header + sizeof SCHEME - 1 : NULL;
}

/* It was found so before, of this client: right ones cost no try, and wrong ones that only repeat themselves are no
 * guess. A token that was changed since then is neither. */
static bool is_known_token(struct o3_auth *a, const char *digest, bool is_right) {
    bool was_right;
    return o3_findings_find(&a->findings, digest, &was_right) && was_right == is_right;
}

static bool check_token(struct o3_auth *a, struct o3_request *rq, const struct o3_client *client, const char *token,
                        const struct o3_header *challenge) {
    const char *want = a->daemon->values->web_token;
    char digest[O3_DIGEST_SIZE];
    const char *const texts[] = {"token", token};
    /* In constant time, so that the answer's delay tells nothing about the token. */
    bool is_right = *want && o3_secret_equal(token, strlen(token), want, strlen(want));
    if (!digest_of(a, client, texts, 2, digest)) return refuse_for_now(a, rq, 503, 1);
    if (!is_known_token(a, digest, is_right)) {
        if (!take_try(a, rq, client)) return false;
        o3_findings_add(&a->findings, digest, is_right);
        if (is_right)
            o3_tries_give_back(&a->tries, client->network);
        else
            tell_wrong(a, client);
    }
    if (!is_right) return refuse(a, rq, "wrong", "the bearer token is wrong", challenge);
    count(a, "ok");
    return true;
}

bool o3_auth_token_admits(struct o3_auth *a, struct o3_request *rq) {
    const char *header = o3_request_header(rq, "Authorization"), *token = token_in(header);
    struct o3_client client;
    if (!a->daemon->values->web_token[0]) return true;
    o3_request_client(rq, &client);
    if (token) return check_token(a, rq, &client, token, &ASK_TOKEN);
    return refuse(a, rq, header ? "wrong" : "missing", header ? "expected a bearer token" : "a bearer token is needed",
                  &ASK_TOKEN);
}

/* ---- pages ---- */

bool o3_auth_admits(struct o3_auth *a, struct o3_request *rq) {
    const struct o3_daemon *d = a->daemon;
    const char *header = o3_request_header(rq, "Authorization"), *token = token_in(header);
    struct o3_client client;
    if (!d->web || !d->web->config->n_users) return true;
    if (!header) return refuse(a, rq, "missing", "a name and a password are needed", &ASK_PASSWORD);
    o3_request_client(rq, &client);
    if (token) return check_token(a, rq, &client, token, &ASK_PASSWORD);
    struct o3_credentials c;
    bool is_admitted = o3_credentials_parse(header, &c)
                           ? check_basic(a, rq, &client, &c)
                           : refuse(a, rq, "wrong", "expected basic authentication, or the right bearer token",
                                    &ASK_PASSWORD);
    explicit_bzero(&c, sizeof c);
    return is_admitted;
}
