/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_CLIENT_H
#define O3_IO_CLIENT_H
/* Who is at the other end of a connection. */
struct sockaddr;

struct o3_client {
    char text[48];             /* its address; "unknown" */
    unsigned char network[16]; /* the same for whom one client may be: an IPv4 address, or an IPv6 network of 64 bits */
};
void o3_client_of(const struct sockaddr *address, struct o3_client *ret); /* NULL allowed */

#endif
