/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/memory.h"

static const char CONSTANT[65536] = "constant";
static const char *relocated[512];
static char written[65536];

static long file_kib(void) {
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, "RssFile:", 8)) kib = strtol(line + 8, NULL, 10);
    fclose(f);
    return kib;
}

/* Reads each page of code and constants, as a start would. */
static int touch(struct dl_phdr_info *object, size_t size, void *ctx) {
    (void)size;
    unsigned *sum = ctx;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &object->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || strstr(object->dlpi_name, "vdso")) continue;
        const volatile unsigned char *at = (const unsigned char *)(object->dlpi_addr + p->p_vaddr);
        for (size_t k = 0; k < p->p_filesz; k += 4096)
            *sum += at[k];
    }
    return 0;
}

static void test_pages_go_and_content_stays(void **state) {
    (void)state;
    char *heap = malloc(300000);
    assert_non_null(heap);
    memset(heap, 'h', 300000);
    memset(written, 'w', sizeof written);
    for (size_t i = 0; i < sizeof relocated / sizeof *relocated; i++)
        relocated[i] = CONSTANT;
    unsigned before = 0, after = 0;
    dl_iterate_phdr(touch, &before);
    long was = file_kib();
    size_t bytes = o3_memory_settle();
    long is = file_kib();
    assert_true(bytes > sizeof CONSTANT);
    assert_true(is < was);
    dl_iterate_phdr(touch, &after);
    assert_int_equal(before, after);
    assert_string_equal(CONSTANT, "constant");
    for (size_t i = 0; i < sizeof written; i++)
        assert_true(written[i] == 'w');
    for (size_t i = 0; i < 300000; i++)
        assert_true(heap[i] == 'h');
    for (size_t i = 0; i < sizeof relocated / sizeof *relocated; i++)
        assert_ptr_equal(relocated[i], CONSTANT);
    free(heap);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pages_go_and_content_stays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
