/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SRC_BASE_UNINITIALIZED_H
#define O3_SRC_BASE_UNINITIALIZED_H
/* Release builds clear every variable on the stack. A large one that is written before it is read, in a function that
 * runs by the million, may be declared so and is left alone. */
#if defined __has_attribute && __has_attribute(uninitialized)
#define O3_UNINITIALIZED __attribute__((uninitialized))
#else
#define O3_UNINITIALIZED
#endif

#endif
