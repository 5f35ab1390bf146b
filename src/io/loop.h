/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_LOOP_H
#define O3_IO_LOOP_H
/* The one loop: curl_multi_poll is the only blocking call; other descriptors (server epoll, signalfd, inotify, job
 * eventfd) are handed to it. Everything here runs on the loop thread except the `run` half of a job. */
#include <stdbool.h>
#include "o3/err.h"
#include "o3/text.h"

struct o3_loop;
O3_MUST_CHECK int o3_loop_new(struct o3_loop **ret, struct o3_err *e);
void o3_loop_free(struct o3_loop *l); /* joins the job thread: pending jobs are run first */

struct o3_now o3_now_read(void); /* fresh reading of both clocks (CLOCK_MONOTONIC, CLOCK_REALTIME) */

/* Runs until o3_loop_stop. `deadline` and `turn` of the hooks are called every turn: */
struct o3_loop_hooks {
    int64_t (*deadline_ns)(void *ctx);          /* mono time at which `turn` wants to run; INT64_MAX none */
    void (*turn)(void *ctx, struct o3_now now); /* timers are due, or something happened */
    void (*on_signal)(void *ctx, int signo);    /* SIGTERM, SIGINT, SIGHUP: blocked and read by signalfd */
    void (*on_lag)(void *ctx, int64_t lag_ns);  /* how much later than the deadline the turn ran */
    void *ctx;
};
void o3_loop_set_hooks(struct o3_loop *l, const struct o3_loop_hooks *h);
void o3_loop_run(struct o3_loop *l);
void o3_loop_stop(struct o3_loop *l);
/* The end has a limit, for a job may hang in a dead disk or a name lookup: after so many ms, or on another SIGTERM or
 * SIGINT, the process ends where it stands with this exit status. Every file is whole at any moment. 0 ms: no limit of
 * time any more. */
void o3_loop_end_within(int ms, int status);
/* One turn of at most max_wait_ms; for commands that drive the loop themselves. */
void o3_loop_once(struct o3_loop *l, int max_wait_ms);

typedef void o3_fd_fn(void *ctx, int fd);
int o3_loop_add_fd(struct o3_loop *l, int fd, o3_fd_fn *fn, void *ctx); /* readable -> fn; 0 or O3_E_LIMIT (16) */
void o3_loop_remove_fd(struct o3_loop *l, int fd);
/* Called before each wait: return the longest wait in ms that this source allows (-1: any). For libmicrohttpd's
 * timeout. */
typedef int o3_wait_fn(void *ctx);
int o3_loop_add_wait(struct o3_loop *l, o3_wait_fn *fn, void *ctx);
void o3_loop_remove_wait(struct o3_loop *l, void *ctx);

/* A self-contained job on the helper thread: `run` owns `job` until it ends, then `done` is called on the loop.
 * FIFO. At most `O3_JOBS_MAX` wait; over it O3_E_LIMIT and the caller keeps `job`. None runs before the loop's first
 * turn: what starts up has files and store to itself. */
#define O3_JOBS_MAX 256
typedef void o3_job_fn(void *job);
int o3_loop_submit(struct o3_loop *l, o3_job_fn *run, o3_job_fn *done, void *job);

/* For http_client.c only. CURLOPT_PRIVATE of every easy handle on the multi points at a struct o3_curl_done: fn is
 * called outside libcurl when the transfer has ended. */
struct o3_curl_done {
    void (*fn)(struct o3_curl_done *d, int curl_code, int64_t mono_ns);
};
void *o3_loop_curl_multi(struct o3_loop *l); /* CURLM * */

#endif
