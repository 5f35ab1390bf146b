/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"
#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_FDS = 16,
    MAX_WAITS = 16,
    MAX_WAIT_MS = 60000,
    JOB_STACK_BYTES = 256 * 1024, /* getaddrinfo and SQLite need less than half of it */
    CACHED_CONNECTIONS = 2
};

struct fd_source {
    int fd; /* -1: free slot */
    uint32_t generation;
    o3_fd_fn *fn;
    void *ctx;
};

struct wait_source {
    o3_wait_fn *fn; /* NULL: free slot */
    void *ctx;
};

struct job {
    struct job *next;
    o3_job_fn *run, *done;
    void *arg;
};

struct job_list {
    struct job *head, **tail;
};

/* The helper thread. `lock` guards waiting, ended and stop; everything else belongs to the loop thread. */
struct jobs {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job_list waiting, ended;
    bool may_start, is_started, stop; /* may_start: the loop has turned */
    int event_fd;
    size_t n_pending; /* submitted and not yet handed to `done` */
};

struct o3_loop {
    CURLM *multi;
    struct o3_loop_hooks hooks;
    struct fd_source fds[MAX_FDS];
    struct wait_source waits[MAX_WAITS];
    struct jobs jobs;
    sigset_t old_mask;
    int signal_fd;
    bool is_stopped;
};

static int64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * O3_NS_PER_S + t.tv_nsec;
}

struct o3_now o3_now_read(void) {
    return (struct o3_now){.mono_ns = clock_ns(CLOCK_MONOTONIC), .wall_ms = clock_ns(CLOCK_REALTIME) / O3_NS_PER_MS};
}

/* --- descriptors and waits --- */

static struct fd_source *find_fd(struct o3_loop *l, int fd) {
    for (size_t i = 0; i < MAX_FDS; i++)
        if (l->fds[i].fd == fd) return &l->fds[i];
    return NULL;
}

int o3_loop_add_fd(struct o3_loop *l, int fd, o3_fd_fn *fn, void *ctx) {
    O3_ASSERT(fd >= 0);
    struct fd_source *s = find_fd(l, -1);
    if (!s) return O3_E_LIMIT;
    *s = (struct fd_source){.fd = fd, .generation = s->generation + 1, .fn = fn, .ctx = ctx};
    return 0;
}

void o3_loop_remove_fd(struct o3_loop *l, int fd) {
    struct fd_source *s = fd >= 0 ? find_fd(l, fd) : NULL;
    if (s) s->fd = -1;
}

int o3_loop_add_wait(struct o3_loop *l, o3_wait_fn *fn, void *ctx) {
    for (size_t i = 0; i < MAX_WAITS; i++) {
        if (l->waits[i].fn) continue;
        l->waits[i] = (struct wait_source){fn, ctx};
        return 0;
    }
    return O3_E_LIMIT;
}

void o3_loop_remove_wait(struct o3_loop *l, void *ctx) {
    for (size_t i = 0; i < MAX_WAITS; i++)
        if (l->waits[i].fn && l->waits[i].ctx == ctx) l->waits[i].fn = NULL;
}

/* --- jobs --- */

static void list_init(struct job_list *q) {
    q->head = NULL;
    q->tail = &q->head;
}

static void list_push(struct job_list *q, struct job *j) {
    j->next = NULL;
    *q->tail = j;
    q->tail = &j->next;
}

static struct job *list_pop(struct job_list *q) {
    struct job *j = q->head;
    if (!j) return NULL;
    q->head = j->next;
    if (!q->head) q->tail = &q->head;
    return j;
}

/* The next job, or NULL when the thread shall end: only after all that waits was run. */
static struct job *wait_for_job(struct jobs *js) {
    pthread_mutex_lock(&js->lock);
    struct job *j;
    while (!(j = list_pop(&js->waiting)) && !js->stop)
        pthread_cond_wait(&js->wake, &js->lock);
    pthread_mutex_unlock(&js->lock);
    return j;
}

static void *job_thread(void *ctx) {
    struct jobs *js = ctx;
    for (struct job *j; (j = wait_for_job(js));) {
        j->run(j->arg);
        pthread_mutex_lock(&js->lock);
        list_push(&js->ended, j);
        pthread_mutex_unlock(&js->lock);
        /* Only a full counter can refuse, and then the loop is woken anyway. */
        uint64_t one = 1;
        if (write(js->event_fd, &one, sizeof one) < 0) continue;
    }
    return NULL;
}

static int start_job_thread(struct jobs *js) {
    pthread_attr_t attr;
    if (pthread_attr_init(&attr)) return O3_E_NOMEM;
    pthread_attr_setstacksize(&attr, JOB_STACK_BYTES);
    /* One heap for both threads: a second arena costs resident memory for nothing, they hardly ever allocate at once.
     */
    mallopt(M_ARENA_MAX, 1);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(&js->thread, &attr, job_thread, js);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (r) return O3_E_NOMEM;
    js->is_started = true;
    return 0;
}

int o3_loop_submit(struct o3_loop *l, o3_job_fn *run, o3_job_fn *done, void *job) {
    struct jobs *js = &l->jobs;
    if (js->n_pending >= O3_JOBS_MAX) return O3_E_LIMIT;
    if (js->may_start && !js->is_started && start_job_thread(js) < 0) return O3_E_NOMEM;
    struct job *j = malloc(sizeof *j);
    if (!j) return O3_E_NOMEM;
    *j = (struct job){.run = run, .done = done, .arg = job};
    pthread_mutex_lock(&js->lock);
    list_push(&js->waiting, j);
    pthread_cond_signal(&js->wake);
    pthread_mutex_unlock(&js->lock);
    js->n_pending++;
    return 0;
}

static void finish_jobs(struct jobs *js) {
    for (;;) {
        pthread_mutex_lock(&js->lock);
        struct job *j = list_pop(&js->ended);
        pthread_mutex_unlock(&js->lock);
        if (!j) return;
        js->n_pending--;
        if (j->done) j->done(j->arg);
        free(j);
    }
}

static void on_job_event(void *ctx, int fd) {
    struct jobs *js = ctx;
    uint64_t count;
    if (read(fd, &count, sizeof count) < 0 && errno != EAGAIN && errno != EINTR) return;
    finish_jobs(js);
}

/* Those that were submitted before the loop turned; without a thread now there may be one at the next turn. */
static void start_waiting(struct jobs *js) {
    js->may_start = true;
    if (js->n_pending && !js->is_started) (void)start_job_thread(js);
}

static void stop_jobs(struct jobs *js) {
    start_waiting(js);
    /* A job's end may submit another: until nothing is left. */
    while (js->is_started) {
        pthread_mutex_lock(&js->lock);
        js->stop = true;
        pthread_cond_signal(&js->wake);
        pthread_mutex_unlock(&js->lock);
        pthread_join(js->thread, NULL);
        js->is_started = false;
        js->stop = false;
        finish_jobs(js);
    }
}

/* --- signals --- */

static void on_signal_fd(void *ctx, int fd) {
    struct o3_loop *l = ctx;
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (l->hooks.on_signal)
            l->hooks.on_signal(l->hooks.ctx, (int)info.ssi_signo);
        else
            o3_loop_stop(l);
    }
}

static int open_signals(struct o3_loop *l, struct o3_err *e) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, &l->old_mask);
    l->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (l->signal_fd < 0) return o3_err_set(e, O3_E_IO, "signalfd: %s", strerror(errno));
    return o3_loop_add_fd(l, l->signal_fd, on_signal_fd, l);
}

/* --- the end --- */

static volatile sig_atomic_t end_status;

static void end_now(int signo) {
    static const char TEXT[] = "o3: a file or a name lookup takes too long; ending without it\n";
    ssize_t unused = signo == SIGALRM ? write(STDERR_FILENO, TEXT, sizeof TEXT - 1) : 0;
    (void)unused;
    _exit(end_status);
}

void o3_loop_end_within(int ms, int status) {
    static const int SIGNALS[] = {SIGALRM, SIGTERM, SIGINT};
    const struct itimerval time = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};
    end_status = status;
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; ms && i < sizeof SIGNALS / sizeof *SIGNALS; i++) {
        sigaddset(&set, SIGNALS[i]);
        sigaction(SIGNALS[i], &(struct sigaction){.sa_handler = end_now}, NULL);
    }
    setitimer(ITIMER_REAL, &time, NULL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* --- life --- */

static int open_jobs(struct o3_loop *l, struct o3_err *e) {
    l->jobs.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->jobs.event_fd < 0) return o3_err_set(e, O3_E_IO, "eventfd: %s", strerror(errno));
    return o3_loop_add_fd(l, l->jobs.event_fd, on_job_event, &l->jobs);
}

static int open_curl(struct o3_loop *l, struct o3_err *e) {
    l->multi = curl_multi_init();
    if (!l->multi) return o3_err_set(e, O3_E_NOMEM, "libcurl could not be started");
    curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, (long)CACHED_CONNECTIONS);
    return 0;
}

static void init_members(struct o3_loop *l) {
    l->signal_fd = l->jobs.event_fd = -1;
    for (size_t i = 0; i < MAX_FDS; i++)
        l->fds[i].fd = -1;
    list_init(&l->jobs.waiting);
    list_init(&l->jobs.ended);
    pthread_mutex_init(&l->jobs.lock, NULL);
    pthread_cond_init(&l->jobs.wake, NULL);
    pthread_sigmask(SIG_BLOCK, NULL, &l->old_mask);
}

int o3_loop_new(struct o3_loop **ret, struct o3_err *e) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT)) return o3_err_set(e, O3_E_NOMEM, "libcurl could not be started");
    struct o3_loop *l = calloc(1, sizeof *l);
    if (!l) {
        curl_global_cleanup();
        return o3_err_set(e, O3_E_NOMEM, "no memory for the loop");
    }
    init_members(l);
    int r = open_signals(l, e);
    if (!r) r = open_jobs(l, e);
    if (!r) r = open_curl(l, e);
    if (r) {
        o3_loop_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

void o3_loop_free(struct o3_loop *l) {
    if (!l) return;
    stop_jobs(&l->jobs);
    if (l->multi) curl_multi_cleanup(l->multi);
    if (l->jobs.event_fd >= 0) close(l->jobs.event_fd);
    if (l->signal_fd >= 0) close(l->signal_fd);
    pthread_mutex_destroy(&l->jobs.lock);
    pthread_cond_destroy(&l->jobs.wake);
    pthread_sigmask(SIG_SETMASK, &l->old_mask, NULL);
    free(l);
    curl_global_cleanup();
}

void *o3_loop_curl_multi(struct o3_loop *l) {
    return l->multi;
}

void o3_loop_set_hooks(struct o3_loop *l, const struct o3_loop_hooks *h) {
    l->hooks = h ? *h : (struct o3_loop_hooks){0};
}

void o3_loop_stop(struct o3_loop *l) {
    l->is_stopped = true;
}

/* --- turns --- */

static int64_t next_deadline_ns(const struct o3_loop *l) {
    return l->hooks.deadline_ns ? l->hooks.deadline_ns(l->hooks.ctx) : INT64_MAX;
}

/* Rounded up: a wait that ends a little early would turn twice for one deadline. */
static int ms_until(int64_t deadline_ns, int64_t now_ns, int max_ms) {
    if (deadline_ns <= now_ns) return 0;
    int64_t left_ns = deadline_ns - now_ns;
    if (left_ns / O3_NS_PER_MS >= max_ms) return max_ms;
    return (int)((left_ns + O3_NS_PER_MS - 1) / O3_NS_PER_MS);
}

/* The sources first: they may do work here that moves the hooks' deadline. */
static int wait_ms(struct o3_loop *l, int max_ms) {
    int ms = max_ms;
    for (size_t i = 0; i < MAX_WAITS; i++) {
        int allowed = l->waits[i].fn ? l->waits[i].fn(l->waits[i].ctx) : -1;
        if (allowed >= 0 && allowed < ms) ms = allowed;
    }
    if (l->is_stopped) return 0;
    return ms_until(next_deadline_ns(l), clock_ns(CLOCK_MONOTONIC), ms);
}

static void finish_transfers(struct o3_loop *l) {
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(l->multi, &left));) {
        if (m->msg != CURLMSG_DONE) continue;
        struct o3_curl_done *d = NULL;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&d);
        O3_ASSERT(d);
        d->fn(d, (int)m->data.result, clock_ns(CLOCK_MONOTONIC));
    }
}

/* A callback may remove or replace other sources: the generation tells whether a slot still is what was polled. */
static void dispatch_fds(struct o3_loop *l, const struct curl_waitfd *polled, const struct fd_source *was, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (!polled[i].revents) continue;
        struct fd_source *s = find_fd(l, was[i].fd);
        if (s && s->generation == was[i].generation && s->fn == was[i].fn && s->ctx == was[i].ctx) s->fn(s->ctx, s->fd);
    }
}

static void run_hooks(struct o3_loop *l, int64_t deadline_ns) {
    struct o3_now now = o3_now_read();
    if (l->hooks.on_lag && deadline_ns <= now.mono_ns) l->hooks.on_lag(l->hooks.ctx, now.mono_ns - deadline_ns);
    if (l->hooks.turn) l->hooks.turn(l->hooks.ctx, now);
}

void o3_loop_once(struct o3_loop *l, int max_wait_ms) {
    start_waiting(&l->jobs);
    int ms = wait_ms(l, max_wait_ms < 0 || max_wait_ms > MAX_WAIT_MS ? MAX_WAIT_MS : max_wait_ms);
    struct curl_waitfd polled[MAX_FDS];
    struct fd_source was[MAX_FDS];
    unsigned n = 0;
    for (size_t i = 0; i < MAX_FDS; i++) {
        if (l->fds[i].fd < 0) continue;
        was[n] = l->fds[i];
        polled[n++] = (struct curl_waitfd){.fd = l->fds[i].fd, .events = CURL_WAIT_POLLIN};
    }
    curl_multi_poll(l->multi, polled, n, ms, NULL);
    int64_t deadline_ns = next_deadline_ns(l);
    /* Transfers before all else: the arrival time of their bytes is what we measure. */
    int running;
    curl_multi_perform(l->multi, &running);
    finish_transfers(l);
    dispatch_fds(l, polled, was, n);
    run_hooks(l, deadline_ns);
}

void o3_loop_run(struct o3_loop *l) {
    while (!l->is_stopped)
        o3_loop_once(l, MAX_WAIT_MS);
}
