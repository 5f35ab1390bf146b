/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/workers.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define AHEAD 8 /* results that may wait for an earlier one, beside one a child */

struct worker {
    pid_t pid; /* 0: none */
    int fd;    /* ours; -1: closed */
    bool is_busy;
    uint64_t piece;
    unsigned char *result;
    size_t got;
};

struct waiting { /* results that came before their turn: a ring by piece */
    unsigned char *bytes;
    bool *is_there;
    size_t n;
};

struct workers {
    const struct o3_workers_params *p;
    struct worker v[O3_WORKERS_MAX];
    int n;
    struct waiting waiting;
    size_t next_piece, next_taken;
    struct o3_workers_result result;
};

/* ---- signals ---- */

static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP};
enum { N_SIGNALS = sizeof SIGNALS / sizeof *SIGNALS };
static volatile sig_atomic_t is_stop_asked;

struct signals {
    struct sigaction old[N_SIGNALS];
    sigset_t old_mask;
};

static void ask_stop(int signo) {
    (void)signo;
    is_stop_asked = 1;
}

/* Blocked but while waiting, so that none is lost between a look and the wait. What the caller ignores stays so. */
static void catch_signals(struct signals *s) {
    sigset_t mask;
    sigemptyset(&mask);
    is_stop_asked = 0;
    for (int i = 0; i < N_SIGNALS; i++)
        sigaddset(&mask, SIGNALS[i]);
    sigprocmask(SIG_BLOCK, &mask, &s->old_mask);
    for (int i = 0; i < N_SIGNALS; i++) {
        struct sigaction a = {.sa_handler = ask_stop};
        sigemptyset(&a.sa_mask);
        sigaction(SIGNALS[i], NULL, &s->old[i]);
        if (s->old[i].sa_handler != SIG_IGN) sigaction(SIGNALS[i], &a, NULL);
    }
}

static void release_signals(const struct signals *s) {
    for (int i = 0; i < N_SIGNALS; i++)
        sigaction(SIGNALS[i], &s->old[i], NULL);
    sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
}

/* ---- a child ---- */

static bool read_all(int fd, void *out, size_t n) {
    for (unsigned char *p = out; n;) {
        ssize_t got = read(fd, p, n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static bool write_all(int fd, const void *bytes, size_t n) {
    for (const unsigned char *p = bytes; n;) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* Ctrl-C reaches every process of the terminal: the parent alone decides. A child never outlives it. */
static void become_child(const struct signals *s, pid_t parent) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(75);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
}

__attribute__((noreturn)) static void serve(const struct o3_workers_params *p, int fd) {
    void *result = calloc(1, p->result_size);
    if (!result) _exit(75);
    for (uint64_t piece; read_all(fd, &piece, sizeof piece);) {
        int status = p->work(p->ctx, (size_t)piece, result);
        if (status) _exit(status);
        if (!write_all(fd, result, p->result_size)) _exit(75);
    }
    _exit(0);
}

static bool start(struct workers *w, const struct signals *s) {
    int fds[2];
    struct worker *x = &w->v[w->n];
    pid_t parent = getpid();
    *x = (struct worker){.fd = -1, .result = malloc(w->p->result_size)};
    if (!x->result || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        free(x->result);
        return false;
    }
    x->pid = fork();
    if (x->pid == 0) {
        become_child(s, parent);
        close(fds[0]);
        for (int i = 0; i < w->n; i++)
            close(w->v[i].fd);
        serve(w->p, fds[1]);
    }
    close(fds[1]);
    x->fd = fds[0];
    if (x->pid > 0) {
        w->n++;
        return true;
    }
    close(fds[0]);
    free(x->result);
    return false;
}

/* ---- the parent ---- */

static void fail(struct workers *w, const char *what) {
    w->result.end = O3_WORKERS_FAILED;
    snprintf(w->result.text, sizeof w->result.text, "%s: %s", what, strerror(errno));
}

static void tell_death(struct workers *w, struct worker *x) {
    int status = 0;
    struct o3_workers_result *r = &w->result;
    r->end = O3_WORKERS_DIED;
    r->piece = (size_t)x->piece;
    while (waitpid(x->pid, &status, 0) < 0 && errno == EINTR)
        ;
    x->pid = 0;
    if (WIFSIGNALED(status)) {
        snprintf(r->text, sizeof r->text, "was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else {
        r->exit_status = WEXITSTATUS(status);
        snprintf(r->text, sizeof r->text, "gave up with status %d", r->exit_status);
    }
}

static bool assign(struct workers *w) {
    for (int i = 0; i < w->n; i++) {
        struct worker *x = &w->v[i];
        if (x->is_busy || w->next_piece == w->p->n || w->next_piece >= w->next_taken + w->waiting.n) continue;
        x->piece = w->next_piece++;
        x->is_busy = true;
        x->got = 0;
        if (write_all(x->fd, &x->piece, sizeof x->piece)) continue;
        tell_death(w, x);
        return false;
    }
    return true;
}

/* Keeps a whole result, then hands over what is next in turn. */
static bool take(struct workers *w, struct worker *x) {
    size_t size = w->p->result_size, slot = (size_t)x->piece % w->waiting.n;
    memcpy(w->waiting.bytes + slot * size, x->result, size);
    w->waiting.is_there[slot] = true;
    x->is_busy = false;
    while (w->next_taken < w->p->n && w->waiting.is_there[w->next_taken % w->waiting.n]) {
        slot = w->next_taken % w->waiting.n;
        w->waiting.is_there[slot] = false;
        w->result.taken = w->p->take(w->p->ctx, w->next_taken, w->waiting.bytes + slot * size);
        if (w->result.taken) {
            w->result.end = O3_WORKERS_REFUSED;
            w->result.piece = w->next_taken;
            return false;
        }
        w->next_taken++;
    }
    return true;
}

static bool receive(struct workers *w, struct worker *x) {
    ssize_t got = recv(x->fd, x->result + x->got, w->p->result_size - x->got, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (got <= 0) {
        tell_death(w, x);
        return false;
    }
    x->got += (size_t)got;
    return x->got < w->p->result_size || take(w, x);
}

static bool wait_for_results(struct workers *w, const struct signals *s) {
    struct pollfd fds[O3_WORKERS_MAX];
    for (int i = 0; i < w->n; i++)
        fds[i] = (struct pollfd){.fd = w->v[i].is_busy ? w->v[i].fd : -1, .events = POLLIN};
    int n = ppoll(fds, (nfds_t)w->n, NULL, &s->old_mask);
    if (is_stop_asked) {
        w->result.end = O3_WORKERS_STOPPED;
        return false;
    }
    if (n < 0 && errno != EINTR) {
        fail(w, "waiting for the workers");
        return false;
    }
    for (int i = 0; n > 0 && i < w->n; i++)
        if (fds[i].fd >= 0 && fds[i].revents && !receive(w, &w->v[i])) return false;
    return true;
}

static void stop_all(struct workers *w) {
    bool is_over = w->next_taken == w->p->n;
    for (int i = 0; i < w->n; i++) {
        struct worker *x = &w->v[i];
        close(x->fd);
        if (x->pid > 0 && !is_over) kill(x->pid, SIGTERM);
    }
    for (int i = 0; i < w->n; i++) {
        while (w->v[i].pid > 0 && waitpid(w->v[i].pid, NULL, 0) < 0 && errno == EINTR)
            ;
        free(w->v[i].result);
    }
}

static bool start_all(struct workers *w, const struct signals *s) {
    size_t jobs = (size_t)w->p->jobs < w->p->n ? (size_t)w->p->jobs : w->p->n;
    w->waiting.n = jobs + AHEAD;
    w->waiting.bytes = calloc(w->waiting.n, w->p->result_size);
    w->waiting.is_there = calloc(w->waiting.n, sizeof *w->waiting.is_there);
    if (!w->waiting.bytes || !w->waiting.is_there) {
        fail(w, "no memory for the results");
        return false;
    }
    while ((size_t)w->n < jobs && start(w, s))
        ;
    if (w->n == 0) fail(w, "cannot start a process"); /* fewer than asked for are enough */
    return w->n > 0;
}

struct o3_workers_result o3_workers_run(const struct o3_workers_params *p) {
    static const struct o3_workers_result NONE = {.end = O3_WORKERS_FAILED, .text = "no memory"};
    struct workers *w = calloc(1, sizeof *w);
    struct signals signals;
    if (!w) return NONE;
    w->p = p;
    fflush(NULL); /* or each child would hold what is not yet written */
    catch_signals(&signals);
    if (start_all(w, &signals))
        while (w->next_taken < p->n && assign(w) && wait_for_results(w, &signals))
            ;
    stop_all(w);
    release_signals(&signals);
    struct o3_workers_result result = w->result;
    free(w->waiting.bytes);
    free(w->waiting.is_there);
    free(w);
    return result;
}
