/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "io/password.h"

#define HASH_SIZE 128
#define STACK_BYTES (256 * 1024)

/* Shared by the loop and the thread; the last of both frees it, so that neither waits for the other. */
struct o3_password_check {
    atomic_int n_owners;
    atomic_bool is_right;
    int event_fd;
    char password[O3_PASSWORD_MAX], hash[HASH_SIZE]; /* the thread's */
    struct o3_loop *loop;                            /* the loop's, with what follows */
    o3_password_fn *done;
    void *ctx;
};

static void leave(struct o3_password_check *c) {
    if (atomic_fetch_sub(&c->n_owners, 1) > 1) return;
    close(c->event_fd);
    free(c);
}

static void *check_thread(void *ctx) {
    struct o3_password_check *c = ctx;
    atomic_store(&c->is_right, o3_password_is_right(c->password, c->hash));
    explicit_bzero(c->password, sizeof c->password);
    uint64_t one = 1;
    ssize_t unused = write(c->event_fd, &one, sizeof one); /* of a new counter: it cannot be full */
    (void)unused;
    leave(c);
    return NULL;
}

static void on_done(void *ctx, int fd) {
    struct o3_password_check *c = ctx;
    o3_password_fn *done = c->done;
    void *done_ctx = c->ctx;
    bool is_right = atomic_load(&c->is_right);
    o3_loop_remove_fd(c->loop, fd);
    leave(c);
    done(done_ctx, is_right);
}

/* Signals are the loop's; nobody joins it. */
static int start_thread(struct o3_password_check *c) {
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, old;
    if (pthread_attr_init(&attr)) return O3_E_NOMEM;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(&thread, &attr, check_thread, c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return r ? O3_E_NOMEM : 0;
}

static int start(struct o3_password_check *c) {
    int r = o3_loop_add_fd(c->loop, c->event_fd, on_done, c);
    if (r < 0) return r;
    c->n_owners = 2;
    r = start_thread(c);
    if (r < 0) o3_loop_remove_fd(c->loop, c->event_fd);
    return r;
}

int o3_password_check_start(struct o3_loop *l, const char *password, const char *hash, o3_password_fn *done, void *ctx,
                            struct o3_password_check **ret) {
    if (strlen(password) >= O3_PASSWORD_MAX || strlen(hash) >= HASH_SIZE) return O3_E_LIMIT;
    struct o3_password_check *c = calloc(1, sizeof *c);
    if (!c) return O3_E_NOMEM;
    c->loop = l;
    c->done = done;
    c->ctx = ctx;
    o3_str_copy(c->password, sizeof c->password, password);
    o3_str_copy(c->hash, sizeof c->hash, hash);
    c->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = c->event_fd < 0 ? O3_E_NOMEM : start(c);
    if (r < 0) {
        if (c->event_fd >= 0) close(c->event_fd);
        explicit_bzero(c, sizeof *c);
        free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void o3_password_check_abandon(struct o3_password_check *c) {
    if (!c) return;
    o3_loop_remove_fd(c->loop, c->event_fd);
    leave(c);
}
