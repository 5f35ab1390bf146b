/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: deadlines, descriptors, signals, jobs, and no work when there is none. */
#include "o3_test.h"
#include "io/loop.h"
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

struct world {
    struct o3_loop *loop;
    int64_t deadline_ns;
    int n_turns, n_signals, last_signal, n_lags;
    int64_t worst_lag_ns;
};

static int64_t deadline_of(void *ctx) {
    return ((struct world *)ctx)->deadline_ns;
}

static void on_turn(void *ctx, struct o3_now now) {
    struct world *w = ctx;
    w->n_turns++;
    if (now.mono_ns >= w->deadline_ns) {
        w->deadline_ns = INT64_MAX;
        o3_loop_stop(w->loop);
    }
}

static void on_signal(void *ctx, int signo) {
    struct world *w = ctx;
    w->n_signals++;
    w->last_signal = signo;
    if (signo == SIGTERM) o3_loop_stop(w->loop);
}

static void on_lag(void *ctx, int64_t lag_ns) {
    struct world *w = ctx;
    w->n_lags++;
    if (lag_ns > w->worst_lag_ns) w->worst_lag_ns = lag_ns;
}

static void start(struct world *w) {
    *w = (struct world){.deadline_ns = INT64_MAX};
    assert_int_equal(o3_loop_new(&w->loop, NULL), 0);
    const struct o3_loop_hooks h = {deadline_of, on_turn, on_signal, on_lag, w};
    o3_loop_set_hooks(w->loop, &h);
}

static void deadline_is_kept(void **state) {
    (void)state;
    struct world w;
    start(&w);
    int64_t begin_ns = o3_now_read().mono_ns;
    w.deadline_ns = begin_ns + 50 * O3_NS_PER_MS;
    o3_loop_run(w.loop);
    int64_t took_ns = o3_now_read().mono_ns - begin_ns;
    assert_true(took_ns >= 50 * O3_NS_PER_MS);
    assert_true(took_ns < 20 * O3_NS_PER_S);
    assert_true(w.n_turns <= 3);
    assert_int_equal(w.n_lags, 1);
    o3_loop_free(w.loop);
}

static void idle_loop_sleeps(void **state) {
    (void)state;
    struct world w;
    start(&w);
    w.deadline_ns = o3_now_read().mono_ns + 300 * O3_NS_PER_MS;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    o3_loop_run(w.loop);
    getrusage(RUSAGE_SELF, &after);
    assert_true(w.n_turns <= 3);
    assert_true(after.ru_nvcsw - before.ru_nvcsw <= 10);
    o3_loop_free(w.loop);
}

static void signals_arrive_in_the_loop(void **state) {
    (void)state;
    struct world w;
    start(&w);
    raise(SIGHUP);
    o3_loop_once(w.loop, 1000);
    assert_int_equal(w.n_signals, 1);
    assert_int_equal(w.last_signal, SIGHUP);
    raise(SIGTERM);
    o3_loop_run(w.loop);
    assert_int_equal(w.last_signal, SIGTERM);
    o3_loop_free(w.loop);
}

static void signal_without_a_hook_stops(void **state) {
    (void)state;
    struct o3_loop *l;
    assert_int_equal(o3_loop_new(&l, NULL), 0);
    raise(SIGINT);
    o3_loop_run(l); /* returns */
    o3_loop_free(l);
}

static void count_and_clear(void *ctx, int fd) {
    uint64_t v;
    assert_int_equal(read(fd, &v, sizeof v), sizeof v);
    ++*(int *)ctx;
}

static void descriptors_are_served_and_bounded(void **state) {
    (void)state;
    struct world w;
    start(&w);
    int fd = eventfd(1, EFD_NONBLOCK), n = 0;
    assert_int_equal(o3_loop_add_fd(w.loop, fd, count_and_clear, &n), 0);
    o3_loop_once(w.loop, 1000);
    assert_int_equal(n, 1);
    uint64_t one = 1;
    assert_int_equal(write(fd, &one, sizeof one), sizeof one);
    o3_loop_remove_fd(w.loop, fd);
    o3_loop_once(w.loop, 10);
    assert_int_equal(n, 1);
    int added = 0;
    while (added < 100 && o3_loop_add_fd(w.loop, fd, count_and_clear, &n) == 0)
        added++;
    assert_in_range(added, 8, 16);
    o3_loop_free(w.loop);
    close(fd);
}

struct pair {
    struct o3_loop *loop;
    int fd[2], n_calls;
};

static void remove_the_other(void *ctx, int fd) {
    struct pair *p = ctx;
    uint64_t v;
    assert_int_equal(read(fd, &v, sizeof v), sizeof v);
    p->n_calls++;
    o3_loop_remove_fd(p->loop, fd == p->fd[0] ? p->fd[1] : p->fd[0]);
}

static void removed_descriptor_is_not_called_in_the_same_turn(void **state) {
    (void)state;
    struct world w;
    start(&w);
    struct pair p = {.loop = w.loop, .fd = {eventfd(1, EFD_NONBLOCK), eventfd(1, EFD_NONBLOCK)}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(o3_loop_add_fd(w.loop, p.fd[i], remove_the_other, &p), 0);
    o3_loop_once(w.loop, 1000);
    o3_loop_once(w.loop, 10);
    assert_int_equal(p.n_calls, 1);
    o3_loop_free(w.loop);
    close(p.fd[0]);
    close(p.fd[1]);
}

static int order[1000], n_run, n_done;
static pthread_t loop_thread;

static void job_run(void *job) {
    assert_false(pthread_equal(pthread_self(), loop_thread));
    order[n_run++] = *(int *)job;
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    assert_true(sigismember(&blocked, SIGTERM));
}

static void job_done(void *job) {
    assert_true(pthread_equal(pthread_self(), loop_thread));
    n_done++;
    free(job);
}

static int *number(int n) {
    int *p = malloc(sizeof *p);
    *p = n;
    return p;
}

static void jobs_run_in_order_and_end_on_the_loop(void **state) {
    (void)state;
    struct world w;
    start(&w);
    n_run = n_done = 0;
    loop_thread = pthread_self();
    for (int i = 0; i < 100; i++)
        assert_int_equal(o3_loop_submit(w.loop, job_run, job_done, number(i)), 0);
    assert_int_equal(n_done, 0);
    for (int i = 0; i < 1000 && n_done < 100; i++)
        o3_loop_once(w.loop, 100);
    assert_int_equal(n_done, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(order[i], i);
    o3_loop_free(w.loop);
}

static void free_runs_what_is_left(void **state) {
    (void)state;
    struct world w;
    start(&w);
    n_run = n_done = 0;
    loop_thread = pthread_self();
    int n = 0;
    for (int *job = number(0);; job = number(++n)) {
        if (o3_loop_submit(w.loop, job_run, job_done, job) == 0) continue;
        free(job);
        break;
    }
    assert_int_equal(n, O3_JOBS_MAX);
    o3_loop_free(w.loop);
    assert_int_equal(n_run, n);
    assert_int_equal(n_done, n);
}

/* What reads the same store while it starts has it to itself: the helper thread shares nothing before the loop turns.
 */
static void jobs_wait_for_the_first_turn(void **state) {
    (void)state;
    struct world w;
    start(&w);
    n_run = n_done = 0;
    loop_thread = pthread_self();
    assert_int_equal(o3_loop_submit(w.loop, job_run, job_done, number(0)), 0);
    usleep(50000);
    assert_int_equal(n_run, 0);
    for (int i = 0; i < 1000 && n_done < 1; i++)
        o3_loop_once(w.loop, 100);
    assert_int_equal(n_done, 1);
    o3_loop_free(w.loop);
}

static int n_late_jobs;
static struct o3_loop *late_loop;

static void late_run(void *job) {
    (void)job;
    usleep(1000);
}

static void late_done(void *job) {
    n_late_jobs++;
    if (job) assert_int_equal(o3_loop_submit(late_loop, late_run, late_done, NULL), 0);
}

/* A preset that was written while we stop still saves its state. */
static void job_submitted_by_the_end_of_another_runs_before_the_loop_is_freed(void **state) {
    (void)state;
    struct world w;
    start(&w);
    late_loop = w.loop;
    n_late_jobs = 0;
    int first;
    assert_int_equal(o3_loop_submit(w.loop, late_run, late_done, &first), 0);
    o3_loop_free(w.loop);
    assert_int_equal(n_late_jobs, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(job_submitted_by_the_end_of_another_runs_before_the_loop_is_freed),
        cmocka_unit_test(deadline_is_kept),
        cmocka_unit_test(idle_loop_sleeps),
        cmocka_unit_test(signals_arrive_in_the_loop),
        cmocka_unit_test(signal_without_a_hook_stops),
        cmocka_unit_test(descriptors_are_served_and_bounded),
        cmocka_unit_test(removed_descriptor_is_not_called_in_the_same_turn),
        cmocka_unit_test(jobs_run_in_order_and_end_on_the_loop),
        cmocka_unit_test(jobs_wait_for_the_first_turn),
        cmocka_unit_test(free_runs_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
