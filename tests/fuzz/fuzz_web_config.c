/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the web configuration file, and as the header with credentials: an error with a place, or a structure
 * within its bounds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "app/credentials.h"
#include "o3/web_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_file(const char *text, size_t n) {
    struct o3_web_config *c = NULL;
    struct o3_err e = {0};
    int r = o3_web_config_parse(text, n, &c, &e);
    if (r < 0) {
        O3_ASSERT(r == O3_E_NOMEM || (r == O3_E_CONFIG && e.line > 0 && e.col > 0 && e.text[0]));
        return;
    }
    O3_ASSERT(c->n_users <= O3_WEB_USERS_MAX && c->n_headers <= O3_WEB_HEADERS);
    for (size_t i = 0; i < c->n_users; i++)
        O3_ASSERT(o3_bcrypt_cost(c->users[i].hash) == c->users[i].cost && c->users[i].cost <= O3_WEB_COST_MAX);
    O3_ASSERT(c->tls.min_version <= c->tls.max_version);
    o3_web_config_free(c);
}

static void check_header(const uint8_t *data, size_t n) {
    struct o3_credentials c;
    char *header = calloc(n + 1, 1);
    if (!header) return;
    if (n) memcpy(header, data, n);
    if (o3_credentials_parse(header, &c)) O3_ASSERT(c.user == c.text && c.password > c.user);
    free(header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    check_file((const char *)data, n);
    check_header(data, n);
    return 0;
}
