/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_PASSWORD_H
#define O3_IO_PASSWORD_H
/* bcrypt by crypt(3). Takes milliseconds to a second, by the cost of the hash: run as a job from the loop. */
#include <stdbool.h>

/* False also when the hash is none, or without memory. */
bool o3_password_is_right(const char *password, const char *hash);

#endif
