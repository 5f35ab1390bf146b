/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_HOST_PROC_H
#define O3_IO_HOST_PROC_H
/* What /proc shows now. Cheap and bounded; run on the loop. root is "/proc" outside tests. */
#include "o3/host.h"
#include "o3/buf.h"

struct o3_host_sockets { bool is_readable; struct o3_net_tcp_count count; };
void o3_host_read_sockets(const char *root, uint16_t server_port, const uint16_t *own, size_t n_own, struct o3_host_sockets *ret);
/* Runners whose command line is readable (same PID namespace, or same user); returns how many. */
size_t o3_host_read_runners(const char *root, struct o3_runner_cmdline *out, size_t max);
/* -1: unknown. */
struct o3_host_self { int64_t rss_kib, rss_anon_kib, open_fds, max_fds; double cpu_seconds, start_time_s; };
void o3_host_read_self(const char *root, struct o3_host_self *ret);
int64_t o3_host_memory_available_bytes(const char *root); /* -1 unknown */

#endif
