/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over every file of its corpus, without a fuzzer, and over every prefix of the short ones. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int replay(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return -1;
    }
    static uint8_t bytes[1 << 20];
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    /* An exact-size copy, so that the address sanitizer sees a read past the end. */
    for (size_t len = n <= 4096 ? 0 : n; len <= n; len++) {
        uint8_t *copy = malloc(len ? len : 1);
        if (!copy) return -1;
        memcpy(copy, bytes, len);
        LLVMFuzzerTestOneInput(copy, len);
        free(copy);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 2;
    }
    DIR *d = opendir(argv[1]);
    if (!d) {
        perror(argv[1]);
        return 1;
    }
    int n = 0, bad = 0;
    for (struct dirent *entry; (entry = readdir(d));) {
        if (entry->d_name[0] == '.') continue;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        bad += replay(path) != 0;
        n++;
    }
    closedir(d);
    printf("%d corpus files replayed\n", n);
    return bad || n == 0;
}
