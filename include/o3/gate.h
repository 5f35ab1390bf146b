/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_GATE_H
#define O3_GATE_H
/* The idle gate: is a user of the server at work now? Three passive signs (ollama.md 6): requests that finished
 * (expires_at moved), established sockets on the server's port, and the queue wait of our own probes. A pooled
 * connection that stays open is no work: a socket counts only while its queues hold bytes, or while there are more
 * sockets than at the last known idle. A gate that stays busy for long without any finished request may hide a hung
 * runner: o3_gate_needs_test then asks for one small probe. Pure; times are monotonic nanoseconds. */
#include <stdbool.h>
#include <stdint.h>

#define O3_GATE_SETTLE_NS                                                                                              \
    (20LL * 1000000000LL) /* sockets that were there before us count as pooled after this long without work */
#define O3_GATE_QUEUE_WAIT_NS                                                                                          \
    (250LL * 1000000LL) /* an idle server shows 13..60 ms; behind a generation it is seconds */

struct o3_gate {
    bool has_sockets;      /* a reading was possible: same network namespace */
    int idle_count;        /* sockets at the last known idle; -1 unknown */
    int count, with_bytes; /* last reading */
    bool is_busy;
    int64_t busy_since_ns;    /* start of the time without any sign of progress while busy */
    int64_t last_activity_ns; /* last sign of a user's work; INT64_MIN none */
    int64_t first_reading_ns;
    int64_t left_ns;        /* when there were fewer sockets than at the reading before; INT64_MIN never */
    int64_t finished_ns;    /* a request ended here and the sockets have not been judged since; INT64_MIN none */
    bool is_finish_counted; /* there was a reading since: a further socket is another request */
};

void o3_gate_init(struct o3_gate *g);
void o3_gate_sockets(struct o3_gate *g, bool is_readable, int n_established, int n_with_bytes, int64_t now_ns);
/* A request of somebody else ended at `ended_ns` (estimated), seen now. */
void o3_gate_request_finished(struct o3_gate *g, int64_t ended_ns, int64_t now_ns);
/* A look shows that a model is being loaded, or serves its first request: nothing has ended. is_progress: that is no
 * sign of a hung runner yet. */
void o3_gate_at_work(struct o3_gate *g, bool is_progress, int64_t now_ns);
/* Our own probe was answered: the server is not hung; without queue wait, and when no socket came meanwhile (is_alone),
 * it was idle too. queue_ns < 0: unknown. */
void o3_gate_own_finished(struct o3_gate *g, int64_t queue_ns, bool is_alone, int64_t now_ns);
bool o3_gate_is_idle(const struct o3_gate *g, int64_t now_ns, int64_t idle_for_ns);
bool o3_gate_needs_test(const struct o3_gate *g, int64_t now_ns, int64_t max_busy_ns);
/* The test was made: wait max_busy again before the next. */
void o3_gate_tested(struct o3_gate *g, int64_t now_ns);

#endif
