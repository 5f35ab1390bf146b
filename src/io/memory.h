/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_MEMORY_H
#define O3_IO_MEMORY_H
/* Once the start is over: gives back free heap, and lets go of the pages of code that only the start needed, most of
 * them of libraries that set themselves up. What is used again comes back from the page cache, a microsecond a piece.
 * Returns the bytes of the segments that were let go of. */
#include <stddef.h>

size_t o3_memory_settle(void);

#endif
