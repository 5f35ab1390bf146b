/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_HOST_PROC_H
#define O3_IO_HOST_PROC_H
/* What /proc shows now. Cheap and bounded; run on the loop. root is "/proc" outside tests. */
#include "o3/host.h"
#include "o3/buf.h"

enum { O3_HOST_TCP = 1, O3_HOST_TCP6 = 2 };
struct o3_host_sockets {
    bool is_readable;
    unsigned listening_families; /* where a listener on the port was seen */
    struct o3_net_tcp_count count;
};
/* families: which tables to read; of net/tcp the listeners are read in any case. */
void o3_host_read_sockets(const char *root, uint16_t server_port, const uint16_t *own, size_t n_own, unsigned families,
                          struct o3_host_sockets *ret);
/* Runners whose command line is readable (same PID namespace, or same user); returns how many. */
size_t o3_host_read_runners(const char *root, struct o3_runner_cmdline *out, size_t max);
/* Is that very runner (pid, blob, port) still there? Much cheaper than a search. */
bool o3_host_is_runner_alive(const char *root, const struct o3_runner_cmdline *runner);
/* -1: unknown. */
struct o3_host_self {
    int64_t virtual_kib, rss_kib, rss_anon_kib, open_fds, max_fds;
    double cpu_seconds, start_time_s;
};
void o3_host_read_self(const char *root, struct o3_host_self *ret);
int64_t o3_host_memory_available_bytes(const char *root); /* -1 unknown */

/* --- host_sensors.c: what slows the host down --- */
struct o3_host_roots {
    const char *proc, *sys; /* "/proc" and "/sys" outside tests */
};
enum o3_host_sensor { O3_SENSOR_PRESSURE, O3_SENSOR_SWAP, O3_SENSOR_HEAT, O3_SENSOR_CGROUP, O3_SENSOR_COUNT };
/* What was not there the last time, and until when that is believed. All zero at first. */
struct o3_host_rest {
    int64_t until_ns[O3_SENSOR_COUNT], gpu_until_ns, runner_pid;
    char gpu[64];
};
/* Some ten small files, more where a processor has heat counters: about 64. runner_pid: <= 0 unknown. */
void o3_host_read_state(const struct o3_host_roots *roots, int64_t runner_pid, int64_t now_ns,
                        struct o3_host_rest *rest, struct o3_host_state *ret);
/* The whole of root/rest, replacing what out holds; false when it cannot be read or is longer. */
#define O3_HOST_TEXT_MAX (64 * 1024)
bool o3_host_read_text(const char *root, const char *rest, struct o3_buf *out);

#endif
