/* SPDX-License-Identifier: Apache-2.0 */
#include "io/memory.h"
#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Never a segment that may be written: relocated data, too, is only in memory. */
static int let_go(struct dl_phdr_info *object, size_t size, void *ctx) {
    (void)size;
    size_t *sum = ctx, page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &object->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || (p->p_flags & PF_W)) continue;
        uintptr_t at = (object->dlpi_addr + p->p_vaddr) & ~(page - 1);
        size_t n = object->dlpi_addr + p->p_vaddr + p->p_memsz - at;
        if (madvise((void *)at, n, MADV_DONTNEED) == 0) *sum += n;
    }
    return 0;
}

size_t o3_memory_settle(void) {
    size_t sum = 0;
    malloc_trim(0);
    dl_iterate_phdr(let_go, &sum);
    return sum;
}
