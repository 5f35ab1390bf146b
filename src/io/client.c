/* SPDX-License-Identifier: Apache-2.0 */
#include "io/client.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

void o3_client_of(const struct sockaddr *address, struct o3_client *ret) {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6 = {0};
    *ret = (struct o3_client){.text = "unknown"};
    if (address && address->sa_family == AF_INET6) {
        memcpy(&v6, address, sizeof v6);
    } else if (address && address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
        memcpy(&v6.sin6_addr.s6_addr[12], &v4.sin_addr, sizeof v4.sin_addr);
    } else {
        return;
    }
    const unsigned char *a = v6.sin6_addr.s6_addr;
    bool is_v4 = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr); /* also a client of a socket for both families */
    memcpy(ret->network, a, is_v4 ? sizeof ret->network : sizeof ret->network / 2);
    inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? &a[12] : a, ret->text, sizeof ret->text);
}
