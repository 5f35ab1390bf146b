/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_HTTP_SOCKETS_H
#define O3_IO_HTTP_SOCKETS_H
/* The open sockets of the HTTP client. The list lives as long as the last of them: libcurl keeps idle connections until
 * its multi handle ends, and closes them then. For http_client.c only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct o3_sockets;
struct o3_sockets *o3_sockets_new(void); /* NULL: no memory; the client's own reference */
void o3_sockets_unref(struct o3_sockets *s);
/* libcurl closes a socket that never got connected without telling. While the client's own reference is there. */
void o3_sockets_forget_closed(struct o3_sockets *s);
int o3_sockets_open(struct o3_sockets *s, int family, int type, int protocol); /* a descriptor, -1: none */
int o3_sockets_close(struct o3_sockets *s, int fd);                            /* as close(2) */
size_t o3_sockets_local_ports(const struct o3_sockets *s, uint16_t *out, size_t max);

#endif
