/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_LISTEN_H
#define O3_IO_LISTEN_H
/* A listening TCP socket from text like "127.0.0.1:21434", "[::1]:0", "localhost:80", ":21434". */
#include <stdint.h>
#include "o3/err.h"

/* Non-blocking, close-on-exec. PORT_TAKEN names the address; CONFIG: not an address, or not one of this machine. */
O3_MUST_CHECK int o3_listen_open(const char *address, int *ret_fd, uint16_t *ret_port, struct o3_err *e);

#endif
