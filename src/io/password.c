/* SPDX-License-Identifier: Apache-2.0 */
#include "io/password.h"
#include <crypt.h>
#include <stdlib.h>
#include <string.h>
#include "o3/text.h"

bool o3_password_is_right(const char *password, const char *hash) {
    struct crypt_data *data = calloc(1, sizeof *data); /* 32 KiB: too much for a stack */
    if (!data) return false;
    /* Not crypt_r: the address sanitizer of some compilers replaces that one, and then calls nothing. */
    const char *got = crypt_rn(password, hash, data, (int)sizeof *data);
    bool is_right = got && *got == '$' && o3_secret_equal(got, strlen(got), hash, strlen(hash));
    explicit_bzero(data, sizeof *data);
    free(data);
    return is_right;
}
